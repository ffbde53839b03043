import MMedCore

extension GGUFModel {
    func tokenizer() throws -> TokenizerDefinition {
        let metadata = gguf.metadata
        let model = try metadata.required(try metadata.string("tokenizer.ggml.model"), "tokenizer.ggml.model")
        guard model == "gpt2" else {
            throw MMedError(
                .badData, at: "\(metadata.file): tokenizer.ggml.model", "is \(model), expected gpt2",
                mend: "use a model with a byte-level BPE tokenizer")
        }
        let tokens = try metadata.required(
            try metadata.strings("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens")
        let merges = try metadata.required(
            try metadata.strings("tokenizer.ggml.merges"), "tokenizer.ggml.merges")
        let kinds = try metadata.integers("tokenizer.ggml.token_type") ?? []
        guard kinds.isEmpty || kinds.count == tokens.count else {
            throw MMedError(
                .badData, at: "\(metadata.file): tokenizer.ggml.token_type",
                "has \(kinds.count) entries, expected one for each of the \(tokens.count) tokens")
        }
        let name = try metadata.string("tokenizer.ggml.pre") ?? "default"
        guard let pre = GGUFModel.preTokenizers[name] else {
            throw MMedError(
                .badData, at: "\(metadata.file): tokenizer.ggml.pre",
                "is \(name), expected \(GGUFModel.preTokenizers.keys.sorted().joined(separator: ", "))",
                mend: "use a model with one of these tokenizers")
        }
        var added: [TokenizerDefinition.Added] = []
        // 3 is a control token, 4 one the user defined, by the numbers of the GGUF specification.
        for (id, kind) in kinds.enumerated() where (kind == 3 || kind == 4) && !tokens[id].isEmpty {
            added.append(TokenizerDefinition.Added(id: Int32(id), content: tokens[id], isSpecial: kind == 3))
        }
        return TokenizerDefinition(
            tokens: tokens,
            merges: try merges.enumerated().map { index, text in
                guard let merge = TokenizerDefinition.Merge(spaced: text) else {
                    throw MMedError(
                        .badData, at: "\(metadata.file): tokenizer.ggml.merges[\(index)]",
                        "is \"\(text)\", expected two parts with a space between them")
                }
                return merge
            },
            added: added, pattern: pre.pattern, splitsDigits: pre.splitsDigits, normalisesNFC: name == "qwen2",
            ignoresMerges: name == "llama-bpe", place: gguf.file.path)
    }

    /// Names that converters give to pre-tokenizers.
    private static let preTokenizers: [String: (pattern: TokenizerDefinition.Pattern, splitsDigits: Bool)] = [
        "smollm": (.gpt2, true), "gpt2": (.gpt2, false), "gpt-2": (.gpt2, false), "default": (.gpt2, false),
        "qwen2": (.qwen2, false), "llama-bpe": (.llama3, false), "llama3": (.llama3, false),
    ]
}
