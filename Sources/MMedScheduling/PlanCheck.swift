import MMedCore
import MMedProtocol

// What a plan and a state must hold so that the core can follow them: checked once, instead of trapping later.
extension CoordinatorCore {
    /// Why the run cannot begin; nil when it can.
    func planProblem() -> String? {
        if state.heads.count != plan.adapters.count {
            return "the state has \(state.heads.count) adapters, the plan \(plan.adapters.count)"
        }
        if let place = plan.adapters.indices.first(where: { plan.adapters[$0].name != state.heads[$0].reference.name })
        {
            return "the state's adapter \(place) is \(state.heads[place].reference.name), the plan's is "
                + "\(plan.adapters[place].name)"
        }
        guard (0...plan.stages.count).contains(state.stage) else {
            return "the state is at stage \(state.stage + 1), the plan has \(plan.stages.count)"
        }
        var mergedIsThere = state.merged != nil
        for (index, stage) in plan.stages.enumerated() {
            if index >= state.stage, let problem = problem(of: stage, mergedIsThere: mergedIsThere) {
                return "stage \(stage.name): \(problem)"
            }
            if stage.kind == .merge { mergedIsThere = true }
        }
        return resumeProblem()
    }

    private func resumeProblem() -> String? {
        guard state.stage < plan.stages.count, !state.tracks.isEmpty else { return nil }
        let tracks = stage.tracks
        if state.tracks.count != tracks.count {
            return "stage \(stage.name): the state has \(state.tracks.count) tracks, the plan \(tracks.count)"
        }
        for (track, progress) in zip(tracks, state.tracks)
        where !(0...track.steps.count).contains(progress.committedSteps) {
            return
                "stage \(stage.name), \(track.specialty): the state is at step \(progress.committedSteps), the plan has "
                + "\(track.steps.count)"
        }
        return nil
    }

    private func problem(of stage: StagePlan, mergedIsThere: Bool) -> String? {
        let learns = stage.kind == .supervise || stage.kind == .reinforce
        for (index, track) in stage.tracks.enumerated() {
            if stage.kind == .merge { return "a merge has no tracks" }
            if track.adapter == .merged && !mergedIsThere { return "it uses the merged adapter before any merge" }
            let isKnown = plan.adapters.contains { $0.name == track.specialty }
            if (learns || track.adapter == .specialty) && !isKnown {
                return "the plan has no adapter \(track.specialty)"
            }
            if learns && track.adapter != .specialty { return "\(track.specialty) can train its own adapter alone" }
            if learns && stage.tracks[..<index].contains(where: { $0.specialty == track.specialty }) {
                return "two tracks train \(track.specialty)"
            }
            for step in track.steps {
                for question in step.questions + step.spares {
                    if let problem = problem(of: question) {
                        return "\(track.specialty), question \(question.id): \(problem)"
                    }
                }
            }
        }
        return nil
    }

    private func problem(of question: QuestionPlan) -> String? {
        if question.promptNames.count != question.suffixIds.count {
            return "\(question.promptNames.count) names for \(question.suffixIds.count) prompts"
        }
        if question.pathsPerPrompt < 0 { return "\(question.pathsPerPrompt) paths below a prompt" }
        if !question.reward.options.indices.contains(question.reward.answerIndex) {
            return "answer \(question.reward.answerIndex) of \(question.reward.options.count) options"
        }
        return nil
    }
}
