import MMedAlgorithms
import MMedConfig
import MMedCore
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedAssembly

@Suite struct RunReportTests {
    private func path(
        _ question: String, _ answer: String, _ parsed: String?, choice: String, prompt: String = "plain",
        reward: Double = 0
    ) -> EvaluatedPath {
        EvaluatedPath(
            question: question, prompt: prompt, answer: answer, strictCorrect: parsed == answer,
            lenientCorrect: parsed == answer, parsed: parsed, lenient: parsed ?? "ill", choice: choice, reward: reward,
            tokens: 9)
    }

    private func rows(_ text: String) -> [[String]] {
        text.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    }

    @Test func theTableCountsWhatWasEvaluated() throws {
        let material = try Material()
        var state = RunState(heads: [])
        state.evaluations = [
            EvaluationRecord(
                stage: "eval-base", specialty: try name("pediatrics"),
                paths: [
                    path("a", "ill", nil, choice: "ill"), path("b", "well", "ill", choice: "ill"),
                    path("c", "ill", "ill", choice: "well"), path("d", "well", nil, choice: "well"),
                ]),
            EvaluationRecord(
                stage: "eval-dsa", specialty: try name("pediatrics"),
                paths: [
                    path("a", "ill", "ill", choice: "ill"), path("b", "well", "ill", choice: "ill"),
                    path("c", "ill", "ill", choice: "ill"), path("d", "well", "well", choice: "well"),
                ]),
        ]
        let text = try RunReport(config: material.config, data: material.data).text(of: state)
        let rows = rows(text)
        // 1 of 4: Wilson 4.6 to 69.9; 3 of 4: 30.1 to 95.4; the lenient reading of no answer is "ill".
        let base = ["pediatrics", "base", "plain", "4", "25.0", "[4.6,", "69.9]", "25.0", "50.0"]
        #expect(rows.contains(base + ["50.0", "[15.0,", "85.0]", "50.0"]), "\(text)")
        let dsa = ["pediatrics", "dsa", "plain", "4", "75.0", "[30.1,", "95.4]", "75.0", "75.0"]
        #expect(rows.contains(dsa + ["75.0", "[30.1,", "95.4]", "0.0"]), "\(text)")
        #expect(text.hasSuffix("Research software; not medical advice.\n"))
        #expect(!text.contains("before"), "there was no judgement")
        #expect(!text.contains("Reference methods"), "no reference file is named")
    }

    @Test func severalPathsOfAQuestionAreOneTrialOfItsChoice() throws {
        let material = try Material()
        var state = RunState(heads: [])
        let paths = ["a", "a", "a", "b", "b", "b"].map { path($0, "ill", "ill", choice: $0 == "a" ? "ill" : "well") }
        state.evaluations = [
            EvaluationRecord(stage: "eval-merged", specialty: try name("adult-medicine"), paths: paths)
        ]
        let text = try RunReport(config: material.config, data: material.data).text(of: state)
        // The choice is right on one question of two, whatever the number of paths; and six answers to two questions are two
        // trials: Wilson's interval of 2 of 2, not that of 6 of 6.
        let row = ["adult-medicine", "merged", "plain", "6", "100.0", "[34.2,", "100.0]", "100.0", "100.0"]
        #expect(rows(text).contains(row + ["50.0", "[9.5,", "90.5]", "0.0"]), "\(text)")
    }

    /// Other patients with the same findings: a model that remembers its training text can score on them.
    @Test func questionsWhoseTextWasLearnedAreAlsoLeftOut() throws {
        let material = try Material()
        let learned = try #require(material.data.test.records(of: name("pediatrics")).first)
        #expect(material.data.train.records.contains { $0.question == learned.question })
        var state = RunState(heads: [])
        state.evaluations = [
            EvaluationRecord(
                stage: "eval-dsa", specialty: try name("pediatrics"),
                paths: [path(learned.id, "ill", "ill", choice: "ill"), path("b", "well", "ill", choice: "ill")])
        ]
        let text = try RunReport(config: material.config, data: material.data).text(of: state)
        #expect(rows(text).contains { $0.starts(with: ["pediatrics", "dsa", "plain", "2", "50.0"]) }, "\(text)")
        #expect(
            rows(text).contains { $0.starts(with: ["pediatrics", "dsa", "plain", "(new)", "1", "0.0"]) }, "\(text)")
        #expect(text.contains("(new): only the test questions"))
        state.evaluations[0].paths.removeFirst()
        let unseen = try RunReport(config: material.config, data: material.data).text(of: state)
        #expect(!unseen.contains("(new)"), "nothing is repeated: \(unseen)")
    }

    @Test func promptsHaveRowsOfTheirOwn() throws {
        let material = try Material()
        var state = RunState(heads: [])
        state.evaluations = [
            EvaluationRecord(
                stage: "eval-gba", specialty: try name("adult-medicine"),
                paths: [
                    path("a", "ill", "ill", choice: "ill"),
                    path("a", "ill", "well", choice: "ill", prompt: "intuitive"),
                    path("b", "ill", "ill", choice: "ill"),
                    path("b", "ill", "well", choice: "ill", prompt: "intuitive"),
                ])
        ]
        let rows = rows(try RunReport(config: material.config, data: material.data).text(of: state))
        #expect(rows.contains { $0.starts(with: ["adult-medicine", "gba", "plain", "2", "100.0"]) })
        #expect(rows.contains { $0.starts(with: ["adult-medicine", "gba", "intuitive", "2", "0.0"]) })
    }

    private func judgement(_ stage: String, _ rewards: [(question: String, prompt: String, reward: Double)]) throws
        -> EvaluationRecord
    {
        EvaluationRecord(
            stage: stage, specialty: try name("pediatrics"),
            paths: rewards.map { path($0.question, "ill", nil, choice: "ill", prompt: $0.prompt, reward: $0.reward) })
    }

    @Test func theJudgementKeepsGuidelinePromptsAndThePlainPromptApart() throws {
        let material = try Material()
        var state = RunState(heads: [])
        // Both guideline prompts of a question are one pair, by their mean: 0.5, 0 before and 1, 0.5 after.
        state.evaluations = [
            try judgement(
                "judge-before",
                [
                    ("a", "plain", 1), ("a", "intuitive", 0), ("a", "analytical", 1), ("b", "plain", 0),
                    ("b", "intuitive", 0), ("b", "analytical", 0),
                ]),
            try judgement(
                "judge-after",
                [
                    ("a", "plain", 0), ("a", "intuitive", 1), ("a", "analytical", 1), ("b", "plain", 0),
                    ("b", "intuitive", 1), ("b", "analytical", 0),
                ]),
        ]
        let text = try RunReport(config: material.config, data: material.data).text(of: state)
        let rows = rows(text)
        // Every question gained the same: an interval of width 0 would claim a certainty that nobody has.
        let guided = ["pediatrics", "guidelines", "2", "0.250", "0.750", "+0.500", "all", "equal"]
        #expect(rows.contains(guided), "\(text)")
        let plain = ["pediatrics", "plain", "2", "0.500", "0.000", "-0.500", "[-1.000,", "+0.000]"]
        #expect(rows.contains(plain), "\(text)")
    }

    @Test func theJudgementPairsQuestions() throws {
        let material = try Material()
        var state = RunState(heads: [])
        func record(_ stage: String, _ rewards: [(String, Double)]) throws -> EvaluationRecord {
            try judgement(stage, rewards.map { ($0.0, "plain", $0.1) })
        }
        state.evaluations = [
            try record("judge-before", [("a", 0), ("a", 1), ("b", 0), ("b", 0), ("c", 1), ("c", 1)]),
            try record("judge-after", [("a", 1), ("a", 1), ("b", 0.5), ("b", 0.5), ("c", 1), ("c", 1)]),
        ]
        let text = try RunReport(config: material.config, data: material.data).text(of: state)
        // Means of a question: 0.5, 0, 1 before and 1, 0.5, 1 after; their difference is 1/3.
        let row = rows(text).first { $0.starts(with: ["pediatrics", "plain", "3"]) }
        #expect(row?[3...5] == ["0.500", "0.833", "+0.333"], "\(text)")
        #expect(text == (try RunReport(config: material.config, data: material.data).text(of: state)))
    }

    @Test func theBudgetCountsSharedTokensOnce() throws {
        let plan = try Material().plan()
        let budget = TokenBudget(plan)
        #expect(budget.stages.map(\.name) == plan.stages.map(\.name))
        let gba = try #require(budget.stages.first { $0.name == "gba" })
        // 2 specialties x 6 steps x 3 questions x 2 guidelines x 2 paths, each drawn to half of 16 tokens.
        #expect(gba.paths == 144 && gba.drawnTokens == 144 * 8)
        let questions = try #require(plan.stages.first { $0.name == "gba" }).tracks.flatMap(\.steps).flatMap(
            \.questions)
        let shared = questions.reduce(0) { $0 + $1.prefixIds.count + $1.suffixIds.reduce(0) { $0 + $1.count } }
        #expect(gba.promptTokens == shared && gba.learnedTokens == shared + 144 * 8)
        let dsa = try #require(budget.stages.first { $0.name == "dsa" })
        // 2 specialties x 2 rounds x 10 examples, each with two answers.
        #expect(dsa.paths == 80 && dsa.drawnTokens == 0 && dsa.learnedTokens > 0)
        #expect(TokenBudget.seconds(dsa) == Double(dsa.learnedTokens) / 200)
        #expect(try #require(budget.stages.first { $0.name == "merge" }).paths == 0)
    }
}
