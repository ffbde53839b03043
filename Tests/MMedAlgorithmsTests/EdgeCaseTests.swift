import MMedAlgorithms
import MMedCore
import Testing

/// The rows of the edge-case table, one test each.
@Suite struct EdgeCaseTests {
    private func step(_ rewards: [[Double?]], _ settings: AdvantageSettings) throws -> GroupAdvantages {
        try stepAdvantages([group(rewards)], settings: settings).groups[0]
    }

    @Test func tiesAreExactZeros() throws {
        // Three times 0.1 has a mean that is not 0.1: a rounded variance would not be 0.
        for settings in baselines.flatMap(variants) {
            #expect(try advantages([[0.1, 0.1, 0.1], [0.1, 0.1, 0.1]], settings).allSatisfy { $0 == 0 })
        }
        let within = try advantages([[0.1, 0.1, 0.1], [1, 0, 1]], AdvantageSettings())
        #expect(within[..<3].allSatisfy { $0 == 0 })
        #expect(within[3] > 0 && within[4] < 0)
        let blend = try advantages(
            [[0.1, 0.1, 0.1], [1, 0, 1]], AdvantageSettings(baseline: .blend(lambda: 0.5), leaveOneOut: false))
        #expect((blend[0] - 0.5 * (0.1 - 2.3 / 6)).magnitude < 1e-15)
    }

    @Test func aTiedSetOfTheScaleGetsNothing() throws {
        let rewards: [[Double?]] = [[0, 0], [1, 0]]
        let byGuideline = try advantages(rewards, AdvantageSettings(baseline: .pooled, scale: .guideline))
        #expect(byGuideline[0] == 0 && byGuideline[1] == 0 && byGuideline[2] > 0)
        let byQuestion = try advantages(rewards, AdvantageSettings(baseline: .pooled, scale: .question))
        #expect(byQuestion.allSatisfy { $0 != 0 })
        let single = try advantages([[0], [1, 0]], AdvantageSettings(baseline: .pooled, scale: .guideline))
        #expect(single[0] == 0, "one sample has no deviation")
    }

    @Test func aTinyDifferenceIsNoTie() throws {
        let settings = AdvantageSettings(leaveOneOut: false, scale: .question)
        let tiny = try advantages([[1e-200, 0]], settings)
        #expect((tiny[0] - 0.5.squareRoot()).magnitude < 1e-12 && tiny[1] == -tiny[0])
        let neighbours = try advantages([[1, 1.0.nextUp]], settings)
        #expect(neighbours.allSatisfy(\.isFinite) && neighbours[0] < neighbours[1])
    }

    @Test func tiesAreCountedAndResamplingIsDecidedOnCorrectness() throws {
        var bonus = group([[1.1, 1], [0.1, 0]])
        for index in bonus.samples.indices { bonus.samples[index].isCorrect = index < 2 }
        var allRight = group([[1.1, 1], [1, 1]], question: "r")
        for index in allRight.samples.indices { allRight.samples[index].isCorrect = true }
        let unknown = group([[1, 1], [1, 1]], question: "s")
        let step = try stepAdvantages([bonus, allRight, unknown])
        #expect(step.groups.map(\.statistics.isTied) == [false, false, true])
        #expect(step.groups.map(\.statistics.isTiedByCorrectness) == [false, true, true])
        #expect(step.groups.map(\.statistics.tiedGuidelines) == [0, 1, 2])
        #expect(step.counts.tiedQuestions == 1)
        #expect(step.counts.tiedByCorrectness == 2)
        #expect(step.counts.tiedGuidelines == 3)
        let tied = step.groups[1].statistics
        #expect(tied.shouldResample(roundsDone: 0, roundsMax: 3))
        #expect(!tied.shouldResample(roundsDone: 3, roundsMax: 3))
        #expect(!step.groups[0].statistics.shouldResample(roundsDone: 0, roundsMax: 3))
    }

    @Test func aGuidelineOfOneSampleIsComparedWithTheOthers() throws {
        for lambda in [0, 0.3, 1] {
            let result = try advantages([[1], [0, 1, 1, 0]], AdvantageSettings(baseline: .blend(lambda: lambda)))
            #expect((result[0] - 0.5).magnitude < 1e-15, "never A = r")
        }
        // All guidelines of one sample: the others are the whole question.
        let ones = try advantages([[1], [0], [0]], AdvantageSettings())
        #expect(ones == [1, -0.5, -0.5])
        // Without leave-one-out the formula needs no other: the term is r - r.
        #expect(try advantages([[1], [0, 1]], AdvantageSettings(leaveOneOut: false))[0] == 0)
    }

    @Test func oneSampleInAllIsMasked() throws {
        for settings in baselines.flatMap(variants) {
            let result = try step([[nil], [1, nil]], settings)
            #expect(result.samples.allSatisfy { $0.isMasked && $0.advantage == 0 })
            #expect(!result.statistics.isUsable)
        }
        let counts = try stepAdvantages([group([[1]])]).counts
        #expect(counts.maskedQuestions == 1 && counts.tiedQuestions == 0)
    }

    @Test func aMissingGuidelineLeavesItsWeightToTheOthers() throws {
        let rewards: [[Double?]] = [[1, 0], [nil, nil], [1, 1, 0]]
        for (weights, expected) in [
            (.uniform, [0.5, 0, 0.5]), (.count, [0.4, 0, 0.6]), (.list([1, 5, 3]), [0.25, 0, 0.75]),
        ] as [(GuidelineWeights, [Double])] {
            let statistics = try step(rewards, AdvantageSettings(weights: weights)).statistics
            #expect(distance(statistics.guidelines.map(\.weight), expected) < 1e-15)
            #expect(statistics.effectiveGuidelines == 2)
        }
        let alone = try advantages([[1, 0]], AdvantageSettings())
        #expect(try advantages([[1, 0], [nil]], AdvantageSettings()) == alone + [0])
    }

    @Test func anEmptyStepAndAnEmptyQuestionHaveNothing() throws {
        #expect(try stepAdvantages([]).groups.isEmpty)
        let empty = try stepAdvantages([QuestionGroup(question: "q", samples: [])])
        #expect(empty.groups[0].samples.isEmpty && empty.counts.maskedQuestions == 1)
        let weights = try pathWeights(
            of: empty.groups, settings: LossSettings(aggregation: .token), questionsPlanned: 1, completionTokensMax: 1)
        #expect(weights.normaliser == 0 && weights.weights == [[]])
    }

    @Test func failuresAreOutOfTheStatisticsMaskedAndCounted() throws {
        var lost = group([[1, 0, nil], [1, 1]])
        lost.samples[4].outcome = .abstain
        let result = try stepAdvantages([lost])
        #expect(result.counts.failed == 1 && result.counts.abstained == 1 && result.counts.valid == 3)
        #expect(result.groups[0].samples.map(\.isMasked) == [false, false, true, false, true])
        #expect(result.groups[0].statistics.guidelines.map(\.failedCount) == [1, 0])
        #expect(result.groups[0].statistics.guidelines.map(\.abstainedCount) == [0, 1])
        #expect(RewardOutcome.failed(reason: "crash").isRetried)
        #expect(!RewardOutcome.abstain.isRetried && !RewardOutcome.value(0).isRetried)
        #expect(RewardOutcome(checking: .nan).isRetried)
        #expect(RewardOutcome(checking: 0.5) == .value(0.5))
    }

    @Test func policyFailuresStayInTheBaselineAndTheirLossMayBeMasked() throws {
        var cut = group([[1, 0, 1], [0, 1, 0]], tokens: 4)
        cut.samples[1].isTruncated = true
        let step = try stepAdvantages([cut])
        #expect(step.groups[0].samples[1].advantage == -1)
        for aggregation in Aggregation.allCases {
            var settings = LossSettings(aggregation: aggregation)
            let kept = try pathWeights(of: step.groups, settings: settings, questionsPlanned: 1, completionTokensMax: 8)
            settings.maskTruncated = true
            let masked = try pathWeights(
                of: step.groups, settings: settings, questionsPlanned: 1, completionTokensMax: 8)
            #expect(masked.normaliser == kept.normaliser, "Z is summed before any mask")
            #expect(masked.weights[0][1] == 0 && kept.weights[0][1] > 0)
            #expect(masked.weights[0][0] == kept.weights[0][0])
        }
    }

    @Test func staleSamplesAreAdmittedUpToTheBound() {
        #expect(admitsSample(sampled: 5, current: 5, lagMax: 0))
        #expect(admitsSample(sampled: 3, current: 5, lagMax: 2))
        #expect(!admitsSample(sampled: 2, current: 5, lagMax: 2))
        #expect(!admitsSample(sampled: 6, current: 5, lagMax: 2), "from the future")
        #expect(!admitsSample(sampled: .min, current: .max, lagMax: .max))
    }

    @Test func impossibleSamplesAreRejected() {
        func refuses(_ what: String, _ groups: [QuestionGroup], _ settings: AdvantageSettings = AdvantageSettings()) {
            let error = #expect(throws: MMedError.self) { _ = try stepAdvantages(groups, settings: settings) }
            #expect(error?.description.contains(what) == true, "\(String(describing: error))")
            #expect(error?.kind == .badData)
        }
        for reward in [Double.infinity, -.infinity, .nan, 1e101] {
            refuses("guideline 0, sample 1", [group([[1, reward]])])
        }
        var twice = group([[1, 0]])
        twice.samples[1].sample = 0
        refuses("given twice", [twice])
        var foreign = group([[1, 0]])
        foreign.samples[1].question = "other"
        refuses("belongs to question other", [foreign])
        var negative = group([[1, 0]])
        negative.samples[1].guideline = -1
        refuses("must not be negative", [negative])
        negative.samples[1].guideline = 0
        negative.samples[1].completionTokens = -1
        refuses("must not be negative", [negative])
        refuses("twice in one step", [group([[1, 0]]), group([[1, 1]])])
        refuses("guideline 1 has no weight", [group([[1], [0]])], AdvantageSettings(weights: .list([1])))
    }
}
