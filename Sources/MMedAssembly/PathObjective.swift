import MMedAlgorithms
import MMedCore
import MMedProtocol

/// One path's loss by the lease's objective, with the figures that the log shows.
enum PathObjective {
    static func loss(
        _ objective: Objective, target: PathTarget, new: [Float], reference: [Float]?, start: [Float]?,
        statistics: inout ShardStatistics
    ) throws -> PathLoss {
        let new64 = new.map(Double.init)
        let result: PathLoss
        switch objective {
        case .supervised:
            result = try supervisedLoss(
                new: new64, tokenWeights: [Double](repeating: target.counts ? target.weight : 0, count: new.count))
        case .policy(let settings):
            // Where the step's start is this very policy its log-probs are the ones just computed.
            let prox = start ?? (target.proxLogprobs.isEmpty ? new : target.proxLogprobs)
            result = try pathLoss(
                new: new64, prox: prox.map(Double.init), roll: target.rollLogprobs.map(Double.init),
                reference: reference?.map(Double.init), advantage: target.advantage,
                weight: target.counts ? target.weight : 0, settings: settings)
            for (own, rolled) in zip(new, target.rollLogprobs) {
                statistics.logprobGapMax = max(statistics.logprobGapMax, Double(abs(own - rolled)))
            }
        }
        statistics.lossTokens += result.lossTokens
        statistics.clippedTokens += result.clippedTokens
        statistics.klSum += result.klSum
        return result
    }
}
