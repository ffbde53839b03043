import MMedAlgorithms
import MMedProtocol

extension EvaluatedPath {
    /// What a judged path of a question came to; options are told by their texts, since letters differ from record to record.
    public init(judged path: JudgedTrajectory, question: QuestionPlan) {
        let letters = path.trajectory.choiceLogprobs
        // The first of equal letters wins, the same on every machine.
        let choice = letters.indices.max { letters[$0] < letters[$1] || (letters[$0] == letters[$1] && $0 > $1) }
        let options = question.reward.options
        func text(_ option: Int?) -> String? { option.flatMap { options.indices.contains($0) ? options[$0] : nil } }
        self.init(
            question: question.id, prompt: question.promptNames[Int(path.trajectory.slot.guideline)],
            answer: options[question.reward.answerIndex], strictCorrect: path.parts.isStrictCorrect,
            lenientCorrect: path.parts.isLenientCorrect, parsed: text(path.parts.strictOption),
            lenient: text(path.parts.lenientOption), choice: text(choice), reward: path.parts.total,
            tokens: path.trajectory.completionIds.count)
    }
}
