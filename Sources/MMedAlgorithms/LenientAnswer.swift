/// The forgiving reading of a completion, for reports only: it never pays a reward. Evaluation kits for medical models
/// fall back to the option most similar to the output, so that a text without an answer can score; this one does the
/// same by a fixed rule, and the strict score stands beside it.
///
/// The region is the text after the last `<answer>` (up to its `</answer>`), else after the last `</think>`, else all.
/// The first of these that finds an option decides:
/// 1. the region is one letter, of either case, within punctuation: `b`, `(B)`, `B.`;
/// 2. after the last word "answer" or "option" in it: a capital letter standing alone, as in `the answer is: B`;
/// 3. it begins with a capital letter followed by `.`, `)`, `:` or a comma, or holds one in brackets: `B) asthma`, `so (B)`;
/// 4. exactly one option's text occurs in it, ignoring case and punctuation;
/// 5. the option with the greatest Dice similarity of letter pairs (ties: the first), if any pair is shared.
public enum LenientAnswer {
    /// The option, or nil when nothing in the text resembles any.
    ///
    /// - Parameters:
    ///   - text: the decoded completion.
    ///   - options: the texts of the options; A is the first.
    public static func parse(_ text: String, options: [String]) -> Int? {
        let region = AnswerForm.trimmed(answerRegion(Array(text.utf8)))
        guard !region.isEmpty, !options.isEmpty else { return nil }
        let optionCount = options.count
        if let letter = loneLetter(region), letter < optionCount { return letter }
        if let letter = letterAfterKeyword(region, optionCount) { return letter }
        if let letter = markedLetter(region, optionCount) { return letter }
        let words = normalised(region)
        let optionWords = options.map { normalised(Array($0.utf8)[...]) }
        if let option = containedOption(words, optionWords) { return option }
        return mostSimilar(words, optionWords)
    }

    private static func answerRegion(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
        if let start = AnswerForm.findLast(AnswerForm.answerOpen, in: bytes[...]) {
            let inside = bytes[(start + AnswerForm.answerOpen.count)...]
            return AnswerForm.find(AnswerForm.answerClose, in: inside).map { inside[..<$0] } ?? inside
        }
        if let start = AnswerForm.findLast(AnswerForm.thinkClose, in: bytes[...]) {
            return bytes[(start + AnswerForm.thinkClose.count)...]
        }
        return bytes[...]
    }

    private static func loneLetter(_ region: ArraySlice<UInt8>) -> Int? {
        let letters = region.filter { isWord($0) }
        guard letters.count == 1, region.count <= 8 else { return nil }
        let upper = letters[0] & 0xDF
        return (65...90).contains(upper) && letters[0] < 0x80 ? Int(upper) - 65 : nil
    }

    private static func letterAfterKeyword(_ region: ArraySlice<UInt8>, _ optionCount: Int) -> Int? {
        let lower = region.map { (65...90).contains($0) ? $0 | 0x20 : $0 }
        let places = ["answer", "option"].compactMap { AnswerForm.findLast(Array($0.utf8), in: lower[...]) }
        guard let keyword = places.max() else { return nil }
        let rest = Array(region.dropFirst(keyword + 6))
        for place in rest.indices {
            guard let letter = option(rest[place], optionCount) else { continue }
            let before = place == 0 ? 0x20 : rest[place - 1]
            let after = place + 1 == rest.count ? 0x20 : rest[place + 1]
            if !isWord(before) && !isWord(after) && after != 0x27 { return letter }
        }
        return nil
    }

    private static func markedLetter(_ region: ArraySlice<UInt8>, _ optionCount: Int) -> Int? {
        let bytes = Array(region)
        if bytes.count >= 2, Array(".):,".utf8).contains(bytes[1]), let letter = option(bytes[0], optionCount) {
            return letter
        }
        guard bytes.count >= 3 else { return nil }
        for place in 1..<(bytes.count - 1) where bytes[place - 1] == 0x28 && bytes[place + 1] == 0x29 {
            if let letter = option(bytes[place], optionCount) { return letter }
        }
        return nil
    }

    /// The option that a capital letter names.
    private static func option(_ byte: UInt8, _ optionCount: Int) -> Int? {
        let index = Int(byte) - 65
        return index >= 0 && index < min(optionCount, OptionLetter.countMax) ? index : nil
    }

    private static func containedOption(_ words: [UInt8], _ options: [[UInt8]]) -> Int? {
        let padded = [0x20] + words + [0x20]
        let found = options.indices.filter { index in
            !options[index].isEmpty && AnswerForm.find([0x20] + options[index] + [0x20], in: padded[...]) != nil
        }
        return found.count == 1 ? found[0] : nil
    }

    private static func mostSimilar(_ words: [UInt8], _ options: [[UInt8]]) -> Int? {
        let pairs = letterPairs(words)
        var best: (index: Int, similarity: Double)?
        for (index, option) in options.enumerated() {
            let similarity = dice(pairs, letterPairs(option))
            if similarity > (best?.similarity ?? 0) { best = (index, similarity) }
        }
        return best?.index
    }

    /// Sorted pairs of neighbouring bytes.
    private static func letterPairs(_ words: [UInt8]) -> [UInt16] {
        zip(words, words.dropFirst()).map { UInt16($0) << 8 | UInt16($1) }.sorted()
    }

    /// Twice the pairs in common, with multiplicity, over all pairs (Dice 1945).
    private static func dice(_ left: [UInt16], _ right: [UInt16]) -> Double {
        var (shared, i, j) = (0, 0, 0)
        while i < left.count && j < right.count {
            if left[i] == right[j] {
                (shared, i, j) = (shared + 1, i + 1, j + 1)
            } else if left[i] < right[j] {
                i += 1
            } else {
                j += 1
            }
        }
        return left.isEmpty && right.isEmpty ? 0 : Double(2 * shared) / Double(left.count + right.count)
    }

    /// Lower case, with one space for each run of bytes that are neither letters nor digits.
    private static func normalised(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var words: [UInt8] = []
        for byte in bytes {
            if isWord(byte) {
                words.append((65...90).contains(byte) ? byte | 0x20 : byte)
            } else if let last = words.last, last != 0x20 {
                words.append(0x20)
            }
        }
        if words.last == 0x20 { words.removeLast() }
        return words
    }

    /// Letters, digits and every byte of a character beyond ASCII.
    private static func isWord(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte >= 0x80
    }
}
