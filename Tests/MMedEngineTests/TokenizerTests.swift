import Foundation
import MMedCore
import MMedFormats
import Testing

@testable import MMedEngine

/// What the tokenizer tests share: fixtures, and the real model, which is fetched by `make setup`.
enum TokenizerFixtures {
    static func folder() throws -> String {
        try #require(Bundle.module.resourcePath) + "/Fixtures"
    }

    static func json(_ name: String) throws -> JSONValue {
        let path = try folder() + "/" + name
        let file = try MappedFile(path: path)
        return try JSONValue.parse(try file.bytes(at: 0, count: file.count), at: path)
    }

    static func model() throws -> ModelSource {
        let environment = ProcessInfo.processInfo.environment
        let cache = environment["MMED_CACHE"] ?? NSHomeDirectory() + "/.cache/mmed"
        let path = cache + "/models/SmolLM2-135M-Instruct.Q4_1.gguf"
        try #require(FileManager.default.fileExists(atPath: path), "\(path) is missing; run make setup")
        return try ModelSource.open(path)
    }

    static func rows(_ value: JSONValue) throws -> [JSONObject] {
        guard case .array(let values) = value else { throw MMedError(.badData, "not an array") }
        return try values.map {
            guard case .object(let row) = $0 else { throw MMedError(.badData, "not an object") }
            return row
        }
    }

    static func text(_ value: JSONValue?) throws -> String {
        guard case .string(let text)? = value else { throw MMedError(.badData, "not a string") }
        return text
    }

    static func ids(_ value: JSONValue?) throws -> [Int32] {
        guard case .array(let values)? = value else { throw MMedError(.badData, "not an array") }
        return try values.map {
            guard case .integer(let id) = $0 else { throw MMedError(.badData, "not an id") }
            return Int32(id)
        }
    }

    /// A folder with one of the small tokenizers in it, seen as a definition.
    static func small(_ name: String) throws -> TokenizerDefinition {
        try TokenizerDefinition(file: folder() + "/tokenizers/\(name).tokenizer.json")
    }
}

@Suite struct TokenizerTests {
    @Test func everyTokenOfTheReferenceOnTheRealModel() throws {
        let tokenizer = try Tokenizer(source: TokenizerFixtures.model())
        let rows = try TokenizerFixtures.rows(TokenizerFixtures.json("tokens.json"))
        #expect(rows.count > 40)
        for row in rows {
            let text = try TokenizerFixtures.text(row["text"])
            let ids = try TokenizerFixtures.ids(row["ids"])
            #expect(tokenizer.encode(text) == ids, "\(text.debugDescription)")
            let decoded = tokenizer.decode(ids)
            #expect(Array(decoded.utf8) == Array(text.utf8), "\(text.debugDescription)")
        }
    }

    @Test(arguments: ["gpt2", "smollm", "qwen2", "llama3"])
    func wordsAndTokensOfEachPreTokenizer(name: String) throws {
        let tokenizer = try Tokenizer(TokenizerFixtures.small(name))
        let rows = try TokenizerFixtures.rows(TokenizerFixtures.json("tokenizers/\(name).golden.json"))
        #expect(rows.count > 150)
        for row in rows {
            let text = try TokenizerFixtures.text(row["text"])
            if row["ends"] != .null {
                var end = 0
                let ends = tokenizer.words(of: text).map { word in
                    end += String(decoding: word, as: UTF8.self).unicodeScalars.count
                    return Int32(end)
                }
                #expect(try ends == TokenizerFixtures.ids(row["ends"]), "\(name): words of \(text.debugDescription)")
            }
            #expect(
                try tokenizer.encode(text) == TokenizerFixtures.ids(row["ids"]), "\(name): \(text.debugDescription)")
        }
    }

    @Test func specialTokensAreTextWhenNotParsed() throws {
        let tokenizer = try Tokenizer(TokenizerFixtures.small("smollm"))
        let end = try #require(tokenizer.id(ofAdded: "<|im_end|>"))
        #expect(tokenizer.encode("<|im_end|>") == [end])
        let plain = tokenizer.encode("<|im_end|>", parseSpecial: false)
        #expect(!plain.contains(end))
        #expect(tokenizer.decode(plain) == "<|im_end|>")
        #expect(tokenizer.decode([end] + plain, skipSpecial: true) == "<|im_end|>")
        #expect(tokenizer.isSpecial(end))
        let mark = try #require(tokenizer.id(ofAdded: "<mark>"))
        #expect(!tokenizer.isSpecial(mark))
        #expect(tokenizer.id(ofAdded: "<nothing>") == nil)
    }

    @Test func aStreamGivesWholeCharacters() throws {
        let tokenizer = try Tokenizer(TokenizerFixtures.small("gpt2"))
        for text in ["é", "日本語 🙂", "👩🏽‍⚕️ naïve", "plain"] {
            var decoder = StreamDecoder(tokenizer)
            var given = ""
            for id in tokenizer.encode(text) {
                let piece = decoder.append(id)
                #expect(!piece.unicodeScalars.contains("\u{FFFD}"), "\(text)")
                given.unicodeScalars.append(contentsOf: piece.unicodeScalars)
            }
            #expect(decoder.finish().isEmpty)
            #expect(given == text)
        }
        var cut = StreamDecoder(tokenizer)
        #expect(cut.append(tokenizer.encode("🙂")[0]) == "")
        #expect(cut.finish() == "\u{FFFD}")
    }

    @Test func idsOutsideTheVocabularyHaveNoText() throws {
        let tokenizer = try Tokenizer(TokenizerFixtures.small("gpt2"))
        #expect(tokenizer.decode([-1, Int32.max, Int32(tokenizer.vocabularySize)]) == "")
    }

    @Test func aMergeThatMakesNoTokenIsRefused() throws {
        var definition = try TokenizerFixtures.small("gpt2")
        definition.merges.append(TokenizerDefinition.Merge(left: "a", right: "Ġnonsense"))
        let error = #expect(throws: MMedError.self) { try Tokenizer(definition) }
        #expect(error?.description.contains("merge \(definition.merges.count - 1)") == true)
        #expect(error?.kind == .badData)
    }

    @Test func aLongWordMergesAsItsReferenceDoes() throws {
        // A word of many equal pairs: every merge makes neighbours stale, leftmost first.
        let definition = TokenizerDefinition(
            tokens: ByteAlphabet.characters.map { String(Character($0)) } + ["aa", "aaaa"],
            merges: [.init(left: "a", right: "a"), .init(left: "aa", right: "aa")], added: [], pattern: .gpt2,
            splitsDigits: false, place: "test")
        let tokenizer = try Tokenizer(definition)
        for count in 1...40 {
            let ids = tokenizer.encode(String(repeating: "a", count: count))
            let expected =
                [Int32](repeating: 257, count: count / 4) + (count % 4 >= 2 ? [256] : [])
                + (count % 2 == 1 ? [97] : [])
            #expect(ids == expected, "\(count)")
        }
    }
}
