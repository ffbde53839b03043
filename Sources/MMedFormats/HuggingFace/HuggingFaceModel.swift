import MMedCore

/// A model folder as Hugging Face's libraries write it.
struct HuggingFaceModel: TensorSource {
    let folder: String
    let config: ModelConfig
    private let shards: [SafetensorsFile]
    private let shardOf: [String: Int]

    init(folder: String) throws {
        self.folder = folder
        config = try HuggingFaceConfig.read(folder: folder)
        (shards, shardOf) = try HuggingFaceModel.openShards(folder)
    }

    var files: [String] { [Paths.join(folder, "config.json")] + shards.map(\.file.path) }

    var tensorNames: [String] { shardOf.keys.sorted() }

    /// From chat_template.jinja, else from tokenizer_config.json.
    var chatTemplate: String? {
        get throws {
            let separate = Paths.join(folder, "chat_template.jinja")
            if Paths.kind(separate) == .file {
                let file = try MappedFile(path: separate)
                return try file.withAllBytes { bytes in
                    guard let text = String(validating: bytes, as: UTF8.self) else {
                        throw MMedError(.badData, at: separate, "is not UTF-8")
                    }
                    return text
                }
            }
            let path = Paths.join(folder, "tokenizer_config.json")
            guard Paths.kind(path) == .file, let member = try JSONReader(file: path).optional("chat_template") else {
                return nil
            }
            guard case .array = member.value else { return try member.string() }
            let named = try member.array().first { try $0.required("name").string() == "default" }
            return try named?.required("template").string()
        }
    }

    func shape(of name: String) -> [Int]? { shardOf[name].flatMap { shards[$0].tensors[name]?.shape } }

    func rows(of name: String, _ range: Range<Int>, into values: UnsafeMutableBufferPointer<Float>) throws {
        guard let shard = shardOf[name], let tensor = shards[shard].tensors[name] else { return }
        try shards[shard].rows(of: tensor, range, into: values)
    }

    func tokenizer() throws -> TokenizerDefinition {
        try TokenizerFile.read(Paths.join(folder, "tokenizer.json"))
    }

    private static func openShards(_ folder: String) throws -> ([SafetensorsFile], [String: Int]) {
        let indexPath = Paths.join(folder, "model.safetensors.index.json")
        guard Paths.kind(indexPath) == .file else {
            let whole = try SafetensorsFile(path: Paths.join(folder, "model.safetensors"))
            return ([whole], whole.tensors.mapValues { _ in 0 })
        }
        let map = try JSONReader(file: indexPath).required("weight_map")
        var shardOf: [String: Int] = [:]
        var names: [String] = []
        for tensor in try map.object().keys {
            let entry = try map.required(tensor)
            let name = try entry.string()
            // A file of the same folder: an index cannot lead elsewhere.
            guard !name.isEmpty, !name.contains("/"), name.hasSuffix(".safetensors") else {
                throw MMedError(.badData, at: entry.place, "is \"\(name)\", expected the name of a .safetensors file")
            }
            if let known = names.firstIndex(of: name) {
                shardOf[tensor] = known
            } else {
                shardOf[tensor] = names.count
                names.append(name)
            }
        }
        let shards = try names.map { try SafetensorsFile(path: Paths.join(folder, $0)) }
        for (tensor, shard) in shardOf.sorted(by: { $0.key < $1.key }) where shards[shard].tensors[tensor] == nil {
            throw MMedError(
                .badData, at: "\(shards[shard].file.path): \(tensor)",
                "the tensor is missing, expected by \(indexPath)",
                mend: "fetch the model again")
        }
        return (shards, shardOf)
    }
}

/// The members of config.json that decide what the engine computes; those it cannot honour are refused, never ignored.
enum HuggingFaceConfig {
    static func read(folder: String) throws -> ModelConfig {
        try read(JSONReader(file: Paths.join(folder, "config.json")))
    }

    static func read(_ json: JSONReader) throws -> ModelConfig {
        let type = try json.required("model_type").string()
        guard let architecture = ModelArchitecture(rawValue: type) else {
            throw MMedError(
                .badData, at: "\(json.place): model_type", "is \(type), expected llama or qwen2",
                mend: "use a model of one of these families")
        }
        try refuseOthers(json)
        let headCount = try json.integer("num_attention_heads")
        let hiddenSize = try json.integer("hidden_size")
        let ends = try json.optional("eos_token_id").map { reader -> [Int32] in
            if case .array = reader.value { return try reader.array().map { try $0.tokenId() } }
            return [try reader.tokenId()]
        }
        let config = ModelConfig(
            architecture: architecture, layerCount: try json.integer("num_hidden_layers"), hiddenSize: hiddenSize,
            headCount: headCount,
            keyValueHeadCount: try json.optional("num_key_value_heads")?.integer() ?? headCount,
            headDim: try json.optional("head_dim")?.integer() ?? hiddenSize / max(headCount, 1),
            intermediateSize: try json.integer("intermediate_size"),
            vocabularySize: try json.integer("vocab_size"), ropeTheta: try ropeTheta(json),
            rmsEpsilon: Float(try json.optional("rms_norm_eps")?.number() ?? 1e-6),
            tiedEmbeddings: try json.flag("tie_word_embeddings"), hasQKVBias: architecture == .qwen2,
            contextLength: try json.optional("max_position_embeddings")?.integer() ?? 2048,
            bosId: try json.optional("bos_token_id")?.tokenId(), eosIds: ends ?? [])
        try config.check(at: json.place)
        return config
    }

    private static func ropeTheta(_ json: JSONReader) throws -> Double {
        // Newer files keep the base and the kind of scaling together.
        let scaling = try json.optional("rope_parameters") ?? json.optional("rope_scaling")
        if let scaling {
            let kind = try (scaling.optional("rope_type") ?? scaling.optional("type"))?.string() ?? "default"
            guard kind == "default" else {
                throw MMedError(
                    .badData, at: scaling.place, "scales rotary frequencies by \(kind), expected default",
                    mend: "use a model without it")
            }
            if let theta = try scaling.optional("rope_theta") { return try theta.number() }
        }
        return try json.optional("rope_theta")?.number() ?? 10_000
    }

    private static func refuseOthers(_ json: JSONReader) throws {
        for key in ["attention_bias", "mlp_bias", "use_sliding_window"] where try json.flag(key) {
            throw MMedError(.badData, at: "\(json.place): \(key)", "is true, expected false", mend: "use another model")
        }
        let activation = try json.optional("hidden_act")?.string() ?? "silu"
        guard activation == "silu" else {
            throw MMedError(.badData, at: "\(json.place): hidden_act", "is \(activation), expected silu")
        }
        if try json.optional("quantization_config") != nil {
            throw MMedError(
                .badData, at: "\(json.place): quantization_config", "is given, expected plain F32, F16 or BF16 weights")
        }
    }
}
