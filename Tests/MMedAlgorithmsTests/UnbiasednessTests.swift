import MMedAlgorithms
import Testing

/// A policy over three actions for each guideline: log pi = logits - log sum exp.
struct TabularPolicy {
    static let actionCount = 3
    var logits: [[Double]]

    init(_ draw: inout Draw, guidelines: Int) {
        logits = (0..<guidelines).map { _ in (0..<TabularPolicy.actionCount).map { _ in draw.uniform(-1.5...1.5) } }
    }

    func probabilities(_ guideline: Int) -> [Double] {
        let powers = logits[guideline].map(Elementary.exp)
        let sum = powers.reduce(0, +)
        return powers.map { $0 / sum }
    }

    /// d log pi(action) / d logits.
    func score(_ guideline: Int, _ action: Int) -> [Double] {
        probabilities(guideline).enumerated().map { ($0.offset == action ? 1 : 0) - $0.element }
    }
}

/// Every list of `count` actions, with the digits of a counter in base 3.
func everyOutcome(_ count: Int) -> [[Int]] {
    var outcomes: [[Int]] = [[]]
    for _ in 0..<count { outcomes = outcomes.flatMap { head in (0..<TabularPolicy.actionCount).map { head + [$0] } } }
    return outcomes
}

/// Invariant 11: the expected gradient, by exact enumeration of everything that can be sampled.
@Suite struct UnbiasednessTests {
    static let cases: [(counts: [Int], lambda: Double)] = [[2, 2], [3, 2], [4, 1]].flatMap { counts in
        [0, 0.3, 1].map { (counts, $0) }
    }

    /// -E[dL/dlogits] by guideline and action.
    private func expectedGradient(
        _ policy: TabularPolicy, rewards: [[Double]], counts: [Int], settings: AlgorithmSettings, tokensMax: Int,
        questionsPlanned: Int
    ) throws -> [[Double]] {
        var expected = counts.map { _ in [Double](repeating: 0, count: TabularPolicy.actionCount) }
        let guidelineOf = counts.enumerated().flatMap { [Int](repeating: $0.offset, count: $0.element) }
        for outcome in everyOutcome(guidelineOf.count) {
            var probability = 1.0
            var drawn = counts.map { _ in [Double?]() }
            for (guideline, action) in zip(guidelineOf, outcome) {
                probability *= policy.probabilities(guideline)[action]
                drawn[guideline].append(rewards[guideline][action])
            }
            let step = try stepAdvantages([group(drawn)], settings: settings.advantages)
            let weights = try pathWeights(
                of: step.groups, settings: settings.loss, questionsPlanned: questionsPlanned,
                completionTokensMax: tokensMax)
            for (index, entry) in step.groups[0].samples.enumerated() {
                let guideline = guidelineOf[index]
                let logprob = Elementary.log(policy.probabilities(guideline)[outcome[index]])
                let path = try pathLoss(
                    new: [logprob], roll: [logprob], advantage: entry.advantage, weight: weights.weights[0][index],
                    settings: settings.loss)
                for (action, slope) in policy.score(guideline, outcome[index]).enumerated() {
                    expected[guideline][action] -= probability * path.lossPerLogprob[0] * slope
                }
            }
        }
        return expected
    }

    @Test("11: unbiased for every lambda", arguments: cases, [UInt64(1), 2, 3])
    func unbiased(test: (counts: [Int], lambda: Double), seed: UInt64) throws {
        var draw = Draw(seed)
        let policy = TabularPolicy(&draw, guidelines: 2)
        let rewardTables: [[[Double]]] = [
            (0..<2).map { _ in (0..<3).map { _ in draw.uniform(-1...2) } },
            [[1, 0, 0], [0, 0, 1]],
        ]
        for weights in [.uniform, .count, .list([1, 3])] as [GuidelineWeights] {
            let total = Double(test.counts.reduce(0, +))
            let share: [Double] =
                switch weights {
                case .uniform: [0.5, 0.5]
                case .count: test.counts.map { Double($0) / total }
                case .list: [0.25, 0.75]
                }
            for rewards in rewardTables {
                let settings = AlgorithmSettings(
                    advantages: AdvantageSettings(baseline: .blend(lambda: test.lambda), weights: weights))
                let estimate = try expectedGradient(
                    policy, rewards: rewards, counts: test.counts, settings: settings, tokensMax: 7,
                    questionsPlanned: 2)
                for guideline in 0..<2 {
                    // d/dlogits sum_a pi(a) r(a) = pi (r - E r); Z / Q is the token limit. One of two questions came.
                    let pi = policy.probabilities(guideline)
                    let value = zip(pi, rewards[guideline]).reduce(0) { $0 + $1.0 * $1.1 }
                    let truth = zip(pi, rewards[guideline]).map { share[guideline] * $0 * ($1 - value) }
                    #expect(distance(estimate[guideline].map { $0 * 7 * 2 }, truth) < 1e-13, "\(weights)")
                }
            }
        }
    }

    @Test("11: without leave-one-out each guideline's gradient shrinks by 1 - (1-lambda)/n_g - lambda/N")
    func biasOfPlainMeans() throws {
        var draw = Draw(5)
        let policy = TabularPolicy(&draw, guidelines: 2)
        let rewards = (0..<2).map { _ in (0..<3).map { _ in draw.uniform(-1...2) } }
        for lambda in [0, 0.3, 1] {
            let settings = AlgorithmSettings(
                advantages: AdvantageSettings(baseline: .blend(lambda: lambda), leaveOneOut: false))
            let estimate = try expectedGradient(
                policy, rewards: rewards, counts: [3, 2], settings: settings, tokensMax: 1, questionsPlanned: 1)
            for (guideline, count) in [3.0, 2.0].enumerated() {
                let shrink = 1 - (1 - lambda) / count - lambda / 5
                let pi = policy.probabilities(guideline)
                let value = zip(pi, rewards[guideline]).reduce(0) { $0 + $1.0 * $1.1 }
                let truth = zip(pi, rewards[guideline]).map { 0.5 * shrink * $0 * ($1 - value) }
                #expect(distance(estimate[guideline], truth) < 1e-13)
            }
        }
    }

    @Test(
        "14: as an on-policy loss k1 has no gradient, k2 that of KL(new||ref), k3 that of KL(ref||new)",
        arguments: seeds)
    func divergenceGradients(seed: UInt64) throws {
        var draw = Draw(seed)
        let policy = TabularPolicy(&draw, guidelines: 2)
        let (pi, reference) = (policy.probabilities(0), policy.probabilities(1))
        let logRatios = zip(pi, reference).map { Elementary.log($0 / $1) }
        let divergence = zip(pi, logRatios).reduce(0) { $0 + $1.0 * $1.1 }
        let expected: [KLEstimator: [Double]] = [
            .k1: [0, 0, 0],
            .k2: zip(pi, logRatios).map { $0 * ($1 - divergence) },
            .k3: zip(pi, reference).map { $0 - $1 },
        ]
        for estimator in KLEstimator.allCases {
            let settings = LossSettings(klCoefficient: 0.7, klEstimator: estimator)
            var gradient = [0.0, 0, 0]
            for action in 0..<3 {
                let logprob = Elementary.log(pi[action])
                let path = try pathLoss(
                    new: [logprob], roll: [logprob], reference: [Elementary.log(reference[action])], advantage: 0,
                    weight: 1, settings: settings)
                for (index, slope) in policy.score(0, action).enumerated() {
                    gradient[index] += pi[action] * path.lossPerLogprob[0] / 0.7 * slope
                }
            }
            #expect(distance(gradient, expected[estimator] ?? []) < 1e-13, "\(estimator)")
        }
    }

    @Test(
        "3 of GBA: with exact path weights each guideline estimates the gradient of the plain prompt",
        arguments: [UInt64(1), 2, 3])
    func strippedIsUnbiased(seed: UInt64) throws {
        var draw = Draw(seed)
        // Policies 0 and 1 are those under two guidelines, policy 2 that of the plain prompt; the paths have one token.
        let policy = TabularPolicy(&draw, guidelines: 3)
        let rewards = (0..<3).map { _ in draw.uniform(-1...2) }
        let settings = LossSettings(target: .stripped, strippedWeights: .sequence, truncation: .infinity)
        let plain = policy.probabilities(2)
        let value = zip(plain, rewards).reduce(0) { $0 + $1.0 * $1.1 }
        let truth = zip(plain, rewards).map { $0 * ($1 - value) }
        let counts = [2, 2]
        for lambda in [0, 0.3, 1] {
            var gradients = [[0.0, 0, 0], [0.0, 0, 0]]
            for outcome in everyOutcome(4) {
                let probability = outcome.enumerated().reduce(1.0) {
                    $0 * policy.probabilities($1.offset / 2)[$1.element]
                }
                let drawn = counts.indices.map { g in (0..<2).map { rewards[outcome[2 * g + $0]] as Double? } }
                let step = try stepAdvantages(
                    [group(drawn)], settings: AdvantageSettings(baseline: .blend(lambda: lambda)))
                for (index, entry) in step.groups[0].samples.enumerated() {
                    let action = outcome[index]
                    let path = try pathLoss(
                        new: [Elementary.log(plain[action])],
                        roll: [Elementary.log(policy.probabilities(index / 2)[action])], advantage: entry.advantage,
                        weight: 0.5, settings: settings)
                    for (logit, slope) in policy.score(2, action).enumerated() {
                        gradients[index / 2][logit] -= probability * path.lossPerLogprob[0] * slope
                    }
                }
            }
            for gradient in gradients { #expect(distance(gradient, truth) < 1e-13, "lambda \(lambda)") }
        }
    }
}
