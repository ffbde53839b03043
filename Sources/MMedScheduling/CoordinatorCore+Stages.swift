import MMedAlgorithms
import MMedCore
import MMedProtocol

// The order of stages, and of the steps within a track.
extension CoordinatorCore {
    /// Opens the stage that the state points at, passing over those with nothing to do.
    mutating func enterStage(at now: Tick) {
        guard state.stage < plan.stages.count else {
            log(.info, "run", "completed")
            finish(.completed)
            return
        }
        let stage = stage
        if state.tracks.count != stage.tracks.count {
            state.tracks = stage.tracks.map { _ in TrackProgress(committedSteps: 0, blend: BlendState()) }
            if stage.kind == .reinforce { resetMoments(for: stage) }
        }
        tracks = stage.tracks.enumerated().map { index, track in
            let adapter = plan.adapters.firstIndex { $0.name == track.specialty }
            return TrackState(
                index: index, plan: track, adapterIndex: adapter,
                frozen: state.stageHeads.last { $0.stage == "dsa" && $0.reference.name == track.specialty }?.reference
                    ?? adapter.map { state.heads[$0].reference },
                progress: state.tracks[index])
        }
        let steps = tracks.reduce(0) { $0 + $1.plan.steps.count }
        let done = tracks.reduce(0) { $0 + $1.progress.committedSteps }
        log(
            .info, stage.name, "stage-begins",
            [
                .init("number", .text("\(state.stage + 1)/\(plan.stages.count)")), .init("tracks", .int(tracks.count)),
                .init("steps", .int(steps)), .init("done", .int(done)),
            ])
        if stage.kind == .merge {
            beginMerge()
        } else {
            for track in tracks.indices { openSteps(track: track, at: now) }
            leaveStageIfDone(at: now)
        }
    }

    /// Reinforcement continues the supervised weights with fresh moments.
    private mutating func resetMoments(for stage: StagePlan) {
        for track in stage.tracks {
            guard let index = plan.adapters.firstIndex(where: { $0.name == track.specialty }) else { continue }
            state.heads[index].momentsDigest = nil
            state.heads[index].optimizerSteps = 0
        }
    }

    /// Opens every step whose version is there: step s samples from the head after max(0, s - maxLag) steps.
    mutating func openSteps(track: Int, at now: Tick) {
        while true {
            let next = tracks[track].progress.committedSteps + tracks[track].steps.count
            let lag = stage.kind == .reinforce ? plan.settings.maxLag : 0
            // Evaluation learns nothing, so all its steps are open at once.
            let isReady = stage.kind == .evaluate || next <= tracks[track].progress.committedSteps + lag
            guard next < tracks[track].plan.steps.count, isReady else { return }
            let stepPlan = tracks[track].plan.steps[next]
            tracks[track].steps.append(
                StepState(
                    step: next, adapter: samplingAdapter(of: tracks[track]), questions: stepPlan.questions,
                    slots: stepPlan.questions.enumerated().map { index, question in
                        slots(of: question, stage: state.stage, track: track, step: next, question: index)
                    },
                    replaced: stepPlan.questions.map { _ in false },
                    phase: .sampling, openedAt: now))
            moved(at: now)
            if stage.kind == .supervise {
                tracks[track].steps[tracks[track].steps.count - 1].phase = .waitingToLearn
                learnNext(track: track)
            }
        }
    }

    private func samplingAdapter(of track: TrackState) -> AdapterReference? {
        switch track.plan.adapter {
        case .base: nil
        case .merged: state.merged
        case .specialty: track.adapterIndex.map { state.heads[$0].reference }
        }
    }

    /// A step's effects are committed: the next may open, and the stage may be over.
    mutating func completeStep(track: Int, at now: Tick) {
        tracks[track].steps.removeFirst()
        tracks[track].progress.committedSteps += 1
        state.tracks[track] = tracks[track].progress
        if tracks[track].isDone { closeTrack(track) }
        actions.append(.checkpoint(state))
        moved(at: now)
        if !isDraining { openSteps(track: track, at: now) }
        leaveStageIfDone(at: now)
    }

    private mutating func closeTrack(_ track: Int) {
        switch stage.kind {
        case .supervise, .reinforce:
            guard let index = tracks[track].adapterIndex else { return }
            state.stageHeads.append(StageHead(stage: stage.name, reference: state.heads[index].reference))
            log(
                .info, scope(tracks[track]), "track-done",
                [
                    .init("adapter", .text(state.heads[index].reference.name.text)),
                    .init("version", .int(state.heads[index].reference.version)),
                    .init("digest", .text(state.heads[index].reference.digest.short)),
                ])
        case .evaluate: recordEvaluation(track: track)
        case .merge: break
        }
    }

    private mutating func leaveStageIfDone(at now: Tick) {
        guard stage.kind != .merge, tracks.allSatisfy(\.isDone), !isDraining else { return }
        advanceStage(at: now)
    }

    private mutating func advanceStage(at now: Tick) {
        log(.info, stage.name, "stage-done")
        state.stage += 1
        state.tracks = []
        tracks = []
        actions.append(.checkpoint(state))
        enterStage(at: now)
    }

    // MARK: Merging

    private mutating func beginMerge() {
        var inputs: [MergeOrder.Input] = []
        for adapter in plan.adapters {
            inputs.append(
                MergeOrder.Input(
                    specialty: adapter.name,
                    supervised: state.stageHeads.last { $0.stage == "dsa" && $0.reference.name == adapter.name }?
                        .reference,
                    reinforced: state.stageHeads.last { $0.stage == "gba" && $0.reference.name == adapter.name }?
                        .reference))
        }
        mergeIsUnderWay = true
        actions.append(.merge(MergeOrder(inputs: inputs)))
    }

    mutating func takeMerged(_ reference: AdapterReference, at now: Tick) {
        guard mergeIsUnderWay else { return }
        mergeIsUnderWay = false
        state.merged = reference
        moved(at: now)
        log(.info, stage.name, "merged", [.init("digest", .text(reference.digest.short))])
        advanceStage(at: now)
    }
}
