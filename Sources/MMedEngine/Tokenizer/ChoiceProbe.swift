import MMedCore

/// Where a model chooses its letter, in tokens. A tokenizer may join the marks of the answer form with their neighbours, so
/// the ways to spell them are found by encoding them in context.
public struct ChoiceProbe: Hashable, Sendable {
    /// Put after a prompt, these ids ask for the letter: `<answer>`.
    public let triggerIds: [Int32]
    /// The ways in which `<answer>` can end a text that a letter follows (alone, after a thought, after a space and so on); a
    /// completion has come to its letter when it ends with any of these. None of them ends `</answer>`.
    public let watches: [[Int32]]
    /// The id of each letter at that place, A first.
    public let letterIds: [Int32]

    /// Whether the next token of these ids is the letter.
    public func isDue(after ids: some BidirectionalCollection<Int32>) -> Bool {
        watches.contains { ids.reversed().starts(with: $0.reversed()) }
    }
}

extension Tokenizer {
    /// The probe for questions with so many options. Throws `badData` for other than 2 to 26 options, or when the tokenizer
    /// lacks a letter.
    public func choiceProbe(optionCount: Int) throws -> ChoiceProbe {
        guard (2...26).contains(optionCount) else {
            throw MMedError(.badData, "there are \(optionCount) options, expected 2 to 26")
        }
        var watches: [[Int32]] = []
        for context in ["", "</think>", "</think> ", "</think>\n", "</think>\n\n", "x", ".", "x ", "x\n", "x\n\n"] {
            let mark = answerMark(encode(context + "<answer>"))
            if !watches.contains(mark) { watches.append(mark) }
        }
        return ChoiceProbe(
            triggerIds: encode("<answer>"), watches: watches,
            letterIds: try (0..<optionCount).map { try letterId(PromptBuilder.letter($0)) })
    }

    /// The one token of an option's letter.
    func letterId(_ letter: String) throws -> Int32 {
        let ids = encode(letter, parseSpecial: false)
        guard letter.utf8.count == 1, ("A"..."Z").contains(letter), ids.count == 1,
            bytes(of: ids[0]) == Array(letter.utf8)
        else {
            throw MMedError(
                .badData, "the answer \"\(letter)\" is not an option's letter that is one token",
                mend: "answer with A to Z")
        }
        return ids[0]
    }

    /// The fewest ids at the end whose text holds `<answer>`.
    private func answerMark(_ ids: [Int32]) -> [Int32] {
        let count = (1...max(ids.count, 1)).first { decode(ids.suffix($0)).contains("<answer>") }
        return ids.suffix(count ?? ids.count)
    }
}
