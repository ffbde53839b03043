import MMedAlgorithms
import MMedCore
import MMedProtocol

// Turning the paths of an evaluation into records.
extension CoordinatorCore {
    mutating func closeEvaluation(track: Int, step: Int) {
        let open = tracks[track].steps[step]
        for (question, slots) in zip(open.questions, open.slots) {
            for slot in slots {
                guard case .done(let path) = slot.status else { continue }
                tracks[track].evaluated.append(evaluated(path, question))
            }
        }
        tracks[track].steps[step].slots = []
        completeEvaluationSteps(track: track)
    }

    /// An evaluation is committed as one: its record is whole or absent, so a resumed run samples it again.
    private mutating func completeEvaluationSteps(track: Int) {
        guard tracks[track].steps.allSatisfy({ $0.slots.isEmpty }),
            tracks[track].progress.committedSteps + tracks[track].steps.count == tracks[track].plan.steps.count
        else { return }
        let last = tracks[track].steps.last?.openedAt ?? lastMovement
        tracks[track].progress.committedSteps += max(0, tracks[track].steps.count - 1)
        tracks[track].steps.removeFirst(max(0, tracks[track].steps.count - 1))
        completeStep(track: track, at: max(last, lastMovement))
    }

    private func evaluated(_ path: JudgedTrajectory, _ question: QuestionPlan) -> EvaluatedPath {
        let letters = path.trajectory.choiceLogprobs
        // The first of equal letters wins, the same on every machine.
        let choice = letters.indices.max { letters[$0] < letters[$1] || (letters[$0] == letters[$1] && $0 > $1) }
        let options = question.reward.options
        return EvaluatedPath(
            question: question.id, prompt: question.promptNames[Int(path.trajectory.slot.guideline)],
            answer: options[question.reward.answerIndex], strictCorrect: path.parts.isStrictCorrect,
            lenientCorrect: path.parts.isLenientCorrect, parsed: path.parts.strictOption.map { options[$0] },
            lenient: path.parts.lenientOption.map { options[$0] }, choice: choice.map { options[$0] },
            reward: path.parts.total,
            tokens: path.trajectory.completionIds.count)
    }

    mutating func recordEvaluation(track: Int) {
        let paths = tracks[track].evaluated
        state.evaluations.append(
            EvaluationRecord(stage: stage.name, specialty: tracks[track].plan.specialty, paths: paths))
        let strict = paths.reduce(0) { $0 + ($1.strictCorrect ? 1 : 0) }
        let choice = paths.reduce(0) { $0 + ($1.choice == $1.answer ? 1 : 0) }
        let unparsed = paths.reduce(0) { $0 + ($1.parsed == nil ? 1 : 0) }
        let fields: [LogEntry.Field] = [
            .init("paths", .int(paths.count)), .init("strict", .int(strict)), .init("choice", .int(choice)),
            .init("unparsed", .int(unparsed)),
            .init("reward", .double(paths.isEmpty ? 0 : paths.reduce(0) { $0 + $1.reward } / Double(paths.count))),
        ]
        log(.info, scope(tracks[track]), "evaluated", fields)
        actions.append(.metric(LogEntry(.info, scope: scope(tracks[track]), event: "evaluation", fields: fields)))
    }
}
