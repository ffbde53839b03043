public import MMedCore

/// What a path is paid for.
public struct RewardSettings: Hashable, Sendable {
    /// The greatest format bonus: form must stay cheap beside being right.
    public static let formatBonusMax = 0.2

    /// Alpha, paid for the exact answer form with a parsable option, right or wrong.
    public var formatBonus: Double

    /// No bonus by default.
    public init(formatBonus: Double = 0) { self.formatBonus = formatBonus }

    /// - Throws: `badConfig` naming `section.formatBonus`.
    public func validate(section: String = "rewards") throws(MMedError) {
        guard formatBonus >= 0, formatBonus <= RewardSettings.formatBonusMax else {
            throw MMedError(
                .badConfig, at: "\(section).formatBonus",
                "\(formatBonus) is not in 0...\(RewardSettings.formatBonusMax)", mend: "0.1 is usual, 0 switches it off"
            )
        }
    }
}

/// A path's reward and what it is made of.
public struct RewardParts: Hashable, Sendable {
    /// The option by the strict reading; nil when the text is not exactly of the answer form or the path was cut off.
    public let strictOption: Int?
    /// The option by the lenient reading; nil when nothing resembles an option.
    public let lenientOption: Int?
    /// The strict reading found the right option.
    public let isStrictCorrect: Bool
    /// The lenient reading found the right option.
    public let isLenientCorrect: Bool
    /// r, at least 0: 1 for a strict right answer, and the format bonus.
    public let total: Double

    /// A verdict; `reward` makes those that count.
    public init(
        strictOption: Int?, lenientOption: Int?, isStrictCorrect: Bool, isLenientCorrect: Bool, total: Double
    ) {
        self.strictOption = strictOption
        self.lenientOption = lenientOption
        self.isStrictCorrect = isStrictCorrect
        self.isLenientCorrect = isLenientCorrect
        self.total = total
    }

    /// The exact form was kept, with an option that the question has.
    public var isFormatKept: Bool { strictOption != nil }
    /// The letter of the strict option.
    public var parsedLetter: String? { strictOption.flatMap(OptionLetter.text) }
    /// A value always: a policy failure is a real sample with r = 0.
    public var outcome: RewardOutcome { RewardOutcome(checking: total) }
}

/// The reward of one completion: r = 1[strict parse and correct] + alpha 1[strict parse]. Nothing is paid for following
/// a guideline, and nothing for form without an option.
///
/// - Parameters:
///   - text: the decoded completion, without the end token.
///   - options: the texts of the options; A is the first.
///   - answer: the right option, from 0.
///   - isFinished: the path ended with an end token; one that was cut off earns 0, whatever it holds.
///   - settings: the bonus.
/// - Throws: `badData` when the options are not 2...26 or the answer is none of them.
public func reward(
    text: String, options: [String], answer: Int, isFinished: Bool, settings: RewardSettings = RewardSettings()
) throws(MMedError) -> RewardParts {
    guard (2...OptionLetter.countMax).contains(options.count), options.indices.contains(answer) else {
        throw MMedError(
            .badData, at: "reward", "answer \(answer) of \(options.count) options, expected one of 2 to 26",
            mend: "check the question's options and its answer letter")
    }
    let strict = isFinished ? AnswerForm.parse(text, optionCount: options.count) : nil
    let lenient = strict ?? LenientAnswer.parse(text, options: options)
    let isCorrect = strict == answer
    return RewardParts(
        strictOption: strict, lenientOption: lenient, isStrictCorrect: isCorrect, isLenientCorrect: lenient == answer,
        total: (isCorrect ? 1 : 0) + (strict == nil ? 0 : settings.formatBonus))
}
