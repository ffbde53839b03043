import MMedAlgorithms
import MMedCore
import MMedProtocol

// Turning the paths of an evaluation into records.
extension CoordinatorCore {
    /// An evaluation is committed as one: its record is whole or absent, so a resumed run samples it again.
    mutating func completeEvaluation(_ track: Int) {
        var paths: [EvaluatedPath] = []
        var failed = 0
        for step in tracks[track].steps {
            for (question, slots) in zip(step.questions, step.slots) {
                for slot in slots {
                    if case .done(let path, _) = slot.status {
                        paths.append(EvaluatedPath(judged: path, question: question))
                    } else {
                        failed += 1
                    }
                }
            }
        }
        let opened = tracks[track].steps.first?.openedAt ?? now
        tracks[track].steps = []
        tracks[track].progress.committedSteps = tracks[track].plan.steps.count
        state.tracks[track] = tracks[track].progress
        record(paths, track: track)
        checkpointIsDue = true
        moved()
        logEvaluation(paths, failed: failed, seconds: Double(now.since(opened)) / 1_000, track: track)
    }

    /// In track order, whichever track ends first.
    private mutating func record(_ paths: [EvaluatedPath], track: Int) {
        var place = state.evaluations.count
        while place > 0, state.evaluations[place - 1].stage == stage.name,
            trackIndex(of: state.evaluations[place - 1].specialty) > track
        { place -= 1 }
        state.evaluations.insert(
            EvaluationRecord(stage: stage.name, specialty: tracks[track].plan.specialty, paths: paths), at: place)
    }

    private mutating func logEvaluation(_ paths: [EvaluatedPath], failed: Int, seconds: Double, track: Int) {
        func count(_ isMeant: (EvaluatedPath) -> Bool) -> FieldValue {
            .int(paths.reduce(0) { $0 + (isMeant($1) ? 1 : 0) })
        }
        var fields: [LogEntry.Field] = [
            .init("paths", .int(paths.count)), .init("strict", count(\.strictCorrect)),
            .init("lenient", count(\.lenientCorrect)),
        ]
        if paths.contains(where: { $0.choice != nil }) {
            fields.append(.init("choice", count { $0.choice == $0.answer }))
        }
        fields += [
            .init("unparsed", count { $0.parsed == nil }),
            .init("reward", .double(paths.isEmpty ? 0 : paths.reduce(0) { $0 + $1.reward } / Double(paths.count))),
            .init("tokens", .int(paths.reduce(0) { $0 + $1.tokens })),
        ]
        if failed > 0 { fields.append(.init("failed", .int(failed))) }
        fields.append(.init("eval_s", .double(seconds)))
        log(.info, scope(track), "evaluated", fields)
        metric(scope(track), "evaluation", fields)
    }
}
