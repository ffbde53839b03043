import MMedAlgorithms
import MMedCore
import Testing

@Suite struct RewardTests {
    static let options = ["benign", "malignant", "cannot be told"]

    static let strictCases: [(text: String, option: Int?)] = [
        ("<think>cell size 8 is high.</think><answer>B</answer>", 1),
        ("  <think>\nx\n</think>\n\n<answer> A\n</answer>\n ", 0),
        ("<think></think><answer>C</answer>", 2),
        ("<think>a < b, c > d</think><answer>A</answer>", 0),
        ("<think>größer</think><answer>A</answer>", 0),
        ("<think>x</think><answer>D</answer>", nil),
        ("<think>x</think><answer>b</answer>", nil),
        ("<think>x</think><answer>BC</answer>", nil),
        ("<think>x</think><answer>B.</answer>", nil),
        ("<think>x</think><answer></answer>", nil),
        ("<think>x</think><answer>benign</answer>", nil),
        ("<think>x</think><answer>Ä</answer>", nil),
        ("<think>x</think><answer>B</answer> so B", nil),
        ("so <think>x</think><answer>B</answer>", nil),
        ("<think>x</think> hence <answer>B</answer>", nil),
        ("<answer>B</answer>", nil),
        ("<think>x<answer>B</answer>", nil),
        ("<think>x</think><answer>B", nil),
        ("x</think><answer>B</answer>", nil),
        ("<think>x</think><answer>B</answer><answer>B</answer>", nil),
        ("<think>x</think><think>y</think><answer>B</answer>", nil),
        ("<think>x <answer>A</answer></think><answer>B</answer>", nil),
        ("<answer>B</answer><think>x</think>", nil),
        ("</think>x<think><answer>B</answer>", nil),
        ("<think>x</think></answer>B<answer>", nil),
        ("<Think>x</Think><answer>B</answer>", nil),
        ("", nil),
        ("<", nil),
    ]

    @Test(arguments: strictCases) func strictReading(test: (text: String, option: Int?)) {
        #expect(AnswerForm.parse(test.text, optionCount: 3) == test.option)
    }

    static let lenientCases: [(text: String, option: Int?)] = [
        ("<think>x</think><answer>b</answer>", 1),
        ("<think>x</think><answer>(C).</answer> done", 2),
        ("<think>A or B</think><answer>B", 1),
        ("<answer>A</answer> no, <answer>C</answer>", 2),
        ("B", 1),
        (" c) ", 2),
        ("The answer is: B", 1),
        ("I would say the correct option is C because of the size.", 2),
        ("Answer: A. It's not B", 0),
        ("B) malignant", 1),
        ("C: nothing helps", 2),
        ("I choose (B) here", 1),
        ("This is a benign lesion", 0),
        ("It is MALIGNANT!", 1),
        ("malign growth", 1),
        ("I cannot tell", 2),
        ("E", nil),
        ("My answer: I think B.", 1),
        ("Z) malignant", 1),
        ("(X) or (C)", 2),
        ("A benign lesion", 0),
        ("benign or malignant, malignant", 1),
        ("...", nil),
        ("", nil),
        ("<answer></answer>", nil),
        ("xyz", nil),
    ]

    @Test(arguments: lenientCases) func lenientReading(test: (text: String, option: Int?)) {
        #expect(LenientAnswer.parse(test.text, options: RewardTests.options) == test.option)
    }

    @Test func lenientReadingOfAnOutlandishQuestion() {
        #expect(LenientAnswer.parse("anything", options: []) == nil)
        #expect(LenientAnswer.parse("same", options: ["same", "same"]) == 0, "the first of equals")
        #expect(LenientAnswer.parse("ödem", options: ["Fieber", "ödem"]) == 1)
    }

    @Test func rewardParts() throws {
        let settings = RewardSettings(formatBonus: 0.1)
        func parts(_ text: String, isFinished: Bool = true) throws -> RewardParts {
            try reward(
                text: text, options: RewardTests.options, answer: 1, isFinished: isFinished, settings: settings)
        }
        let right = try parts("<think>x</think><answer>B</answer>")
        #expect(right.total == 1.1 && right.isStrictCorrect && right.isLenientCorrect && right.isFormatKept)
        #expect(right.parsedLetter == "B" && right.outcome == .value(1.1))
        let wrong = try parts("<think>x</think><answer>A</answer>")
        #expect(wrong.total == 0.1 && !wrong.isStrictCorrect && !wrong.isLenientCorrect && wrong.isFormatKept)
        let foreign = try parts("<think>x</think><answer>F</answer>")
        #expect(foreign.total == 0 && !foreign.isFormatKept, "form without a parsable option pays nothing")
        let loose = try parts("The answer is B")
        #expect(loose.total == 0 && loose.isLenientCorrect && !loose.isStrictCorrect && loose.parsedLetter == nil)
        let cut = try parts("<think>x</think><answer>B</answer>", isFinished: false)
        #expect(cut.total == 0 && cut.strictOption == nil && cut.isLenientCorrect)
        #expect(cut.outcome == .value(0), "a policy failure is a real sample")
    }

    @Test func impossibleQuestionsAreRefused() {
        for (options, answer) in [
            (["a"], 0), (["a", "b"], 2), (["a", "b"], -1), ([String](repeating: "x", count: 27), 0),
        ] {
            #expect(throws: MMedError.self) {
                try reward(text: "", options: options, answer: answer, isFinished: true)
            }
        }
    }

    @Test func theBonusIsLimited() throws {
        try RewardSettings(formatBonus: 0.2).validate()
        for bonus in [-0.1, 0.21, .nan, .infinity] {
            let error = #expect(throws: MMedError.self) { try RewardSettings(formatBonus: bonus).validate() }
            #expect(error?.place == "rewards.formatBonus")
        }
    }

    @Test func letters() {
        #expect(OptionLetter.text(0) == "A" && OptionLetter.text(25) == "Z")
        #expect(OptionLetter.text(-1) == nil && OptionLetter.text(26) == nil)
        #expect(OptionLetter.index("C") == 2)
        for text in ["", "c", "AB", "Ä", "1"] { #expect(OptionLetter.index(text) == nil) }
    }
}
