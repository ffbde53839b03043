import Foundation
import MMedAlgorithms
import MMedCore
import Testing

@Suite struct EvaluationTests {
    /// The ends solve (p_hat - p)^2 = z^2 p (1 - p) / n, the equation that defines the score interval.
    @Test func wilsonEndsSolveTheScoreEquation() {
        for (successes, trials) in [(1, 10), (5, 10), (12, 24), (20, 24), (399, 400), (555, 2000)] {
            let interval = wilsonInterval(successes: successes, trials: trials)
            let share = Double(successes) / Double(trials)
            for end in [interval.low, interval.high] {
                let left = (share - end) * (share - end)
                let right = normalQuantile95 * normalQuantile95 * end * (1 - end) / Double(trials)
                #expect((left - right).magnitude < 1e-14)
            }
            #expect(interval.low < share && share < interval.high)
        }
    }

    /// Published values: 81 of 263 is 0.2553 to 0.3662, 15 of 148 is 0.0624 to 0.1605, 0 of 20 is 0 to 0.1611,
    /// 1 of 29 is 0.0061 to 0.1718 (Newcombe 1998, Statistics in Medicine 17:857, table I, method 3).
    @Test(arguments: [
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718),
    ])
    func wilsonPublishedValues(successes: Int, trials: Int, low: Double, high: Double) {
        let interval = wilsonInterval(successes: successes, trials: trials)
        #expect((interval.low - low).magnitude < 5e-5 && (interval.high - high).magnitude < 5e-5)
    }

    @Test func wilsonAtTheEnds() {
        #expect(wilsonInterval(successes: 0, trials: 0) == Interval(low: 0, high: 1))
        #expect(wilsonInterval(successes: 0, trials: 10).low == 0)
        #expect(wilsonInterval(successes: 10, trials: 10).high == 1)
        #expect(wilsonInterval(successes: 11, trials: 10).high == 1)
    }

    /// The mean of trials in 0...1 cannot vary more than that of trials that are 0 or 1.
    @Test func wilsonOfASharedTrialIsThatOfItsMean() {
        #expect(wilsonInterval(share: 0.5, trials: 4) == wilsonInterval(successes: 2, trials: 4))
        let (shared, apart) = (wilsonInterval(share: 0.75, trials: 4), wilsonInterval(successes: 9, trials: 12))
        #expect(shared.low < apart.low && shared.high > apart.high)
        #expect(wilsonInterval(share: 1, trials: 3).high == 1 && wilsonInterval(share: -1, trials: 3).low == 0)
        #expect(wilsonInterval(share: 0.5, trials: 0) == Interval(low: 0, high: 1))
    }

    @Test func balancedAccuracyIsTheMeanRecall() {
        let recalls = [2.0 / 3, 1]
        #expect(balancedAccuracy(truths: [0, 0, 0, 1], predictions: [0, 0, 1, 1]) == mean(recalls))
        #expect(balancedAccuracy(truths: [0, 0, 0, 1], predictions: [0, 0, 0, 0]) == 0.5)
        #expect(balancedAccuracy(truths: [3, 3], predictions: [nil, 3]) == 0.5)
        #expect(balancedAccuracy(truths: [], predictions: []) == 0)
        #expect(majorityBaseline(truths: [2, 1, 2, 2]) == 0.75)
        #expect(majorityBaseline(truths: []) == 0)
    }

    @Test func summary() {
        let summary = EvaluationSummary([
            EvaluationItem(truth: 0, strict: 0, lenient: 0, choice: 1),
            EvaluationItem(truth: 0, strict: nil, lenient: 0, choice: 0),
            EvaluationItem(truth: 1, strict: 0, lenient: 0),
            EvaluationItem(truth: 0, strict: nil, lenient: nil, choice: 0),
        ])
        #expect(summary.strict == Accuracy(correct: 1, count: 4))
        #expect(summary.lenient == Accuracy(correct: 2, count: 4))
        #expect(summary.choice == Accuracy(correct: 2, count: 3))
        #expect(summary.balancedAccuracy == mean([1.0 / 3, 0]))
        let twoThirds = 2.0 / 3
        #expect(summary.choiceBalancedAccuracy == twoThirds)
        #expect(summary.majorityBaseline == 0.75)
        #expect(summary.unparsedRate == 0.5)
        #expect(summary.strict.interval == wilsonInterval(successes: 1, trials: 4))
        let empty = EvaluationSummary([])
        #expect(empty.strict.value == 0 && empty.choice == nil && empty.unparsedRate == 0)
    }

    @Test func pairedDifferenceByHand() throws {
        let result = try pairedDifference(before: [0, 1, 0, 1], after: [1, 1, 1, 0], seed: 1)
        #expect(result.mean == 0.25)
        let expected = besselDeviation([1, 0, 1, -1]) / 2
        #expect((result.standardError - expected).magnitude < 1e-15)
        let upper = 0.25 + 1.959964 * expected
        #expect((result.normalInterval.high - upper).magnitude < 1e-6)
        #expect(try pairedDifference(before: [0, 1, 0, 1], after: [1, 1, 1, 0], seed: 1) == result)
        let same = try pairedDifference(before: [0.1, 0.1, 0.1], after: [0.1, 0.1, 0.1], seed: 1)
        #expect(same.standardError == 0 && same.bootstrapInterval == Interval(low: 0, high: 0))
        #expect(try pairedDifference(before: [1], after: [2], seed: 1).standardError == 0)
    }

    @Test(arguments: [UInt64(1), 2, 3]) func bootstrapAgreesWithTheNormalInterval(seed: UInt64) throws {
        var draw = Draw(seed)
        let before = (0..<200).map { _ in draw.uniform() }
        let after = before.map { $0 + draw.uniform(-0.4...0.6) }
        let result = try pairedDifference(before: before, after: after, seed: seed, resamples: 4000)
        // The Monte Carlo error of a 2.5 % point of 4,000 draws is about 0.04 standard errors.
        let slack = 0.25 * result.standardError
        #expect((result.bootstrapInterval.low - result.normalInterval.low).magnitude < slack)
        #expect((result.bootstrapInterval.high - result.normalInterval.high).magnitude < slack)
    }

    @Test func impossibleComparisonsAreRefused() {
        #expect(throws: MMedError.self) { try pairedDifference(before: [], after: [], seed: 1) }
        #expect(throws: MMedError.self) { try pairedDifference(before: [1], after: [1, 2], seed: 1) }
        #expect(throws: MMedError.self) { try pairedDifference(before: [1], after: [.nan], seed: 1) }
        #expect(throws: MMedError.self) { try pairedDifference(before: [1], after: [1], seed: 1, resamples: 0) }
        #expect(throws: MMedError.self) { try McNemarTest(before: [true], after: []) }
    }

    @Test func mcNemarIsTheExactBinomialTest() throws {
        #expect(McNemarTest(gains: 0, losses: 0).pValue == 1)
        #expect(McNemarTest(gains: 5, losses: 5).pValue == 1)
        #expect((McNemarTest(gains: 10, losses: 0).pValue - 2.0 / 1024).magnitude < 1e-16)
        #expect((McNemarTest(gains: 1, losses: 0).pValue - 1).magnitude < 1e-15)
        // 2 (C(9,0) + C(9,1) + C(9,2)) / 2^9
        #expect((McNemarTest(gains: 2, losses: 7).pValue - 92.0 / 512).magnitude < 1e-15)
        for (gains, losses) in [(3, 17), (11, 30), (40, 41)] {
            var tail = 0.0
            for k in 0...min(gains, losses) { tail += choose(gains + losses, k) }
            let expected = min(1, 2 * tail * pow(0.5, Double(gains + losses)))
            #expect((McNemarTest(gains: gains, losses: losses).pValue - expected).magnitude < 1e-12)
            #expect(
                McNemarTest(gains: losses, losses: gains).pValue == McNemarTest(gains: gains, losses: losses).pValue)
        }
        // Far beyond 2^-1074: the normal approximation is good there.
        let many = McNemarTest(gains: 5100, losses: 4900).pValue
        #expect((many - erfc(199 / 100 / 2.0.squareRoot())).magnitude < 1e-3)
        let counted = try McNemarTest(before: [true, false, false, true], after: [false, true, true, true])
        #expect(counted.gains == 2 && counted.losses == 1)
    }

    private func choose(_ n: Int, _ k: Int) -> Double {
        (0..<k).reduce(1) { $0 * Double(n - $1) / Double($1 + 1) }
    }
}
