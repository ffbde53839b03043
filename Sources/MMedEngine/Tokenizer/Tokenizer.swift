import Foundation
import MMedCore
public import MMedFormats

/// Byte-level BPE with special tokens: text to token ids and back.
public struct Tokenizer: Sendable {
    private let pairs: BytePairs
    private let preTokenizer: PreTokenizer
    /// Token of each byte, -1 where the vocabulary lacks it.
    private let byteIds: [Int32]
    private let bytesOfId: [[UInt8]]
    private let specialIds: Set<Int32>
    private let normalisesNFC: Bool
    /// Whole words that are tokens; only where such a word is not merged.
    private let wholeWords: [[UInt8]: Int32]
    /// Added tokens by their first byte, the longest first.
    private let addedByFirstByte: [UInt8: [(bytes: [UInt8], id: Int32)]]

    /// The tokenizer of a model; throws `badData` when it is malformed or of a foreign kind.
    public init(source: ModelSource) throws {
        try self.init(source.tokenizer())
    }

    /// Makes a definition fit for work; throws `badData` when a merge needs or makes what is not a token.
    public init(_ definition: TokenizerDefinition) throws {
        preTokenizer = PreTokenizer(pattern: definition.pattern, splitsDigits: definition.splitsDigits)
        normalisesNFC = definition.normalisesNFC
        let addedIds = Dictionary(definition.added.map { ($0.id, $0.content) }) { first, _ in first }
        var idOfText: [[UInt8]: Int32] = [:]
        idOfText.reserveCapacity(definition.tokens.count)
        bytesOfId = definition.tokens.enumerated().map { id, text in
            guard let text else { return [] }
            if let content = addedIds[Int32(id)] { return Array(content.utf8) }
            return ByteAlphabet.decode(text) ?? Array(text.utf8)
        }
        for (id, text) in definition.tokens.enumerated() {
            guard let text else { continue }
            let key = Array(text.utf8)
            if idOfText[key] == nil { idOfText[key] = Int32(id) }
        }
        byteIds = ByteAlphabet.characters.map { character in
            idOfText[Array(String(Character(character)).utf8)] ?? definition.unknownId ?? -1
        }
        pairs = BytePairs(
            try definition.merges.enumerated().map { index, merge in
                let (left, right) = (Array(merge.left.utf8), Array(merge.right.utf8))
                guard let leftId = idOfText[left], let rightId = idOfText[right], let made = idOfText[left + right]
                else {
                    throw MMedError(
                        .badData, at: "\(definition.place): merge \(index)",
                        "\"\(merge.left)\" and \"\(merge.right)\" do not make a token of the vocabulary",
                        mend: "fetch the model again")
                }
                return (leftId, rightId, made)
            })
        specialIds = Set(definition.added.filter(\.isSpecial).map(\.id))
        if definition.ignoresMerges {
            wholeWords = Dictionary(bytesOfId.enumerated().map { ($1, Int32($0)) }) { first, _ in first }
        } else {
            wholeWords = [:]
        }
        addedByFirstByte = try Tokenizer.byFirstByte(definition, idCount: bytesOfId.count)
    }

    private static func byFirstByte(
        _ definition: TokenizerDefinition, idCount: Int
    ) throws -> [UInt8: [(bytes: [UInt8], id: Int32)]] {
        var lists: [UInt8: [(bytes: [UInt8], id: Int32)]] = [:]
        for token in definition.added {
            let bytes = Array(token.content.utf8)
            guard let first = bytes.first, (0..<idCount).contains(Int(token.id)) else {
                throw MMedError(
                    .badData, at: definition.place, "an added token has no text, or an id outside the vocabulary")
            }
            lists[first, default: []].append((bytes, token.id))
        }
        return lists.mapValues { list in list.sorted { ($1.bytes.count, $0.id) < ($0.bytes.count, $1.id) } }
    }

    /// Ids that the tokenizer knows are below this; the model's embedding may have more rows.
    public var vocabularySize: Int { bytesOfId.count }

    /// The id of a special or added token by its text.
    public func id(ofAdded text: String) -> Int32? {
        let bytes = Array(text.utf8)
        guard let first = bytes.first else { return nil }
        return addedByFirstByte[first]?.first { $0.bytes == bytes }?.id
    }

    /// Whether the id is that of a control token.
    public func isSpecial(_ id: Int32) -> Bool { specialIds.contains(id) }

    /// Token ids of a text. With `parseSpecial` the texts of added tokens become those tokens; without, they are ordinary text.
    public func encode(_ text: String, parseSpecial: Bool = true) -> [Int32] {
        var ids: [Int32] = []
        let bytes = Array(text.utf8)
        var (start, position) = (0, 0)
        while parseSpecial, position < bytes.count {
            guard let (length, id) = added(in: bytes, at: position) else {
                position += 1
                continue
            }
            encodePlain(bytes[start..<position], into: &ids)
            ids.append(id)
            position += length
            start = position
        }
        encodePlain(bytes[start...], into: &ids)
        return ids
    }

    /// The first added token in a text, if there is one.
    func firstAdded(in text: String) -> String? {
        let bytes = Array(text.utf8)
        for position in bytes.indices {
            if let (length, _) = added(in: bytes, at: position) {
                return String(decoding: bytes[position..<position + length], as: UTF8.self)
            }
        }
        return nil
    }

    private func added(in bytes: [UInt8], at position: Int) -> (length: Int, id: Int32)? {
        guard let list = addedByFirstByte[bytes[position]] else { return nil }
        let found = list.first { bytes[position...].starts(with: $0.bytes) }
        return found.map { ($0.bytes.count, $0.id) }
    }

    private func encodePlain(_ bytes: ArraySlice<UInt8>, into ids: inout [Int32]) {
        guard !bytes.isEmpty else { return }
        var symbols: [Int32] = []
        for word in words(of: String(decoding: bytes, as: UTF8.self)) {
            if !wholeWords.isEmpty, let id = wholeWords[word] {
                ids.append(id)
                continue
            }
            symbols.removeAll(keepingCapacity: true)
            for byte in word where byteIds[Int(byte)] >= 0 { symbols.append(byteIds[Int(byte)]) }
            pairs.merge(symbols, into: &ids)
        }
    }

    /// The words of a text without added tokens, as UTF-8.
    func words(of text: String) -> [[UInt8]] {
        let scalars = Array(normalised(text).unicodeScalars)
        var start = 0
        return preTokenizer.ends(in: scalars).map { end in
            defer { start = end }
            return scalars[start..<end].flatMap { UTF8.encode($0).map(Array.init) ?? [] }
        }
    }

    private func normalised(_ text: String) -> String {
        // Below U+0300 every text is in normal form C already.
        guard normalisesNFC, text.unicodeScalars.contains(where: { $0.value >= 0x300 }) else { return text }
        return text.precomposedStringWithCanonicalMapping
    }

    /// The bytes of a token, which need not be whole characters; none for an id that the tokenizer does not know.
    public func bytes(of id: Int32) -> [UInt8] {
        bytesOfId.indices.contains(Int(id)) ? bytesOfId[Int(id)] : []
    }

    /// The text of token ids; bytes that are not UTF-8 become U+FFFD. `skipSpecial` leaves control tokens out.
    public func decode(_ ids: [Int32], skipSpecial: Bool = false) -> String {
        var bytes: [UInt8] = []
        for id in ids where !(skipSpecial && isSpecial(id)) { bytes.append(contentsOf: self.bytes(of: id)) }
        return String(decoding: bytes, as: UTF8.self)
    }
}
