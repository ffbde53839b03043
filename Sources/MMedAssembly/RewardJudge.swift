import MMedAlgorithms
import MMedCoordinator
import MMedCore
import MMedEngine
import MMedProtocol

/// The built-in reward from a path's tokens: the same code at the worker and, again, at the coordinator.
struct RewardJudge: RewardPort {
    let tokenizer: Tokenizer

    func judge(_ trajectory: Trajectory, task: RewardTask) throws -> RewardParts {
        if let foreign = trajectory.completionIds.first(where: { $0 < 0 || Int($0) >= tokenizer.vocabularySize }) {
            throw MMedError(.badData, at: "slot \(trajectory.slot)", "token \(foreign) is not in the vocabulary")
        }
        // The end token is control, not text; other control tokens inside a completion break its form and must show.
        var ids = trajectory.completionIds
        if trajectory.stop == .endToken, !ids.isEmpty { ids.removeLast() }
        return try reward(
            text: tokenizer.decode(ids), options: task.options, answer: task.answerIndex,
            isFinished: trajectory.stop == .endToken, settings: RewardSettings(formatBonus: task.formatBonus))
    }
}
