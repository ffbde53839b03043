import MMedAlgorithms
import MMedConfig
import MMedCore
import MMedProtocol
import Testing

@testable import MMedAssembly

@Suite struct ObjectiveTests {
    @Test func supervisionWeighsEveryTokenAlike() throws {
        var statistics = ShardStatistics()
        let target = PathTarget(weight: 0.25, advantage: 1, rollLogprobs: [], proxLogprobs: [], counts: true)
        let loss = try PathObjective.loss(
            .supervised, target: target, new: [-1, -2, -4], reference: nil, start: nil, statistics: &statistics)
        #expect(loss.loss == 1.75)
        #expect(loss.lossPerLogprob == [-0.25, -0.25, -0.25])
        #expect(statistics.lossTokens == 3)
        var left = target
        left.counts = false
        let none = try PathObjective.loss(
            .supervised, target: left, new: [-1, -2], reference: nil, start: nil, statistics: &statistics)
        #expect(none.loss == 0 && none.lossPerLogprob == [0, 0])
    }

    @Test func onPolicyTheGradientIsTheAdvantage() throws {
        let material = try Material()
        var statistics = ShardStatistics()
        let objective = Objective.policy(material.config.advantages.lossSettings)
        let logprobs: [Float] = [-0.5, -1.25]
        let target = PathTarget(
            weight: 0.5, advantage: 2, rollLogprobs: logprobs, proxLogprobs: [], counts: true)
        let loss = try PathObjective.loss(
            objective, target: target, new: logprobs, reference: nil, start: nil, statistics: &statistics)
        #expect(loss.lossPerLogprob == [-1, -1])
        #expect(statistics.logprobGapMax == 0 && statistics.clippedTokens == 0)
        // A path that a worker computed to other bits shows.
        var other = target
        other.rollLogprobs = [-0.5, -1.5]
        _ = try PathObjective.loss(
            objective, target: other, new: logprobs, reference: nil, start: nil, statistics: &statistics)
        #expect(statistics.logprobGapMax == 0.25)
    }
}
