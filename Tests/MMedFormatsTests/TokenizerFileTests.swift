import MMedCore
import Testing

@testable import MMedFormats

@Suite struct TokenizerFileTests {
    private static let level = #"{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}"#

    private func json(
        model: String? = nil, pre: String = level, added: String = "[]", normalizer: String = "null",
        type: String = "BPE"
    ) -> String {
        let model = model ?? #""vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]"#
        return #"{"added_tokens":\#(added),"normalizer":\#(normalizer),"pre_tokenizer":\#(pre),"#
            + #""model":{"type":"\#(type)",\#(model)}}"#
    }

    private func read(_ text: String) throws -> TokenizerDefinition {
        try read(Array(text.utf8))
    }

    private func read(_ bytes: [UInt8]) throws -> TokenizerDefinition {
        try TokenizerFile.read(JSONReader(JSONValue.parse(bytes, at: "tokenizer.json"), at: "tokenizer.json"))
    }

    @Test func bothFormsOfMerges() throws {
        for merges in [#"["a b","ab a"]"#, #"[["a","b"],["ab","a"]]"#] {
            let definition = try read(json(model: #""vocab":{"a":0,"b":1,"ab":2,"aba":4},"merges":\#(merges)"#))
            #expect(definition.merges == [.init(left: "a", right: "b"), .init(left: "ab", right: "a")])
            #expect(definition.tokens == ["a", "b", "ab", nil, "aba"])
            #expect(definition.pattern == .gpt2 && !definition.splitsDigits && !definition.normalisesNFC)
        }
    }

    @Test func addedTokensTakeTheirIds() throws {
        let added = #"[{"id":5,"content":"<s>","special":true},{"id":0,"content":"a","special":false}]"#
        let definition = try read(json(added: added, normalizer: #"{"type":"NFC"}"#))
        #expect(definition.tokens == ["a", "b", "ab", nil, nil, "<s>"])
        #expect(definition.added.map(\.isSpecial) == [true, false])
        #expect(definition.normalisesNFC)
    }

    @Test func theKnownPreTokenizers() throws {
        func sequence(_ stages: String...) -> String {
            #"{"type":"Sequence","pretokenizers":[\#(stages.joined(separator: ","))]}"#
        }
        func split(_ pattern: String) -> String {
            JSONValue.object([
                ("type", .string("Split")), ("pattern", .object([("Regex", .string(pattern))])),
                ("behavior", .string("Isolated")), ("invert", .bool(false)),
            ]).text()
        }
        let plain = Self.level.replacing("true", with: "false")
        let digits = #"{"type":"Digits","individual_digits":true}"#
        #expect(try read(json(pre: sequence(digits, Self.level))).splitsDigits)
        for (text, pattern) in TokenizerFile.patterns {
            #expect(try read(json(pre: sequence(split(text), plain))).pattern == pattern)
        }
        let faults = [
            #"{"type":"Metaspace"}"#, #"{"type":"ByteLevel","use_regex":true}"#, plain, sequence(), sequence(digits),
            sequence(Self.level, digits), sequence(split(TokenizerFile.patterns[1].text), Self.level),
            sequence(split("a|b"), plain), sequence(digits.replacing("true", with: "false"), Self.level),
        ]
        for fault in faults {
            expectBadData("not a known pre-tokenizer", fault) { _ = try read(json(pre: fault)) }
        }
    }

    @Test func eachFaultIsNamed() throws {
        func model(_ vocab: String, _ merges: String = "[]", _ more: String = "") -> String {
            json(model: #""vocab":\#(vocab),"merges":\#(merges)\#(more)"#)
        }
        let faults: [(String, String)] = [
            ("is WordPiece, expected BPE", json(type: "WordPiece")),
            ("byte_fallback: is true", model("{}", "[]", #","byte_fallback":true"#)),
            ("end_of_word_suffix", model("{}", "[]", #","end_of_word_suffix":"</w>""#)),
            ("dropout", model("{}", "[]", #","dropout":0.1"#)),
            ("unk_token: is x", model("{}", "[]", #","unk_token":"x""#)),
            ("not a token id", model(#"{"a":-1}"#)), ("not a token id", model(#"{"a":9000000000000}"#)),
            ("not a token id", model(#"{"a":"0"}"#)), ("which is that of a", model(#"{"a":0,"b":0}"#)),
            ("merges[0]: is not a pair", model("{}", #"["ab"]"#)), ("merges[0]", model("{}", #"[["a","b","c"]]"#)),
            ("merges[1]", model("{}", #"["a b",["a",1]]"#)), ("merges[0]", model("{}", "[3]")),
            ("merges: is a whole number", model("{}", "3")), ("vocab: is missing", json(model: #""merges":[]"#)),
            ("id 0, which is that of another", json(added: #"[{"id":0,"content":"x"}]"#)),
            ("an id below", json(added: #"[{"id":2000000000,"content":"x"}]"#)),
            ("a token id", json(added: #"[{"id":-1,"content":"x"}]"#)),
            ("needs a text", json(added: #"[{"id":7,"content":""}]"#)),
            ("lstrip: is true", json(added: #"[{"id":7,"content":"x","lstrip":true}]"#)),
            ("is Lowercase, expected NFC", json(normalizer: #"{"type":"Lowercase"}"#)),
            ("pre_tokenizer: is missing", json(pre: "null")), ("not the JSON", "{"), ("expected an object", "[]"),
        ]
        for (part, text) in faults {
            expectBadData(part, text) { _ = try read(text) }
        }
    }

    @Test func truncatedAndChangedTextNeverTraps() throws {
        let text = Array(json(added: #"[{"id":5,"content":"<s>","special":true}]"#).utf8)
        for count in 0..<text.count {
            expectBadData("tokenizer.json", "\(count)") { _ = try read(Array(text[..<count])) }
        }
        mutate(text, count: 3000, seed: 17) { changed in
            _ = try read(changed)
        }
    }
}
