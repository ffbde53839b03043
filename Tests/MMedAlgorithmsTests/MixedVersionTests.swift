import MMedAlgorithms
import Testing

/// Groups whose paths were sampled by several versions of a policy: each path is weighed by the version that sampled it.
@Suite struct MixedVersionTests {
    /// Settings under which the weights are exact: nothing is truncated or clipped.
    private static let exact = [
        LossSettings(prox: .step, clip: nil, truncation: .infinity),
        LossSettings(prox: .step, updatesPerStep: 3, clip: nil, truncation: .infinity),
        LossSettings(prox: .roll, clip: nil, truncation: .infinity),
    ]

    /// -E[dL/dlogits] of policy 0, when sample i is drawn by policy `versions[i]` and the step began at policy 1.
    private func expectedGradient(
        _ policy: TabularPolicy, rewards: [Double], versions: [Int], settings: AlgorithmSettings,
        rolls: (Int) -> Int
    ) throws -> [Double] {
        var expected = [Double](repeating: 0, count: TabularPolicy.actionCount)
        func logprob(_ version: Int, _ action: Int) -> Double { Elementary.log(policy.probabilities(version)[action]) }
        // A step of one update begins at the very policy that is trained.
        let start = settings.loss.needsProximalLogprobs ? 1 : 0
        for outcome in everyOutcome(versions.count) {
            let probability = zip(versions, outcome).reduce(1.0) { $0 * policy.probabilities($1.0)[$1.1] }
            let step = try stepAdvantages([group([outcome.map { rewards[$0] }])], settings: settings.advantages)
            let weights = try pathWeights(
                of: step.groups, settings: settings.loss, questionsPlanned: 1, completionTokensMax: 1)
            for (index, entry) in step.groups[0].samples.enumerated() {
                let action = outcome[index]
                let path = try pathLoss(
                    new: [logprob(0, action)], prox: [logprob(start, action)],
                    roll: [logprob(rolls(versions[index]), action)], advantage: entry.advantage,
                    weight: weights.weights[0][index], settings: settings.loss)
                for (logit, slope) in policy.score(0, action).enumerated() {
                    expected[logit] -= probability * path.lossPerLogprob[0] * slope
                }
            }
        }
        return expected
    }

    private func truth(_ policy: TabularPolicy, _ rewards: [Double]) -> [Double] {
        let pi = policy.probabilities(0)
        let value = zip(pi, rewards).reduce(0) { $0 + $1.0 * $1.1 }
        return zip(pi, rewards).map { $0 * ($1 - value) }
    }

    @Test("a group of mixed versions has the same expected gradient", arguments: [UInt64(1), 2, 3, 4])
    func mixedGroupsAreUnbiased(seed: UInt64) throws {
        var draw = Draw(seed)
        // 0 is trained, 1 began the step, 2 and 3 are older.
        let policy = TabularPolicy(&draw, guidelines: 4)
        let rewards = (0..<3).map { _ in draw.uniform(-1...2) }
        for loss in MixedVersionTests.exact {
            for versions in [[1, 1], [1, 2], [3, 1, 2], [0, 3, 3], [2, 2, 1, 3]] {
                let settings = AlgorithmSettings(advantages: AdvantageSettings(), loss: loss)
                let estimate = try expectedGradient(
                    policy, rewards: rewards, versions: versions, settings: settings, rolls: { $0 })
                #expect(distance(estimate, truth(policy, rewards)) < 1e-12, "seed \(seed), \(loss.prox), \(versions)")
            }
        }
    }

    /// The same with one version's log-probs for the whole group is wrong: this is what the property can see.
    @Test func theLogProbsOfAnotherVersionAreABias() throws {
        var draw = Draw(7)
        let policy = TabularPolicy(&draw, guidelines: 4)
        let rewards = (0..<3).map { _ in draw.uniform(-1...2) }
        for loss in MixedVersionTests.exact {
            let settings = AlgorithmSettings(advantages: AdvantageSettings(), loss: loss)
            let estimate = try expectedGradient(
                policy, rewards: rewards, versions: [2, 3], settings: settings, rolls: { _ in 3 })
            #expect(distance(estimate, truth(policy, rewards)) > 1e-3, "\(loss.prox)")
        }
    }
}
