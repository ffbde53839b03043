/// Options are lettered A, B, C ... in the order given; this room counts them from 0.
public enum OptionLetter {
    /// Options a question may have.
    public static let countMax = 26

    /// "A" for 0; nil outside 0...25.
    public static func text(_ index: Int) -> String? {
        (0..<countMax).contains(index) ? String(decoding: [UInt8(65 + index)], as: UTF8.self) : nil
    }

    /// 0 for "A"; nil for anything but one capital letter.
    public static func index(_ text: String) -> Int? {
        let bytes = Array(text.utf8)
        return bytes.count == 1 && (65...90).contains(bytes[0]) ? Int(bytes[0]) - 65 : nil
    }
}

/// The answer form `<think>...</think><answer>B</answer>` and its strict reading.
public enum AnswerForm {
    static let thinkOpen = Array("<think>".utf8)
    static let thinkClose = Array("</think>".utf8)
    static let answerOpen = Array("<answer>".utf8)
    static let answerClose = Array("</answer>".utf8)

    /// The chosen option, or nil when the text is not exactly of the form: one think, then one answer that holds one
    /// capital letter among the options, with nothing but whitespace before, between, around the letter and after.
    ///
    /// - Parameters:
    ///   - text: the decoded completion, without the end token.
    ///   - optionCount: options of the question; A is the first.
    public static func parse(_ text: String, optionCount: Int) -> Int? {
        let bytes = Array(text.utf8)
        guard let thinkStart = only(thinkOpen, in: bytes), let thinkEnd = only(thinkClose, in: bytes),
            let answerStart = only(answerOpen, in: bytes), let answerEnd = only(answerClose, in: bytes),
            isBlank(bytes[..<thinkStart]), thinkStart + thinkOpen.count <= thinkEnd,
            thinkEnd + thinkClose.count <= answerStart, isBlank(bytes[(thinkEnd + thinkClose.count)..<answerStart]),
            answerStart + answerOpen.count <= answerEnd, isBlank(bytes[(answerEnd + answerClose.count)...])
        else { return nil }
        let content = trimmed(bytes[(answerStart + answerOpen.count)..<answerEnd])
        guard content.count == 1, let letter = content.first, (65...90).contains(letter) else { return nil }
        let index = Int(letter) - 65
        return index < optionCount ? index : nil
    }

    /// Where the pattern begins when it occurs exactly once.
    private static func only(_ pattern: [UInt8], in bytes: [UInt8]) -> Int? {
        guard let first = find(pattern, in: bytes[...]) else { return nil }
        return find(pattern, in: bytes[(first + pattern.count)...]) == nil ? first : nil
    }

    /// Where the pattern first begins.
    static func find(_ pattern: [UInt8], in bytes: ArraySlice<UInt8>) -> Int? {
        guard let head = pattern.first, bytes.count >= pattern.count else { return nil }
        for start in bytes.startIndex...(bytes.endIndex - pattern.count)
        where bytes[start] == head && bytes[start..<(start + pattern.count)].elementsEqual(pattern) {
            return start
        }
        return nil
    }

    /// Where the pattern last begins.
    static func findLast(_ pattern: [UInt8], in bytes: ArraySlice<UInt8>) -> Int? {
        var found: Int?
        var rest = bytes
        while let start = find(pattern, in: rest) {
            found = start
            rest = rest[(start + 1)...]
        }
        return found
    }

    static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    static func isBlank(_ bytes: ArraySlice<UInt8>) -> Bool { bytes.allSatisfy(isSpace) }

    static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var rest = bytes.drop(while: isSpace)
        while let last = rest.last, isSpace(last) { rest = rest.dropLast() }
        return rest
    }
}
