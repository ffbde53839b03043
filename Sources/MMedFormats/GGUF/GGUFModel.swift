import MMedCore

/// A GGUF model seen through the names and the row order of a Hugging Face checkpoint.
struct GGUFModel: TensorSource {
    let gguf: GGUFFile
    let config: ModelConfig

    init(_ file: MappedFile) throws {
        gguf = try GGUFFile(file)
        config = try GGUFModel.config(gguf)
    }

    var files: [String] { [gguf.file.path] }

    var chatTemplate: String? { get throws { try gguf.metadata.string("tokenizer.chat_template") } }

    var tensorNames: [String] { gguf.tensors.keys.map { GGUFModel.huggingFaceName($0) ?? $0 }.sorted() }

    func shape(of name: String) -> [Int]? {
        GGUFModel.ggufName(name).flatMap { gguf.tensors[$0]?.shape }
    }

    func rows(of name: String, _ range: Range<Int>, into values: UnsafeMutableBufferPointer<Float>) throws {
        guard let stored = GGUFModel.ggufName(name), let tensor = gguf.tensors[stored] else { return }
        let width = tensor.shape.dropFirst().reduce(1, *)
        guard let base = values.baseAddress else { return }
        guard tensor.shape.count > 1 || tensor.type.blockElements == 1 else {
            throw MMedError(
                .badData, at: "\(gguf.file.path): \(stored)",
                "is a vector of type \(tensor.type.rawValue), expected F32",
                mend: "quantise the model again")
        }
        try gguf.file.withBytes(at: tensor.offset, count: tensor.byteCount) { bytes in
            let rowBytes = tensor.byteCount / tensor.shape[0]
            if let half = permutedHalf(of: name) {
                for (index, row) in range.enumerated() {
                    let within = row % (2 * half)
                    let source = row - within + within % half * 2 + within / half
                    dequantise(
                        UnsafeRawBufferPointer(rebasing: bytes[source * rowBytes..<(source + 1) * rowBytes]),
                        as: tensor.type, into: UnsafeMutableBufferPointer(start: base + index * width, count: width))
                }
            } else {
                dequantise(
                    UnsafeRawBufferPointer(rebasing: bytes[range.lowerBound * rowBytes..<range.upperBound * rowBytes]),
                    as: tensor.type, into: values)
            }
        }
    }

    /// Llama files keep the two halves of each query and key head interleaved (row 2j + i holds row i·headDim/2 + j);
    /// half a head's rows where that is so.
    private func permutedHalf(of name: String) -> Int? {
        guard config.architecture == .llama, name.contains(".q_proj.") || name.contains(".k_proj.") else { return nil }
        return config.headDim / 2
    }

    private static func config(_ gguf: GGUFFile) throws -> ModelConfig {
        let metadata = gguf.metadata
        let family = try metadata.required(try metadata.string("general.architecture"), "general.architecture")
        guard let architecture = ModelArchitecture(rawValue: family) else {
            throw MMedError(
                .badData, at: "\(metadata.file): general.architecture", "is \(family), expected llama or qwen2",
                mend: "use a model of one of these families")
        }
        func integer(_ key: String) throws -> Int {
            try metadata.required(try metadata.integer("\(family).\(key)"), "\(family).\(key)")
        }
        let scaling = try metadata.string("\(family).rope.scaling.type") ?? "none"
        guard scaling == "none", gguf.tensors["rope_freqs.weight"] == nil else {
            throw MMedError(
                .badData, at: metadata.file, "scales its rotary frequencies (\(scaling)), expected no scaling",
                mend: "use a model without it")
        }
        let embeddings = try metadata.required(gguf.tensors["token_embd.weight"], "token_embd.weight")
        let hiddenSize = try integer("embedding_length")
        let headCount = try integer("attention.head_count")
        let headDim = try metadata.integer("\(family).attention.key_length") ?? hiddenSize / max(headCount, 1)
        let config = ModelConfig(
            architecture: architecture, layerCount: try integer("block_count"), hiddenSize: hiddenSize,
            headCount: headCount,
            keyValueHeadCount: try metadata.integer("\(family).attention.head_count_kv") ?? headCount,
            headDim: headDim, intermediateSize: try integer("feed_forward_length"),
            vocabularySize: embeddings.shape[0],
            ropeTheta: try metadata.number("\(family).rope.freq_base") ?? 10_000,
            rmsEpsilon: Float(
                try metadata.required(
                    try metadata.number("\(family).attention.layer_norm_rms_epsilon"),
                    "\(family).attention.layer_norm_rms_epsilon")),
            tiedEmbeddings: gguf.tensors["output.weight"] == nil,
            hasQKVBias: gguf.tensors["blk.0.attn_q.bias"] != nil, contextLength: try integer("context_length"),
            bosId: try metadata.tokenId("tokenizer.ggml.bos_token_id"),
            eosIds: try metadata.tokenId("tokenizer.ggml.eos_token_id").map { [$0] } ?? [])
        try config.check(at: metadata.file)
        let rotary = try metadata.integer("\(family).rope.dimension_count") ?? headDim
        guard rotary == headDim else {
            throw MMedError(
                .badData, at: "\(metadata.file): \(family).rope.dimension_count",
                "is \(rotary), expected the head dimension \(headDim)")
        }
        return config
    }

    private static let modules: [(gguf: String, huggingFace: String)] = [
        ("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"), ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"), ("attn_output", "self_attn.o_proj"),
        ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj"),
    ]
    private static let outside: [(gguf: String, huggingFace: String)] = [
        ("token_embd.weight", "model.embed_tokens.weight"), ("output_norm.weight", "model.norm.weight"),
        ("output.weight", "lm_head.weight"),
    ]

    /// `model.layers.3.mlp.up_proj.weight` to `blk.3.ffn_up.weight`.
    static func ggufName(_ name: String) -> String? {
        if let pair = outside.first(where: { $0.huggingFace == name }) { return pair.gguf }
        return renamed(name, from: "model.layers.", to: "blk.") { module in
            modules.first { $0.huggingFace == module }?.gguf
        }
    }

    /// The way back.
    static func huggingFaceName(_ name: String) -> String? {
        if let pair = outside.first(where: { $0.gguf == name }) { return pair.huggingFace }
        return renamed(name, from: "blk.", to: "model.layers.") { module in
            modules.first { $0.gguf == module }?.huggingFace
        }
    }

    private static func renamed(
        _ name: String, from: String, to: String, _ module: (Substring) -> String?
    ) -> String? {
        guard name.hasPrefix(from) else { return nil }
        // The last dot behind the prefix: the prefix ends with one itself.
        let rest = name.dropFirst(from.count)
        guard let end = rest.lastIndex(of: ".") else { return nil }
        let inner = rest[..<end]
        guard let dot = inner.firstIndex(of: "."), let module = module(inner[inner.index(after: dot)...]) else {
            return nil
        }
        return "\(to)\(inner[..<dot]).\(module)\(rest[end...])"
    }
}
