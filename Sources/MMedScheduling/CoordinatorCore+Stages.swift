import MMedAlgorithms
import MMedCore
import MMedProtocol

// The order of stages, and of the steps within a track. Every event ends in `settle`, which goes on as far as it can.
extension CoordinatorCore {
    /// Opens, closes and completes whatever the event made possible.
    mutating func settle() {
        while ending == nil {
            guard state.stage < plan.stages.count else {
                log(.info, "run", "completed")
                end(.completed)
                return
            }
            if enteredStage != state.stage { enterStage() }
            if stage.kind == .merge {
                beginMerge()
                return
            }
            for track in tracks.indices { advance(track) }
            guard ending == nil, tracks.allSatisfy(\.isDone) else { return }
            leaveStage()
        }
    }

    private mutating func enterStage() {
        let stage = stage
        enteredStage = state.stage
        enteredAt = now
        let isFresh = state.tracks.isEmpty
        if isFresh && stage.kind == .reinforce { resetMoments(for: stage) }
        tracks = stage.tracks.enumerated().map { index, track in
            let adapter = plan.adapters.firstIndex { $0.name == track.specialty }
            let head = adapter.map { state.heads[$0] }
            var progress = isFresh ? TrackProgress(committedSteps: 0, blend: BlendState()) : state.tracks[index]
            if isFresh { progress.start = head?.reference }
            if progress.recent.isEmpty, let head { progress.recent = [head.reference] }
            return TrackState(index: index, plan: track, adapterIndex: adapter, head: head, progress: progress)
        }
        state.tracks = tracks.map(\.progress)
        let steps = tracks.reduce(0) { $0 + $1.plan.steps.count }
        let done = tracks.reduce(0) { $0 + $1.progress.committedSteps }
        var fields: [LogEntry.Field] = [
            .init("number", .text("\(state.stage + 1)/\(plan.stages.count)")),
            .init("kind", .text(stage.kind.rawValue)),
        ]
        if stage.kind != .merge {
            fields += [.init("tracks", .int(tracks.count)), .init("steps", .int(steps))]
            if done > 0 { fields.append(.init("done", .int(done))) }
        }
        log(.info, stage.name, "stage-begins", fields)
        moved()
    }

    /// Reinforcement continues the supervised weights with fresh moments.
    private mutating func resetMoments(for stage: StagePlan) {
        for track in stage.tracks {
            guard let index = plan.adapters.firstIndex(where: { $0.name == track.specialty }) else { continue }
            state.heads[index].momentsDigest = nil
            state.heads[index].optimizerSteps = 0
        }
    }

    private mutating func leaveStage() {
        var fields: [LogEntry.Field] = [.init("stage_s", .double(Double(now.since(enteredAt)) / 1_000))]
        if plan.settings.spotCheck > 0, stage.kind != .merge { fields += spot.tally.fields }
        spot.tally = SpotTally()
        log(.info, stage.name, "stage-done", fields)
        state.stage += 1
        state.tracks = []
        tracks = []
        checkpointIsDue = true
        moved()
    }

    /// Takes a track as far as it goes without further results.
    private mutating func advance(_ track: Int) {
        while ending == nil, !tracks[track].isDone {
            openSteps(track)
            if stage.kind == .evaluate {
                let isWhole = tracks[track].progress.committedSteps + tracks[track].steps.count
                guard isWhole == tracks[track].plan.steps.count, tracks[track].pendingSlots == 0,
                    !evaluationAwaitsChecks(track)
                else { return }
                completeEvaluation(track)
                return
            }
            takeBackStale(track)
            closeSampled(track)
            switch tracks[track].steps.first?.phase {
            case .sampled where !isDraining: prepareLearning(track)
            case .between(let next):
                // Stops when an update has begun, goes on when the step is complete.
                if !beginUpdate(next, track: track) { return }
            case .learning:
                orderUpdate(track)
                return
            case .sampled, .sampling, .committing, nil: return
            }
        }
    }

    /// Opens every step whose version is there: step s samples from the head after max(0, s - maxLag) steps.
    private mutating func openSteps(_ track: Int) {
        while !isDraining {
            let next = tracks[track].progress.committedSteps + tracks[track].steps.count
            let lag = stage.kind == .reinforce ? plan.settings.maxLag : 0
            // Evaluation learns nothing, so all its steps are open at once.
            let isReady = stage.kind == .evaluate || tracks[track].steps.count <= lag
            guard next < tracks[track].plan.steps.count, isReady else { return }
            let open = StepState(step: next, adapter: samplingAdapter(of: tracks[track], step: next), openedAt: now)
            tracks[track].steps.append(open)
            recallStale(track)
            moved()
            guard stage.kind != .supervise else { continue }
            for (index, question) in tracks[track].plan.steps[next].questions.enumerated() {
                let slots = slots(of: question, track: track, step: next, question: index)
                tracks[track].append(question, slots: slots, step: tracks[track].steps.count - 1)
                restore(track: track, step: tracks[track].steps.count - 1, question: index)
            }
        }
    }

    private func samplingAdapter(of track: TrackState, step: Int) -> AdapterReference? {
        switch track.plan.adapter {
        case .base: return nil
        case .merged: return state.merged
        case .specialty:
            guard stage.kind == .reinforce else { return track.head?.reference }
            if isFreeRunning { return nil }
            // The same version after a resume as without one, whatever has been committed meanwhile.
            let behind = track.progress.committedSteps - max(0, step - plan.settings.maxLag)
            return track.progress.recent.dropLast(behind).last ?? track.progress.recent.first
        }
    }

    /// A step's effects are committed: its head becomes the checkpoint's, and the next step may open.
    mutating func completeStep(_ track: Int) {
        tracks[track].steps.removeFirst()
        tracks[track].progress.committedSteps += 1
        if let index = tracks[track].adapterIndex, let head = tracks[track].head {
            state.heads[index] = head
            if !isFreeRunning {
                tracks[track].progress.recent.append(head.reference)
                let kept = stage.kind == .reinforce ? plan.settings.maxLag + 1 : 1
                tracks[track].progress.recent = tracks[track].progress.recent.suffix(kept)
            }
        }
        rememberVersion(track)
        state.tracks[track] = tracks[track].progress
        checkpointIsDue = true
        moved()
        if tracks[track].isDone { closeTraining(track) }
    }

    private mutating func closeTraining(_ track: Int) {
        guard let head = tracks[track].head else { return }
        // In track order, whichever track ends first.
        var place = state.stageHeads.count
        while place > 0, state.stageHeads[place - 1].stage == stage.name,
            trackIndex(of: state.stageHeads[place - 1].reference.name) > track
        { place -= 1 }
        state.stageHeads.insert(StageHead(stage: stage.name, reference: head.reference), at: place)
        log(
            .info, scope(track), "track-done",
            [
                .init("adapter", .text(head.reference.name.text)), .init("version", .int(head.reference.version)),
                .init("digest", .text(head.reference.digest.short)),
            ])
    }

    func trackIndex(of specialty: Name) -> Int {
        tracks.firstIndex { $0.plan.specialty == specialty } ?? tracks.count
    }

    // MARK: Merging

    private mutating func beginMerge() {
        guard mergeUnderWay == nil, !isDraining else { return }
        let inputs = plan.adapters.map { adapter in
            MergeOrder.Input(
                specialty: adapter.name, supervised: left(by: .supervise, adapter.name),
                reinforced: left(by: .reinforce, adapter.name))
        }
        let order = MergeOrder(inputs: inputs)
        mergeUnderWay = order
        actions.append(.merge(order))
    }

    /// What the last stage of a kind left of an adapter.
    private func left(by kind: StageKind, _ adapter: Name) -> AdapterReference? {
        let names = plan.stages[..<state.stage].filter { $0.kind == kind }.map(\.name)
        return state.stageHeads.last { $0.reference.name == adapter && names.contains($0.stage) }?.reference
    }

    mutating func takeMerged(_ reference: AdapterReference) {
        guard let order = mergeUnderWay else { return }
        mergeUnderWay = nil
        switch openWork.merges.removeValue(forKey: state.stage) {
        case nil: actions.append(.record(.merge(RecordedMerge(stage: state.stage, order: order, result: reference))))
        case reference: break
        case let recorded?:
            contradict("the merge made \(reference.digest.short), and \(recorded.digest.short) before")
            return
        }
        state.merged = reference
        log(
            .info, stage.name, "merged",
            [.init("version", .int(reference.version)), .init("digest", .text(reference.digest.short))])
        leaveStage()
    }
}
