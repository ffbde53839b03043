import MMedCore

extension TokenizerFile {
    private static let contractions = "'s|'t|'re|'ve|'m|'ll|'d"

    /// The regular expressions that are known, each by what Tokenizer computes for it.
    static let patterns: [(text: String, pattern: TokenizerDefinition.Pattern)] = {
        func modern(_ numbers: String) -> String {
            #"(?i:\#(contractions))|[^\r\n\p{L}\p{N}]?\p{L}+|\#(numbers)| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
        }
        return [
            (#"\#(contractions)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#, .gpt2),
            (modern(#"\p{N}"#), .qwen2), (modern(#"\p{N}{1,3}"#), .llama3),
        ]
    }()

    /// How words are cut, and whether each digit is alone.
    static func preTokenizer(_ json: JSONReader) throws -> (TokenizerDefinition.Pattern, splitsDigits: Bool) {
        let outer = try json.required("pre_tokenizer")
        let isSequence = try outer.required("type").string() == "Sequence"
        let stages = isSequence ? try outer.required("pretokenizers").array() : [outer]
        var pattern: TokenizerDefinition.Pattern?
        var splitsDigits = false
        for (index, stage) in stages.enumerated() {
            switch try stage.required("type").string() {
            case "Digits":
                guard index == 0, try stage.flag("individual_digits") else {
                    throw unknown(stage.place, "Digits that are not individual, or not first")
                }
                splitsDigits = true
            case "Split":
                guard pattern == nil else { throw unknown(stage.place, "a second pattern") }
                pattern = try split(stage)
            case "ByteLevel":
                guard index == stages.count - 1, try !stage.flag("add_prefix_space", default: true) else {
                    throw unknown(stage.place, "ByteLevel with a space put first, or not last")
                }
                if try stage.flag("use_regex", default: true) {
                    guard pattern == nil else { throw unknown(stage.place, "a second pattern") }
                    pattern = .gpt2
                }
            case let other: throw unknown(stage.place, other)
            }
        }
        guard let pattern, try stages.last?.required("type").string() == "ByteLevel" else {
            throw unknown(outer.place, "no ByteLevel stage with a pattern")
        }
        return (pattern, splitsDigits)
    }

    private static func split(_ stage: JSONReader) throws -> TokenizerDefinition.Pattern {
        let text = try stage.required("pattern").required("Regex").string()
        let behaviour = try stage.required("behavior").string()
        guard let known = patterns.first(where: { $0.text == text }), behaviour == "Isolated",
            try !stage.flag("invert")
        else { throw unknown(stage.place, "the pattern \(text)") }
        return known.pattern
    }

    private static func unknown(_ place: String, _ found: String) -> MMedError {
        MMedError(
            .badData, at: place, "is not a known pre-tokenizer (\(found))",
            mend: "use a tokenizer of the GPT-2, SmolLM2, Qwen2 or Llama 3 kind")
    }
}
