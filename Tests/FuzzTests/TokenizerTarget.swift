import MMedCore

@testable import MMedEngine
@testable import MMedFormats

extension FuzzTarget {
    /// tokenizer.json files, and the tokenizers made of them at work.
    static let tokenizer = FuzzTarget(
        name: "tokenizer", lengthMost: 8192, seeds: { TokenizerSeeds.files() }
    ) { bytes in
        // 65,536 ids may have a place without a token, whatever the file's length.
        let budget = 512 * bytes.count + (16 << 20)
        guard
            let definition = try reading(
                "tokenizer.json", budget: budget,
                { try TokenizerFile.read(JSONReader(JSONValue.parse(bytes, at: "fuzz"), at: "fuzz")) })
        else { return }
        try checkTokenizer(
            definition,
            texts: [
                "It's 12 am,\n\n  don't panic <|end|>é\u{301}🙂", String(decoding: bytes.suffix(200), as: UTF8.self),
            ])
    }

    /// A definition is refused, or its tokenizer encodes any text to ids of the vocabulary; where every byte has a token of
    /// its own the text comes back.
    static func checkTokenizer(_ definition: TokenizerDefinition, texts: [String]) throws {
        guard let tokenizer = try reading("Tokenizer", budget: 1 << 30, { try Tokenizer(definition) }) else { return }
        let isWhole =
            !definition.normalisesNFC && definition.unknownId == nil && hasAllBytes(definition, tokenizer)
            // An added token stands for its content as it is written, an ordinary one for the bytes of its letters.
            && definition.added.allSatisfy { ByteAlphabet.decode($0.content) == Array($0.content.utf8) }
        for text in texts {
            let ids = tokenizer.encode(text)
            try demand(
                ids.allSatisfy { $0 >= 0 && Int($0) < tokenizer.vocabularySize }, "an id is outside the vocabulary")
            guard isWhole else { continue }
            try demand(
                tokenizer.decode(ids).utf8.elementsEqual(text.utf8), "\(text) came back as \(tokenizer.decode(ids))")
        }
    }

    private static func hasAllBytes(_ definition: TokenizerDefinition, _ tokenizer: Tokenizer) -> Bool {
        var first: [[UInt8]: Int32] = [:]
        for (id, text) in definition.tokens.enumerated() {
            guard let text else { continue }
            if first[Array(text.utf8)] == nil { first[Array(text.utf8)] = Int32(id) }
        }
        return ByteAlphabet.characters.enumerated().allSatisfy { byte, character in
            first[Array(String(Character(character)).utf8)].map { tokenizer.bytes(of: $0) == [UInt8(byte)] } ?? false
        }
    }
}

/// tokenizer.json files of the known kinds; only one has all 256 bytes, to keep the others small.
enum TokenizerSeeds {
    static func files() -> [(name: String, bytes: [UInt8])] {
        let few = ["<|end|>", "a", "b", "Ġ", "ab", "Ġa"].enumerated().map { ($1, JSONValue.integer($0)) }
        let all = ByteAlphabet.characters.map { String(Character($0)) }.enumerated().map { ($1, JSONValue.integer($0)) }
        func split(_ pattern: String) -> JSONValue {
            .object([
                ("type", .string("Split")), ("pattern", .object([("Regex", .string(pattern))])),
                ("behavior", .string("Isolated")), ("invert", .bool(false)),
            ])
        }
        let byteLevel = byteLevel(usesPattern: false)
        let patterns = TokenizerFile.patterns.map(\.text)
        return [
            ("gpt2", file(few, [self.byteLevel(usesPattern: true)], merges: ["a b", "Ġ a"])),
            (
                "smollm",
                file(few, [digits, self.byteLevel(usesPattern: true)], merges: ["a b"], normalizer: .null)
            ),
            (
                "qwen2",
                file(few, [split(patterns[1]), byteLevel], merges: [], normalizer: .object([("type", .string("NFC"))]))
            ),
            ("llama3", file(few, [split(patterns[2]), byteLevel], merges: ["a b"], ignoresMerges: true)),
            ("bytes", file(all, [self.byteLevel(usesPattern: true)], merges: [])),
        ]
    }

    private static let digits = JSONValue.object([("type", .string("Digits")), ("individual_digits", .bool(true))])

    private static func byteLevel(usesPattern: Bool) -> JSONValue {
        .object([
            ("type", .string("ByteLevel")), ("add_prefix_space", .bool(false)), ("use_regex", .bool(usesPattern)),
        ])
    }

    private static func file(
        _ vocabulary: [(String, JSONValue)], _ stages: [JSONValue], merges: [String], normalizer: JSONValue = .null,
        ignoresMerges: Bool = false
    ) -> [UInt8] {
        let sequence = JSONValue.object([("type", .string("Sequence")), ("pretokenizers", .array(stages))])
        let added = JSONValue.object([
            ("id", .integer(0)), ("content", .string(vocabulary[0].0)), ("special", .bool(true)),
        ])
        let model = JSONValue.object([
            ("type", .string("BPE")), ("ignore_merges", .bool(ignoresMerges)), ("vocab", .object(vocabulary)),
            ("merges", .array(merges.map { .string($0) })),
        ])
        let root = JSONValue.object([
            ("added_tokens", .array([added])), ("normalizer", normalizer),
            ("pre_tokenizer", stages.count == 1 ? stages[0] : sequence), ("model", model),
        ])
        return Array(root.text().utf8)
    }
}
