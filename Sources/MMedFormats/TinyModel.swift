import MMedCore

/// A small random Llama model in a Hugging Face folder: for smoke runs of the real binaries and for tests. It knows nothing.
public enum TinyModel {
    /// The control tokens, whose ids come first.
    public static let specialTokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

    /// The merges, which make the answer form and common words short.
    static let merges: [(String, String)] = [
        ("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("Ġ", "a"), ("i", "n"), ("t", "h"), ("in", "k"), ("th", "ink"),
        ("a", "n"), ("s", "w"), ("e", "r"), ("an", "sw"), ("answ", "er"), (">", "<"), ("<", "/"), ("o", "n"),
        ("Ġa", "n"), ("e", "s"), ("o", "r"), ("Ġ", "i"), ("Ġi", "s"),
    ]

    /// Sizes of the model: 2 layers, hidden 64, 4 heads of 16, 2 key-value heads, intermediate 128.
    public static var config: ModelConfig {
        ModelConfig(
            architecture: .llama, layerCount: 2, hiddenSize: 64, headCount: 4, keyValueHeadCount: 2, headDim: 16,
            intermediateSize: 128, vocabularySize: specialTokens.count + 256 + merges.count, ropeTheta: 10_000,
            rmsEpsilon: 1e-5, tiedEmbeddings: true, hasQKVBias: false, contextLength: 1024, bosId: 1, eosIds: [2])
    }

    /// Writes the folder; the same seed gives the same bytes. A former folder is replaced. Throws `tryAgain` when the disk refuses.
    public static func write(to path: String, seed: UInt64) throws { try write(to: path, config: config, seed: seed) }

    /// As above for other sizes of the llama or qwen2 family; the vocabulary size must be that of `config`.
    /// Throws `internalError` when it is not.
    public static func write(to path: String, config: ModelConfig, seed: UInt64) throws {
        try config.check(at: path)
        guard config.vocabularySize == self.config.vocabularySize else {
            throw MMedError(.internalError, at: path, "the tiny tokenizer has \(self.config.vocabularySize) tokens")
        }
        let tensors = config.expectedTensors.map { SafetensorsWriter.Tensor(name: $0.name, shape: $0.shape) }
        try DurableFile.replaceFolder(path) { folder in
            try SafetensorsWriter.write(to: Paths.join(folder, "model.safetensors"), tensors) {
                values(of: $0, seed: seed)
            }
            for (name, json) in [
                ("config.json", configFile(config)), ("tokenizer.json", tokenizerFile()),
                ("tokenizer_config.json", tokenizerConfigFile()),
            ] {
                try DurableFile.write(Paths.join(folder, name)) { append in
                    try append(Array((json.text(indent: 1) + "\n").utf8))
                }
            }
        }
    }

    /// Norms are 1, biases small; the rest is uniform with the variance that keeps the size of activations.
    private static func values(of tensor: SafetensorsWriter.Tensor, seed: UInt64) -> [Float] {
        if tensor.shape.count == 1, tensor.name.hasSuffix(".weight") {
            return [Float](repeating: 1, count: tensor.count)
        }
        let random = CounterRandom(key: seed)
        let stream = stableHash(tensor.name.utf8)
        let width = tensor.shape.count == 1 ? 300 : tensor.shape[1]
        let bound = (3 / Double(width)).squareRoot()
        return (0..<tensor.count).map { Float((2 * random.uniform(UInt64($0), stream) - 1) * bound) }
    }

    private static func configFile(_ config: ModelConfig) -> JSONValue {
        let family = config.architecture == .llama ? "Llama" : "Qwen2"
        return .object([
            ("architectures", .array([.string(family + "ForCausalLM")])),
            ("model_type", .string(config.architecture.rawValue)), ("hidden_act", .string("silu")),
            ("num_hidden_layers", .integer(config.layerCount)), ("hidden_size", .integer(config.hiddenSize)),
            ("num_attention_heads", .integer(config.headCount)),
            ("num_key_value_heads", .integer(config.keyValueHeadCount)), ("head_dim", .integer(config.headDim)),
            ("intermediate_size", .integer(config.intermediateSize)), ("vocab_size", .integer(config.vocabularySize)),
            ("max_position_embeddings", .integer(config.contextLength)), ("rope_theta", .number(config.ropeTheta)),
            ("rms_norm_eps", .number(Double("\(config.rmsEpsilon)") ?? Double(config.rmsEpsilon))),
            ("tie_word_embeddings", .bool(config.tiedEmbeddings)), ("torch_dtype", .string("float32")),
            ("bos_token_id", config.bosId.map { .integer(Int($0)) } ?? .null),
            ("eos_token_id", .array(config.eosIds.map { .integer(Int($0)) })),
        ])
    }

    private static func tokenizerFile() -> JSONValue {
        let alphabet = ByteAlphabet.characters.map { String(Character($0)) }
        let tokens =
            specialTokens + alphabet.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            + merges.map { $0.0 + $0.1 }
        let added = specialTokens.enumerated().map { id, text in
            JSONValue.object([
                ("id", .integer(id)), ("content", .string(text)), ("single_word", .bool(false)),
                ("lstrip", .bool(false)), ("rstrip", .bool(false)), ("normalized", .bool(false)),
                ("special", .bool(true)),
            ])
        }
        func byteLevel(_ useRegex: Bool) -> JSONValue {
            .object([
                ("type", .string("ByteLevel")), ("add_prefix_space", .bool(false)), ("trim_offsets", .bool(true)),
                ("use_regex", .bool(useRegex)),
            ])
        }
        let digits = JSONValue.object([("type", .string("Digits")), ("individual_digits", .bool(true))])
        return .object([
            ("version", .string("1.0")), ("truncation", .null), ("padding", .null), ("added_tokens", .array(added)),
            ("normalizer", .null),
            (
                "pre_tokenizer",
                .object([("type", .string("Sequence")), ("pretokenizers", .array([digits, byteLevel(true)]))])
            ), ("post_processor", .null), ("decoder", byteLevel(true)),
            (
                "model",
                .object([
                    ("type", .string("BPE")), ("dropout", .null), ("unk_token", .null),
                    ("continuing_subword_prefix", .null), ("end_of_word_suffix", .null), ("fuse_unk", .bool(false)),
                    ("byte_fallback", .bool(false)), ("ignore_merges", .bool(false)),
                    ("vocab", .object(tokens.enumerated().map { ($1, .integer($0)) })),
                    ("merges", .array(merges.map { .array([.string($0.0), .string($0.1)]) })),
                ])
            ),
        ])
    }

    private static func tokenizerConfigFile() -> JSONValue {
        let template = """
            {% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}\
            {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
            """
        return .object([
            ("tokenizer_class", .string("PreTrainedTokenizerFast")), ("bos_token", .string("<|im_start|>")),
            ("eos_token", .string("<|im_end|>")), ("pad_token", .string("<|endoftext|>")),
            ("chat_template", .string(template)),
        ])
    }
}
