import MMedAlgorithms
import MMedCore
import Testing

@Suite struct PathWeightsTests {
    private func step() throws -> StepAdvantages {
        var first = group([[1, 0], [1, 0, nil]], question: "a")
        for (index, tokens) in [3, 5, 2, 4, 9].enumerated() { first.samples[index].completionTokens = tokens }
        return try stepAdvantages([first, group([[1, 0]], question: "b", tokens: 6)])
    }

    @Test func constantDividesByPlannedQuestionsAndTokenLimit() throws {
        let weights = try pathWeights(
            of: step().groups, settings: LossSettings(), questionsPlanned: 4, completionTokensMax: 10)
        #expect(weights.normaliser == 40)
        let quarter = 0.25 / 40
        #expect(weights.weights[0] == [quarter, quarter, quarter, quarter, 0])
        #expect(weights.weights[1] == [0.0125, 0.0125])
    }

    @Test func sequenceDividesEachPathByItsLength() throws {
        let weights = try pathWeights(
            of: step().groups, settings: LossSettings(aggregation: .sequence), questionsPlanned: 2,
            completionTokensMax: 10)
        #expect(weights.normaliser == 2)
        let expected: [Double] = [3, 5, 2, 4, .infinity].map { 0.125 / $0 }
        #expect(distance(weights.weights[0], expected) < 1e-16)
    }

    @Test func tokenDividesByTheWeightedTokens() throws {
        let weights = try pathWeights(
            of: step().groups, settings: LossSettings(aggregation: .token), questionsPlanned: 2,
            completionTokensMax: 10)
        #expect(weights.normaliser == 0.25 * (3 + 5 + 2 + 4) + 0.5 * 12)
        #expect(weights.weights[1] == [0.5 / 9.5, 0.5 / 9.5])
    }

    @Test func theNormaliserCountsTruncatedAndMaskedButNotLostSamples() throws {
        var cut = group([[1, 0], [nil, 1]], question: "a", tokens: 4)
        cut.samples[0].isTruncated = true
        let step = try stepAdvantages([cut, group([[1, nil]], question: "b", tokens: 6)])
        let weights = try pathWeights(
            of: step.groups, settings: LossSettings(aggregation: .token, maskTruncated: true), questionsPlanned: 2,
            completionTokensMax: 10)
        #expect(weights.normaliser == (0.25 * 8 + 0.5 * 4) + 6)
        #expect(weights.weights == [[0, 0.025, 0, 0.05], [0, 0]])
    }

    @Test func aPathWithoutTokensHasNoWeight() throws {
        let step = try stepAdvantages([group([[1, 0]], tokens: 0)])
        for aggregation in Aggregation.allCases {
            let weights = try pathWeights(
                of: step.groups, settings: LossSettings(aggregation: aggregation), questionsPlanned: 1,
                completionTokensMax: 1)
            #expect(weights.weights == [[0, 0]])
        }
    }

    @Test func impossiblePlansAreRefused() throws {
        let groups = try step().groups
        for (questions, tokens) in [(1, 10), (0, 10), (2, 0)] {
            #expect(throws: MMedError.self) {
                try pathWeights(
                    of: groups, settings: LossSettings(), questionsPlanned: questions, completionTokensMax: tokens)
            }
        }
    }
}
