import MMedCore

/// Writes GGUF files, right ones and wrong ones.
struct GGUFBuilder {
    struct Tensor {
        var name: String
        /// Columns first, as the file has them.
        var dimensions: [UInt64]
        var type: UInt32
        var data: [UInt8]
        var offset: UInt64?
    }

    var magic: [UInt8] = Array("GGUF".utf8)
    var version: UInt32 = 3
    var tensorCount: UInt64?
    var valueCount: UInt64?
    var values: [(key: String, type: UInt32, bytes: [UInt8])] = []
    var tensors: [Tensor] = []

    static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    static func bytes(_ text: String) -> [UInt8] { bytes(UInt64(text.utf8.count)) + Array(text.utf8) }

    static func bytes(_ values: [Float]) -> [UInt8] { values.flatMap { bytes($0.bitPattern) } }

    mutating func set(_ key: String, _ type: UInt32, _ bytes: [UInt8]) {
        values.removeAll { $0.key == key }
        values.append((key, type, bytes))
    }

    mutating func set(_ key: String, _ text: String) { set(key, 8, GGUFBuilder.bytes(text)) }
    mutating func set(_ key: String, _ value: UInt32) { set(key, 4, GGUFBuilder.bytes(value)) }
    mutating func set(_ key: String, _ value: Float) { set(key, 6, GGUFBuilder.bytes(value.bitPattern)) }
    mutating func set(_ key: String, _ texts: [String]) {
        let head = GGUFBuilder.bytes(UInt32(8)) + GGUFBuilder.bytes(UInt64(texts.count))
        set(key, 9, head + texts.flatMap { GGUFBuilder.bytes($0) })
    }
    mutating func set(_ key: String, _ numbers: [Int32]) {
        let head = GGUFBuilder.bytes(UInt32(5)) + GGUFBuilder.bytes(UInt64(numbers.count))
        set(key, 9, head + numbers.flatMap { GGUFBuilder.bytes($0) })
    }

    func file() -> (bytes: [UInt8], headerCount: Int) {
        var bytes = magic + GGUFBuilder.bytes(version)
        bytes += GGUFBuilder.bytes(tensorCount ?? UInt64(tensors.count))
        bytes += GGUFBuilder.bytes(valueCount ?? UInt64(values.count))
        for (key, type, value) in values { bytes += GGUFBuilder.bytes(key) + GGUFBuilder.bytes(type) + value }
        var data: [UInt8] = []
        for tensor in tensors {
            while data.count % 32 != 0 { data.append(0) }
            bytes += GGUFBuilder.bytes(tensor.name) + GGUFBuilder.bytes(UInt32(tensor.dimensions.count))
            for dimension in tensor.dimensions { bytes += GGUFBuilder.bytes(dimension) }
            bytes += GGUFBuilder.bytes(tensor.type) + GGUFBuilder.bytes(tensor.offset ?? UInt64(data.count))
            data += tensor.data
        }
        let headerCount = bytes.count
        while bytes.count % 32 != 0 { bytes.append(0) }
        return (bytes + data, headerCount)
    }

    /// A model of one layer, fp32: hidden 32, 2 heads of 16, 1 key-value head, intermediate 32, 4 tokens. Element (i, j) of
    /// tensor k is 1000 k + 32 i + j.
    static func model(_ family: String = "llama") -> GGUFBuilder {
        var builder = GGUFBuilder()
        builder.set("general.architecture", family)
        for (key, value) in [
            ("block_count", 1), ("context_length", 64), ("embedding_length", 32), ("feed_forward_length", 32),
            ("attention.head_count", 2), ("attention.head_count_kv", 1),
        ] { builder.set("\(family).\(key)", UInt32(value)) }
        builder.set("\(family).attention.layer_norm_rms_epsilon", Float(1e-5))
        builder.set("\(family).rope.freq_base", Float(10_000))
        builder.set("tokenizer.ggml.model", "gpt2")
        builder.set("tokenizer.ggml.pre", family == "llama" ? "smollm" : "qwen2")
        builder.set("tokenizer.ggml.tokens", ["<|end|>", "a", "b", "ab"])
        builder.set("tokenizer.ggml.token_type", [3, 1, 1, 1] as [Int32])
        builder.set("tokenizer.ggml.merges", ["a b"])
        builder.set("tokenizer.ggml.eos_token_id", UInt32(0))
        builder.set("general.flags", 9, bytes(UInt32(7)) + bytes(UInt64(3)) + [0, 1, 1])
        var shapes: [(String, [Int])] = [
            ("token_embd.weight", [32, 4]), ("output_norm.weight", [32]), ("blk.0.attn_norm.weight", [32]),
            ("blk.0.ffn_norm.weight", [32]), ("blk.0.attn_q.weight", [32, 32]), ("blk.0.attn_k.weight", [32, 16]),
            ("blk.0.attn_v.weight", [32, 16]), ("blk.0.attn_output.weight", [32, 32]),
            ("blk.0.ffn_gate.weight", [32, 32]), ("blk.0.ffn_up.weight", [32, 32]),
            ("blk.0.ffn_down.weight", [32, 32]),
        ]
        if family == "qwen2" {
            shapes += [("blk.0.attn_q.bias", [32]), ("blk.0.attn_k.bias", [16]), ("blk.0.attn_v.bias", [16])]
        }
        for (index, (name, dimensions)) in shapes.enumerated() {
            let count = dimensions.reduce(1, *)
            builder.tensors.append(
                Tensor(
                    name: name, dimensions: dimensions.map { UInt64($0) }, type: 0,
                    data: bytes((0..<count).map { Float(1000 * index + $0) })))
        }
        return builder
    }

    /// Changes one tensor.
    mutating func change(_ name: String, _ body: (inout Tensor) -> Void) {
        for index in tensors.indices where tensors[index].name == name { body(&tensors[index]) }
    }
}
