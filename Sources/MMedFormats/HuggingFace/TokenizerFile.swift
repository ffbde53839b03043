import MMedCore

/// Reads tokenizer.json of Hugging Face's `tokenizers`, as far as byte-level BPE goes; other parts are refused by name.
enum TokenizerFile {
    static func read(_ path: String) throws -> TokenizerDefinition { try read(JSONReader(file: path)) }

    static func read(_ json: JSONReader) throws -> TokenizerDefinition {
        let model = try json.required("model")
        let type = try model.optional("type")?.string() ?? "BPE"
        guard type == "BPE" else { throw foreign(model.place + ": type", type, "BPE") }
        for key in ["byte_fallback", "fuse_unk"] where try model.flag(key) {
            throw foreign("\(model.place): \(key)", "true", "false")
        }
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            let text = try model.optional(key)?.string() ?? ""
            guard text.isEmpty else { throw foreign("\(model.place): \(key)", text, "none") }
        }
        if let dropout = try model.optional("dropout"), try dropout.number() != 0 {
            throw foreign(dropout.place, "given", "none")
        }
        var tokens = try vocabulary(model.required("vocab"))
        let added = try addedTokens(json, into: &tokens)
        let (pattern, splitsDigits) = try preTokenizer(json)
        var unknown: Int32?
        if let name = try model.optional("unk_token") {
            let text = try name.string()
            guard let id = tokens.firstIndex(of: text) else { throw foreign(name.place, text, "a token") }
            unknown = Int32(id)
        }
        return TokenizerDefinition(
            tokens: tokens, merges: try merges(model.required("merges")), added: added, pattern: pattern,
            splitsDigits: splitsDigits, normalisesNFC: try normalises(json),
            ignoresMerges: try model.flag("ignore_merges"), unknownId: unknown, place: json.place)
    }

    private static func foreign(_ place: String, _ found: String, _ expected: String) -> MMedError {
        MMedError(.badData, at: place, "is \(found), expected \(expected)", mend: "use a byte-level BPE tokenizer")
    }

    private static func vocabulary(_ vocab: JSONReader) throws -> [String?] {
        let object = try vocab.object()
        // Ids may have gaps where added tokens stand, but not so many that a small file asks for much memory.
        let most = 2 * object.count + 65_536
        var tokens = [String?](repeating: nil, count: object.count)
        for key in object.keys {
            guard case .integer(let id)? = object[key], (0..<most).contains(id) else {
                throw MMedError(.badData, at: "\(vocab.place): \(key)", "is not a token id below \(most)")
            }
            while tokens.count <= id { tokens.append(nil) }
            if let other = tokens[id] {
                throw MMedError(.badData, at: "\(vocab.place): \(key)", "has id \(id), which is that of \(other)")
            }
            tokens[id] = key
        }
        return tokens
    }

    private static func addedTokens(
        _ json: JSONReader, into tokens: inout [String?]
    ) throws -> [TokenizerDefinition.Added] {
        let most = 2 * tokens.count + 65_536
        return try (json.optional("added_tokens")?.array() ?? []).map { entry in
            let id = try entry.required("id").tokenId()
            let content = try entry.required("content").string()
            guard !content.isEmpty, Int(id) < most else {
                throw MMedError(.badData, at: entry.place, "needs a text, and an id below \(most)")
            }
            for key in ["single_word", "lstrip", "rstrip"] where try entry.flag(key) {
                throw foreign("\(entry.place): \(key)", "true", "false")
            }
            while tokens.count <= Int(id) { tokens.append(nil) }
            guard tokens[Int(id)] == nil || tokens[Int(id)] == content else {
                throw MMedError(.badData, at: entry.place, "has id \(id), which is that of another token")
            }
            tokens[Int(id)] = content
            return TokenizerDefinition.Added(id: id, content: content, isSpecial: try entry.flag("special"))
        }
    }

    /// Pairs are written "a b" or ["a", "b"].
    private static func merges(_ merges: JSONReader) throws -> [TokenizerDefinition.Merge] {
        guard case .array(let entries) = merges.value else { throw merges.mistyped("an array") }
        return try entries.enumerated().map { index, entry in
            switch entry {
            case .string(let text):
                if let merge = TokenizerDefinition.Merge(spaced: text) { return merge }
            case .array(let parts):
                if parts.count == 2, case .string(let left) = parts[0], case .string(let right) = parts[1],
                    !left.isEmpty, !right.isEmpty
                {
                    return TokenizerDefinition.Merge(left: left, right: right)
                }
            case .null, .bool, .integer, .number, .object: break
            }
            throw MMedError(
                .badData, at: "\(merges.place)[\(index)]", "is not a pair, expected \"a b\" or [\"a\", \"b\"]")
        }
    }

    private static func normalises(_ json: JSONReader) throws -> Bool {
        guard let normalizer = try json.optional("normalizer") else { return false }
        let type = try normalizer.required("type").string()
        if type == "Sequence", try normalizer.required("normalizers").array().isEmpty { return false }
        guard type == "NFC" else { throw foreign("\(normalizer.place): type", type, "NFC or none") }
        return true
    }
}

extension TokenizerDefinition.Merge {
    /// Two parts with one space between them.
    init?(spaced text: String) {
        let parts = text.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
        self.init(left: String(parts[0]), right: String(parts[1]))
    }
}

extension TokenizerDefinition {
    /// Reads a tokenizer.json by itself; throws `badData` naming the file and the key.
    public init(file path: String) throws { self = try TokenizerFile.read(path) }
}
