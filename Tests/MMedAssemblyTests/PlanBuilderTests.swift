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
        #expect(plan.settings.mode == .fixedLag && plan.settings.maxStaleness == nil)
        let free = try Material(["gba.mode=freeRunning", "gba.maxLag=2", "gba.maxStaleness=1"]).plan()
        #expect(free.settings.mode == .freeRunning && free.settings.maxStaleness == 1)
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

    @Test func everyEpochIsARoundOfTheExamples() throws {
        let material = try Material()
        let prompts = try material.prompts
        let dsa = try stage("dsa", of: material.plan())
        #expect(dsa.tracks.map(\.specialty.text) == ["adult-medicine", "pediatrics"])
        for track in dsa.tracks {
            // Ten examples in steps of four make steps of 4, 4 and 2, twice over.
            #expect(track.steps.map(\.examples.count) == [4, 4, 2, 4, 4, 2])
            let prefixes = try material.data.train.records(of: track.specialty).map {
                try prompts.prefixIds(question: $0.question, options: $0.options)
            }
            let turned = try material.data.train.records(of: track.specialty).map {
                try prompts.prefixIds(question: $0.question, options: $0.options.reversed())
            }
            for epoch in 0..<2 {
                let seen = track.steps[(3 * epoch)..<(3 * epoch + 3)].flatMap(\.examples).map(\.tree.prefixIds)
                #expect(seen.count == 10 && Set(seen) == Set(epoch == 0 ? prefixes : turned), "epoch \(epoch)")
            }
        }
    }

    @Test func everyExampleHasAGuidelinePathAndAPlainOne() throws {
        let material = try Material()
        let prompts = try material.prompts
        let guided = try material.config.prompt.guidelines.map { try prompts.suffixIds(guideline: $0.text) }
        let plain = try prompts.suffixIds(guideline: nil)
        for track in try stage("dsa", of: material.plan()).tracks {
            let trees = track.steps.flatMap(\.examples).map(\.tree)
            #expect(trees.allSatisfy { $0.paths.map(\.suffix) == [0, 1] && $0.suffixIds.count == 2 })
            #expect(trees.allSatisfy { guided.contains($0.suffixIds[0]) && $0.suffixIds[1] == plain })
            let ends = trees.flatMap(\.paths).map(\.completionIds.last)
            #expect(ends.allSatisfy { $0 == prompts.endOfTurnId })
            // The second epoch shows each example with its options turned, under the other guideline.
            let turned = try Dictionary(
                uniqueKeysWithValues: material.data.train.records(of: track.specialty).map { record in
                    (
                        try prompts.prefixIds(question: record.question, options: record.options.reversed()),
                        try prompts.prefixIds(question: record.question, options: record.options)
                    )
                })
            let first = Dictionary(uniqueKeysWithValues: trees[..<10].map { ($0.prefixIds, $0) })
            for tree in trees[10...] {
                let before = try #require(turned[tree.prefixIds].flatMap { first[$0] })
                #expect(before.suffixIds[0] != tree.suffixIds[0])
                #expect(before.paths[1] != tree.paths[1], "the answer's letter did not turn")
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
            let plan = try Material(["eval.prompts=\(prompts)", "eval.paths=3"]).plan()
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
        }
    }

    /// Whatever the evaluations ask: what GBA trains is what is judged.
    @Test(arguments: ["plain", "all"])
    func theJudgementAsksEveryGuidelineAndThePlainPromptAsGBASamples(prompts: String) throws {
        let plan = try Material([
            "eval.prompts=\(prompts)", "eval.judgePaths=2", "eval.temperature=0", "gba.sampling.temperature=0.9",
            "gba.sampling.topP=0.95", "gba.sampling.topK=40", "gba.sampling.maxTokens=17",
        ]).plan()
        let gba = try stage("gba", of: plan)
        let before = try stage("judge-before", of: plan)
        #expect(before.sampling == SamplingSettings(temperature: 0.9, topK: 40, topP: 0.95, maxTokens: 17))
        #expect(before.sampling == gba.sampling)
        #expect(try stage("judge-after", of: plan).tracks == before.tracks)
        #expect(try stage("judge-after", of: plan).sampling == before.sampling)
        for (track, trained) in zip(before.tracks, gba.tracks) {
            #expect(track.specialty == trained.specialty && track.adapter == .specialty)
            let questions = track.steps.flatMap(\.questions)
            #expect(questions.count == 2)
            for question in questions {
                #expect(question.promptNames == ["plain", "intuitive", "analytical"])
                let asked = try #require(trained.steps.first?.questions.first)
                #expect(question.suffixIds == [asked.plainSuffixIds] + asked.suffixIds)
                #expect(question.pathsPerPrompt == 2 && question.id.contains("-validation-"))
                #expect(question.reward.formatBonus == asked.reward.formatBonus)
            }
        }
        let paths = try #require(TokenBudget(plan).stages.first { $0.name == "judge-before" }).paths
        #expect(paths == 2 * 2 * 3 * 2, "specialties x questions x prompts x paths")
    }

    @Test func linesOfOtherSpecialtiesAreToldWithTheirNumber() throws {
        #expect(try Material().data.leftOut.isEmpty)
        let told = try Material(["specialties=[pediatrics]"]).data.leftOut
        #expect(told.count == 3)
        #expect(
            told[0].hasSuffix(
                "train.jsonl: 10 lines of adult-medicine, which is not among the specialties of this run, are left out")
        )
    }

    @Test func recordsWithoutReasoningCannotBeSupervised() throws {
        let material = try Material(["prompt.guidelines=[{name: bayesian, text: Even odds.}]"])
        expectError(.badData, "train.jsonl:", "guideline") { _ = try material.plan() }
    }
}
