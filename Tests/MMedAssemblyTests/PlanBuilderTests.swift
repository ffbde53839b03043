import MMedAlgorithms
import MMedConfig
import MMedCore
import MMedEngine
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedAssembly

@Suite struct PlanBuilderTests {
    private func stage(_ name: String, of plan: RunPlan) throws -> StagePlan {
        try #require(plan.stages.first { $0.name == name }, "\(plan.stages.map(\.name))")
    }

    @Test func theSameInputsGiveTheSamePlan() throws {
        let material = try Material()
        #expect(try material.plan() == material.plan())
        let other = try Material(["seed=4"]).plan()
        let plan = try material.plan()
        #expect(try stage("eval-base", of: plan) == stage("eval-base", of: other), "the seed chose the test questions")
        #expect(try stage("dsa", of: plan) != stage("dsa", of: other))
        #expect(try stage("gba", of: plan) != stage("gba", of: other))
    }

    @Test func stagesFollowTheConfiguration() throws {
        #expect(
            try Material().plan().stages.map(\.name) == [
                "eval-base", "dsa", "eval-dsa", "judge-before", "gba", "judge-after", "eval-gba", "merge",
                "eval-merged",
            ])
        #expect(
            try Material(["gba.enabled=false", "eval.judgeQuestions=0", "eval.stages=[dsa]"]).plan().stages.map(\.name)
                == ["dsa", "eval-dsa", "merge"])
        #expect(
            try Material(["dsa.enabled=false", "eval.judgeQuestions=0", "eval.stages=[merged]"]).plan().stages.map(
                \.name) == ["gba", "merge", "eval-merged"])
        #expect(
            try Material(["dsa.enabled=false", "gba.enabled=false", "eval.judgeQuestions=0"]).plan().stages.map(\.name)
                == ["eval-base"])
    }

    @Test func settingsReachThePlan() throws {
        let plan = try Material([
            "gba.minimumValidSamples=3", "gba.retries=5", "gba.maxLag=2", "learning.gradientShards=7",
            "learning.microbatchTokens=300", "leases.slotsPerLease=9", "leases.seconds=30", "leases.beatSeconds=0.5",
            "leases.noWorkersSeconds=11", "leases.stallSeconds=12",
        ]).plan()
        #expect(plan.settings.minimumValidSamples == 3)
        #expect(plan.settings.retries == 5)
        #expect(plan.settings.maxLag == 2)
        #expect(plan.settings.gradientShards == 7)
        #expect(plan.settings.microbatchTokens == 300)
        #expect(plan.settings.slotsPerLease == 9)
        #expect(plan.settings.leaseMilliseconds == 30_000)
        #expect(plan.settings.beatMilliseconds == 500)
        #expect(plan.settings.noWorkersMilliseconds == 11_000)
        #expect(plan.settings.stallMilliseconds == 12_000)
        #expect(plan.settings.resampleRounds == 0)
        #expect(plan.adapters.map(\.name.text) == ["adult-medicine", "pediatrics"])
        #expect(plan.seed == 3)
    }

    @Test func everyExampleIsATreeWithAGuidelineAndAPlainPath() throws {
        let material = try Material()
        let prompts = try material.prompts
        let guided = try material.config.prompt.guidelines.map { try prompts.suffixIds(guideline: $0.text) }
        let plain = try prompts.suffixIds(guideline: nil)
        let dsa = try stage("dsa", of: material.plan())
        #expect(dsa.tracks.map(\.specialty.text) == ["adult-medicine", "pediatrics"])
        for track in dsa.tracks {
            // Ten examples in steps of four make steps of 4, 4 and 2, twice over.
            #expect(track.steps.map(\.examples.count) == [4, 4, 2, 4, 4, 2])
            let prefixes = try material.data.train.records(of: track.specialty).map {
                try prompts.prefixIds(question: $0.question, options: $0.options)
            }
            for epoch in 0..<2 {
                let trees = track.steps[(3 * epoch)..<(3 * epoch + 3)].flatMap(\.examples).map(\.tree)
                let seen = trees.map(\.prefixIds)
                #expect(seen.count == 10 && Set(seen) == Set(prefixes), "epoch \(epoch) is no round of the examples")
                for tree in trees {
                    #expect(tree.paths.map(\.suffix) == [0, 1, 2, 3])
                    #expect(guided.contains(tree.suffixIds[0]))
                    #expect(tree.suffixIds[2] == plain)
                    for whole in [0, 2] {
                        // A whole answer, and below all that comes before its letter the letter alone.
                        let (answer, letter) = (tree.paths[whole], tree.paths[whole + 1])
                        #expect(answer.completionIds.last == prompts.endOfTurnId)
                        #expect(letter.completionIds.count == 1)
                        let tail = answer.completionIds.suffix(prompts.idsAfterLetter)
                        #expect(
                            tree.suffixIds[whole + 1] + letter.completionIds + tail
                                == tree.suffixIds[whole] + answer.completionIds)
                    }
                }
            }
            // In the second epoch each example is under the other guideline.
            let first = Dictionary(
                uniqueKeysWithValues: track.steps[..<3].flatMap(\.examples).map { ($0.tree.prefixIds, $0.tree) })
            for example in track.steps[3...].flatMap(\.examples) {
                let before = try #require(first[example.tree.prefixIds])
                #expect(before.suffixIds[0] != example.tree.suffixIds[0])
                #expect(before.paths[2] == example.tree.paths[2], "the plain prompt has the trace its id chooses")
            }
        }
    }

    @Test func supervisedWeightsSumToOneInEachStep() throws {
        for track in try stage("dsa", of: Material().plan()).tracks {
            for (index, step) in track.steps.enumerated() {
                var sum = 0.0
                for example in step.examples {
                    #expect(example.targets.count == example.tree.paths.count)
                    for (target, path) in zip(example.targets, example.tree.paths) {
                        #expect(target.counts)
                        sum += target.weight * Double(path.completionIds.count)
                    }
                }
                #expect(abs(sum - 1) < 1e-12, "step \(index) of \(track.specialty): \(sum)")
            }
        }
    }

    @Test func noQuestionIsAskedTwiceInARound() throws {
        let material = try Material()
        for track in try stage("gba", of: material.plan()).tracks {
            #expect(track.steps.count == 6)
            var asked = track.steps.flatMap(\.questions).map(\.id)
            #expect(asked.count == 18)
            #expect(Set(asked[..<10]).count == 10, "a question came again before the round was over: \(asked)")
            asked.removeFirst(10)
            #expect(Set(asked).count == 8)
            for step in track.steps { #expect(Set(step.questions.map(\.id)).count == 3) }
        }
    }

    @Test func spareQuestionsAreOthersThanTheStepsOwn() throws {
        let material = try Material(["gba.resample.enabled=true", "gba.resample.maximumRounds=2"])
        let plan = try material.plan()
        #expect(plan.settings.resampleRounds == 2)
        for track in try stage("gba", of: plan).tracks {
            for step in track.steps {
                #expect(step.questions.count == 3 && step.spares.count == 6)
                #expect(Set((step.questions + step.spares).map(\.id)).count == 9)
            }
        }
        // Where there are too few questions, there are fewer spares.
        let small = try Material(["gba.resample.enabled=true", "dsa.enabled=false"], trainCount: 4).plan()
        for track in try stage("gba", of: small).tracks {
            #expect(track.steps.allSatisfy { $0.questions.count == 3 && $0.spares.count == 1 })
        }
    }

    @Test func tooFewQuestionsForAStepAreRefused() throws {
        let material = try Material(["gba.questionsPerStep=11"])
        expectError(.badConfig, "gba.questionsPerStep", "11", "has 10 of adult-medicine") { _ = try material.plan() }
    }

    @Test func policyQuestionsHaveEveryGuidelineAndRatesForEveryUpdate() throws {
        let material = try Material([
            "advantages.updatesPerStep=3", "gba.schedule.kind=linear", "gba.schedule.warmupSteps=2",
            "gba.schedule.finalFraction=0", "gba.learningRate=0.01",
        ])
        let prompts = try material.prompts
        for track in try stage("gba", of: material.plan()).tracks {
            for question in track.steps.flatMap(\.questions) {
                #expect(question.promptNames == ["intuitive", "analytical"])
                #expect(question.suffixIds.count == 2 && question.suffixIds[0] != question.suffixIds[1])
                #expect(try question.plainSuffixIds == prompts.suffixIds(guideline: nil))
                #expect(question.pathsPerPrompt == 2)
                #expect(!question.reward.probeChoices && question.reward.options == ["ill", "well"])
                let number = try #require(Int(question.id.split(separator: "-").last ?? ""))
                #expect(question.reward.answerIndex == number % 2)
            }
            let rates = track.steps.flatMap(\.learningRates)
            #expect(rates.count == 18)
            #expect(abs(rates[0] - 0.005) < 1e-12 && abs(rates[1] - 0.01) < 1e-12)
            #expect(zip(rates[2...], rates[3...]).allSatisfy { $0 > $1 }, "\(rates)")
        }
    }

    @Test func evaluationsAskThePlainPromptAndAlsoEveryGuideline() throws {
        for (prompts, names) in [("plain", ["plain"]), ("all", ["plain", "intuitive", "analytical"])] {
            let plan = try Material(["eval.prompts=\(prompts)", "eval.paths=3", "eval.judgePaths=2"]).plan()
            for track in try stage("eval-dsa", of: plan).tracks {
                #expect(track.adapter == .specialty && track.steps.count == 1)
                #expect(track.steps[0].questions.count == 4)
                for question in track.steps[0].questions {
                    #expect(question.promptNames == names && question.suffixIds.count == names.count)
                    #expect(question.pathsPerPrompt == 3 && question.reward.probeChoices)
                    #expect(question.id.contains("-test-"))
                }
            }
            #expect(try stage("eval-base", of: plan).tracks.allSatisfy { $0.adapter == .base })
            #expect(try stage("eval-merged", of: plan).tracks.allSatisfy { $0.adapter == .merged })
            let judge = try stage("judge-before", of: plan).tracks.flatMap(\.steps).flatMap(\.questions)
            #expect(judge.count == 4 && judge.allSatisfy { $0.pathsPerPrompt == 2 && $0.id.contains("-validation-") })
        }
    }

    @Test func whatDoesNotFitTheContextIsRefused() throws {
        let material = try Material()
        let stages = try material.plan().stages
        try ContextCheck.require(stages, contextLength: 1_024)
        var longest = 0
        for stage in stages {
            for step in stage.tracks.flatMap(\.steps) {
                for question in step.questions {
                    let suffix = question.suffixIds.map(\.count).max() ?? 0
                    longest = max(longest, question.prefixIds.count + suffix + stage.sampling.maxTokens)
                }
                for tree in step.examples.map(\.tree) {
                    for path in tree.paths {
                        let prompt = tree.prefixIds.count + tree.suffixIds[path.suffix].count
                        longest = max(longest, prompt + path.completionIds.count)
                    }
                }
            }
        }
        try ContextCheck.require(stages, contextLength: longest)
        expectError(.badData, "need \(longest) tokens, the model has \(longest - 1)") {
            try ContextCheck.require(stages, contextLength: longest - 1)
        }
        let spare = try Material(["gba.resample.enabled=true"]).plan().stages.filter { $0.name == "gba" }
        expectError(.badData, "question adult-medicine-train-") { try ContextCheck.require(spare, contextLength: 20) }
        let examples = stages.filter { $0.name == "dsa" }
        expectError(.badData, "an example of adult-medicine in dsa", "shorten its reasoning") {
            try ContextCheck.require(examples, contextLength: 20)
        }
    }

    @Test func recordsWithoutReasoningCannotBeSupervised() throws {
        let material = try Material(["prompt.guidelines=[{name: bayesian, text: Even odds.}]"])
        expectError(.badData, "train.jsonl:", "guideline") { _ = try material.plan() }
    }
}

@Suite struct QuestionDeckTests {
    @Test(arguments: [1, 2, 3, 5, 7], [1, 2, 3, 4, 5, 6, 7])
    func roundsAreFullAndStepsAreDistinct(wanted: Int, count: Int) {
        guard wanted <= count else { return }
        var deck = QuestionDeck(count: count) { round in
            // Another rotation in each round.
            (0..<count).map { ($0 * (round % 2 == 0 ? 1 : count - 1) + round) % count }
        }
        var asked = [Int](repeating: 0, count: count)
        for _ in 0..<40 {
            let step = deck.next(wanted)
            #expect(step.count == wanted && Set(step).count == wanted)
            for question in step { asked[question] += 1 }
            let (least, most) = (asked.min() ?? 0, asked.max() ?? 0)
            #expect(most - least <= 2, "\(asked)")
        }
        #expect((asked.max() ?? 0) - (asked.min() ?? 0) <= 1 || wanted * 40 % count != 0, "\(asked)")
    }
}
