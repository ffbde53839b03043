import MMedCore
import MMedEngine

@testable import MMedFormats

extension FuzzTarget {
    /// GGUF files: metadata, tensors, the model and the tokenizer in them.
    static let gguf = FuzzTarget(name: "gguf", lengthMost: 8192, seeds: { GGUFSeeds.files() }) { bytes in
        let file = MappedFile(copying: bytes, path: "fuzz.gguf")
        let budget = 256 * bytes.count + (64 << 10)
        guard let gguf = try reading("GGUFFile", budget: budget, { try GGUFFile(file) }) else { return }
        for (name, tensor) in gguf.tensors {
            try demand(
                tensor.offset >= 0 && tensor.byteCount >= 0 && tensor.offset + tensor.byteCount <= bytes.count,
                "the tensor \(name) lies outside the file")
        }
        try checkRewriting(gguf)
        // The names of a thousand layers' tensors, which the file's length does not show.
        guard
            let source = try reading(
                "ModelSource", budget: budget + (16 << 20),
                { try ModelSource(path: file.path, checking: GGUFModel(file)) })
        else { return }
        try checkModel(source, budget: budget)
        if let definition = try reading("tokenizer", budget: budget, { try source.tokenizer() }) {
            try checkTokenizer(definition, texts: ["a b ab <|end|> é1", String(decoding: bytes, as: UTF8.self)])
        }
    }

    /// Values and tensors that are written again are read as the same.
    private static func checkRewriting(_ gguf: GGUFFile) throws {
        let written = try GGUFBuilder(gguf).file().bytes
        let again = try rereading("GGUFFile") { try GGUFFile(MappedFile(copying: written, path: "again.gguf")) }
        let rewritten = try GGUFBuilder(again).file().bytes
        try demand(rewritten == written, "a GGUF file changed when it was written again")
        try demand(again.tensors.mapValues(\.shape) == gguf.tensors.mapValues(\.shape), "a tensor's shape changed")
    }

    /// Every tensor of a model that was accepted is decoded in full.
    static func checkModel(_ source: ModelSource, budget: Int) throws {
        for name in source.tensorNames {
            guard let shape = try reading("shape", budget: budget, { try source.shape(of: name) }) else { continue }
            guard let values = try reading("tensor", budget: budget, { try source.tensor(name) }) else { continue }
            try demand(values.count == shape.reduce(1, *), "\(name): \(values.count) values for the shape \(shape)")
        }
        if let template = try reading("chatTemplate", budget: budget, { try source.chatTemplate }) {
            try checkChatTemplate(template)
        }
    }
}

extension GGUFBuilder {
    /// What was read, as a file again.
    init(_ gguf: GGUFFile) throws {
        self.init()
        for (key, value) in gguf.metadata.values.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            let (type, bytes) = GGUFBuilder.stored(value)
            set(key, type, bytes)
        }
        // The builder lays tensors out for the standard alignment.
        if gguf.metadata.values["general.alignment"] != nil { set("general.alignment", UInt32(32)) }
        for (name, tensor) in gguf.tensors.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            tensors.append(
                Tensor(
                    name: name, dimensions: tensor.shape.reversed().map { UInt64($0) },
                    type: GGUFBuilder.number(tensor.type),
                    data: try gguf.file.bytes(at: tensor.offset, count: tensor.byteCount)))
        }
    }

    private static func stored(_ value: GGUFValue) -> (type: UInt32, bytes: [UInt8]) {
        switch value {
        case .unsigned(let value): return (10, bytes(value))
        case .signed(let value): return (11, bytes(value))
        case .float(let value): return (12, bytes(value.bitPattern))
        case .bool(let value): return (7, [value ? 1 : 0])
        case .string(let value): return (8, bytes(value))
        case .array(let values):
            let elements = values.map { stored($0) }
            let type = elements.first?.type ?? 0
            return (9, bytes(type) + bytes(UInt64(values.count)) + elements.flatMap(\.bytes))
        }
    }

    private static func number(_ type: ElementType) -> UInt32 {
        switch type {
        case .f32: 0
        case .f16: 1
        case .q4zero: 2
        case .q4one: 3
        case .q8zero: 8
        case .bf16: 30
        }
    }
}

/// Models of one layer and hidden size 2, and files of single tensors.
enum GGUFSeeds {
    static func files() -> [(name: String, bytes: [UInt8])] {
        var seeds = [("llama", model("llama").file().bytes), ("qwen2", model("qwen2").file().bytes)]
        for (name, type, blockBytes) in [
            ("f16", 1, 64), ("q4_0", 2, 18), ("q4_1", 3, 20), ("q8_0", 8, 34), ("bf16", 30, 64),
        ] {
            var builder = GGUFBuilder()
            builder.set("general.architecture", "llama")
            let data = (0..<2 * blockBytes).map { UInt8(truncatingIfNeeded: $0 * 7) }
            builder.tensors = [.init(name: "t", dimensions: [32, 2], type: UInt32(type), data: data)]
            seeds.append((name, builder.file().bytes))
        }
        var values = GGUFBuilder()
        for (type, size) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (10, 8), (11, 8), (12, 8)]
        {
            values.set("v\(type)", UInt32(type), [UInt8](repeating: 1, count: size))
        }
        let inner = GGUFBuilder.bytes(UInt32(0)) + GGUFBuilder.bytes(UInt64(2)) + [5, 6]
        values.set("nested", 9, GGUFBuilder.bytes(UInt32(9)) + GGUFBuilder.bytes(UInt64(1)) + inner)
        values.set("general.alignment", UInt32(64))
        seeds.append(("values", values.file().bytes))
        seeds.append(("empty", GGUFBuilder().file().bytes))
        return seeds
    }

    private static func model(_ family: String) -> GGUFBuilder {
        var builder = GGUFBuilder.model(family)
        for (key, value) in [
            ("embedding_length", 2), ("feed_forward_length", 2), ("attention.head_count", 1),
            ("attention.head_count_kv", 1),
        ] { builder.set("\(family).\(key)", UInt32(value)) }
        builder.set(
            "tokenizer.chat_template",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{{ x }}<|im_end|>\n<|im_start|>assistant\n")
        for index in builder.tensors.indices {
            let dimensions = builder.tensors[index].dimensions.map { min($0, 2) }
            let isEmbedding = builder.tensors[index].name == "token_embd.weight"
            builder.tensors[index].dimensions = isEmbedding ? [2, 4] : dimensions
            let count = builder.tensors[index].dimensions.reduce(1, *)
            builder.tensors[index].data = GGUFBuilder.bytes((0..<Int(count)).map { Float($0) })
        }
        return builder
    }
}
