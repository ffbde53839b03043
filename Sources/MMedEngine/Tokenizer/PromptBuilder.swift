import MMedCore

/// Builds the prompts and the supervised answers of one model. A prompt is a prefix (system, question, options, answer
/// instruction) and a suffix (guideline, end of turn, assistant header); its ids are those of the two encoded apart, and the
/// cut lies at a word boundary of the tokenizer, so that they are also the ids of the whole.
public struct PromptBuilder: Sendable {
    /// The model's tokenizer.
    public let tokenizer: Tokenizer
    /// How turns are written.
    public let chat: ChatTemplate
    /// The token that ends an answer.
    public let endOfTurnId: Int32
    /// How options stand in the question.
    public let optionStyle: OptionStyle
    private let opening: String
    /// The answer instruction up to the last word boundary that holds before a guideline and before the end of the turn.
    private let instructionHead: String
    /// The rest of it: where a tokenizer draws line ends to the punctuation before them, the last mark opens the suffix.
    private let instructionTail: String

    /// `instruction` asks for the answer form; a nil `system` keeps the model's own default. Throws `badConfig` when a text is
    /// empty or holds a special token, `badData` when the tokenizer lacks the template's tokens.
    public init(
        tokenizer: Tokenizer, chat: ChatTemplate, instruction: String, system: String? = nil,
        optionStyle: OptionStyle = .letterFirst
    ) throws {
        for mark in chat.marks where tokenizer.id(ofAdded: mark) == nil {
            throw MMedError(
                .badData, "the tokenizer has no token \(mark), which the \(chat.family.rawValue) template needs",
                mend: "name another chat template in the config")
        }
        self.tokenizer = tokenizer
        self.chat = chat
        self.optionStyle = optionStyle
        endOfTurnId = tokenizer.id(ofAdded: chat.endOfTurn) ?? 0
        let instruction = trimmed(instruction)
        try PromptBuilder.check(instruction, "the answer instruction", tokenizer, .badConfig)
        if let system { try PromptBuilder.check(system, "the system text", tokenizer, .badConfig) }
        opening = chat.opening(system: system)
        guard let cut = PromptBuilder.cut(instruction, tokenizer) else {
            throw MMedError(
                .badConfig, "the answer instruction \"\(instruction)\" is too short to be cut at a word",
                mend: "write a sentence")
        }
        let bytes = Array(instruction.utf8)
        instructionHead = String(decoding: bytes[..<cut], as: UTF8.self)
        instructionTail = String(decoding: bytes[cut...], as: UTF8.self)
    }

    /// The shared part of a question's prompts. Options are lettered from A on. Throws `badData` when a text is empty or holds
    /// a special token, or when there are not 2 to 26 options.
    public func prefix(question: String, options: [String]) throws -> String {
        try PromptBuilder.check(question, "the question", tokenizer, .badData)
        guard (2...26).contains(options.count) else {
            throw MMedError(.badData, "there are \(options.count) options, expected 2 to 26")
        }
        var text = opening + trimmed(question)
        for (index, option) in options.enumerated() {
            try PromptBuilder.check(option, "option \(PromptBuilder.letter(index))", tokenizer, .badData)
            text += "\n" + optionStyle.written(trimmed(option), PromptBuilder.letter(index))
        }
        return text + "\n" + instructionHead
    }

    /// The part below the prefix: for a guideline prompt with its text, for the plain prompt (nil) without.
    /// Throws `badConfig` when the guideline is empty or holds a special token.
    public func suffix(guideline: String?) throws -> String {
        guard let guideline else { return instructionTail + chat.closing }
        try PromptBuilder.check(guideline, "the guideline", tokenizer, .badConfig)
        return "\(instructionTail)\n\n\(trimmed(guideline))\(chat.closing)"
    }

    /// Ids of the prefix; throws as `prefix(question:options:)`.
    public func prefixIds(question: String, options: [String]) throws -> [Int32] {
        tokenizer.encode(try prefix(question: question, options: options))
    }

    /// Ids of the suffix; throws as `suffix(guideline:)`.
    public func suffixIds(guideline: String?) throws -> [Int32] {
        tokenizer.encode(try suffix(guideline: guideline))
    }

    /// Ids of a whole prompt: the prefix's, then the suffix's.
    public func promptIds(question: String, options: [String], guideline: String?) throws -> [Int32] {
        try prefixIds(question: question, options: options) + suffixIds(guideline: guideline)
    }

    /// Ids of a supervised answer `<think>trace</think><answer>letter</answer>` through the end of the turn. The letter is
    /// encoded by itself, so that it is one token, the same after every trace and for every model.
    /// Throws `badData` when the trace holds a special token or the letter is not one token.
    public func completionIds(trace: String, letter: String) throws -> [Int32] {
        if let token = tokenizer.firstAdded(in: trace) {
            throw MMedError(.badData, "the reasoning trace holds the special token \(token), expected plain text")
        }
        return tokenizer.encode("<think>\(trace)</think><answer>") + [try tokenizer.letterId(letter)]
            + tokenizer.encode("</answer>") + [endOfTurnId]
    }

    /// A, B, C and so on for an option's index, 0 to 25.
    public static func letter(_ index: Int) -> String {
        String(Character(Unicode.Scalar(UInt8(ascii: "A") + UInt8(clamping: min(max(index, 0), 25)))))
    }

    private static func check(_ text: String, _ what: String, _ tokenizer: Tokenizer, _ kind: ExitKind) throws {
        guard !trimmed(text).isEmpty else { throw MMedError(kind, "\(what) is empty, expected a text") }
        if let token = tokenizer.firstAdded(in: text) {
            throw MMedError(kind, "\(what) holds the special token \(token), expected plain text", mend: "take it out")
        }
    }

    /// Bytes up to the last word end that is one both before a guideline and at the end, and that has no space before it.
    private static func cut(_ instruction: String, _ tokenizer: Tokenizer) -> Int? {
        func ends(_ text: String) -> Set<Int> {
            var end = 0
            return Set(
                tokenizer.words(of: text).map { word in
                    end += word.count
                    return end
                })
        }
        let bytes = Array(instruction.utf8)
        return ends(instruction).intersection(ends(instruction + "\n\nA")).filter { end in
            guard end <= bytes.count, let last = String(decoding: bytes[..<end], as: UTF8.self).unicodeScalars.last
            else {
                return false
            }
            return !last.properties.isWhitespace
        }.max()
    }
}

/// Without white space at either end.
private func trimmed(_ text: String) -> String {
    var scalars = Substring(text).unicodeScalars
    while let first = scalars.first, first.properties.isWhitespace { scalars.removeFirst() }
    while let last = scalars.last, last.properties.isWhitespace { scalars.removeLast() }
    return String(scalars)
}
