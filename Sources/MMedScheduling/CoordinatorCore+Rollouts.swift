import MMedAlgorithms
import MMedCore
import MMedProtocol

// Taking in sampled paths.
extension CoordinatorCore {
    mutating func take(_ paths: [JudgedTrajectory], of lease: LeaseID, from name: Name, at now: Tick) {
        workers[name]?.lastHeard = now
        var recorded: [SlotID] = []
        var touched: [SlotPlace] = []
        for path in paths {
            let id = path.trajectory.slot
            guard let place = place(of: id) else {
                // The step is over: the path came too late to change anything, and the worker may forget it.
                recorded.append(id)
                continue
            }
            let slot = tracks[place.track].steps[place.step].slots[place.question][place.slot]
            switch slot.status {
            case .done:
                // The first record of a slot stands; saying so again lets the worker forget its copy.
                recorded.append(id)
            case .leased(lease) where leases[lease]?.worker == name:
                if let refusal = refusal(of: path.trajectory, at: place) {
                    refuse(path.trajectory, refusal, from: name, at: place)
                } else {
                    tracks[place.track].steps[place.step].slots[place.question][place.slot].status = .done(path)
                    recorded.append(id)
                    touched.append(place)
                    moved(at: now)
                }
            case .open, .leased, .failed:
                log(
                    .warn, scope(tracks[place.track]), step: Int(id.step), "late-path",
                    [.init("worker", .text(name.text)), .init("slot", .text(id.description))])
            }
        }
        if !recorded.isEmpty { actions.append(.send(name, .trajectoriesRecorded(lease, recorded))) }
        closeLeaseIfDone(lease)
        for place in touched { closeIfSampled(track: place.track, step: place.step) }
    }

    /// Ends a lease of which no slot is open to its holder any more.
    private mutating func closeLeaseIfDone(_ lease: LeaseID) {
        guard let held = leases[lease], case .slots(let ids) = held.work else { return }
        let isDone = ids.allSatisfy { id in
            guard let place = place(of: id) else { return true }
            let status = tracks[place.track].steps[place.step].slots[place.question][place.slot].status
            if case .leased(let holder) = status { return holder != lease }
            return true
        }
        guard isDone else { return }
        leases[lease] = nil
        workers[held.worker]?.leases.removeAll { $0 == lease }
    }

    /// Why a path is not what was asked for; nil when it is.
    private func refusal(of path: Trajectory, at place: SlotPlace) -> String? {
        let step = tracks[place.track].steps[place.step]
        if path.adapterDigest != step.adapter?.digest || path.version != (step.adapter?.version ?? -1) {
            return "it was sampled by version \(path.version) (\(path.adapterDigest?.short ?? "base"))"
                + ", the lease asked for \(step.adapter?.version ?? -1) (\(step.adapter?.digest.short ?? "base"))"
        }
        if path.completionIds.isEmpty || path.completionIds.count > stage.sampling.maxTokens {
            return "it has \(path.completionIds.count) tokens, expected 1 to \(stage.sampling.maxTokens)"
        }
        if path.logprobs.count != path.completionIds.count {
            return "\(path.logprobs.count) log-probs for \(path.completionIds.count) tokens"
        }
        // Rounding may lift the log-prob of a certain token above 0 by an ulp or two of fp32.
        if !path.logprobs.allSatisfy({ $0.isFinite && $0 <= 1e-5 }) { return "a log-prob is not finite or above 0" }
        if !path.reward.isFinite { return "its reward is \(path.reward), not a finite number" }
        let letters = step.questions[place.question].reward
        if !path.choiceLogprobs.isEmpty
            && (path.choiceLogprobs.count != letters.options.count || !path.choiceLogprobs.allSatisfy(\.isFinite))
        {
            return "\(path.choiceLogprobs.count) letter log-probs for \(letters.options.count) options"
        }
        return nil
    }

    private mutating func refuse(_ path: Trajectory, _ reason: String, from name: Name, at place: SlotPlace) {
        log(
            .warn, scope(tracks[place.track]), step: Int(path.slot.step), "path-refused",
            [
                .init("worker", .text(name.text)), .init("slot", .text(path.slot.description)),
                .init("reason", .text(reason)),
            ])
        var slot = tracks[place.track].steps[place.step].slots[place.question][place.slot]
        slot.failures += 1
        slot.status = slot.failures > plan.settings.retries ? .failed(reason) : .open
        tracks[place.track].steps[place.step].slots[place.question][place.slot] = slot
        if case .failed = slot.status { closeIfSampled(track: place.track, step: place.step) }
    }

    /// When no slot of a step is open any more, its groups close and it goes on to learn, or is evaluated.
    mutating func closeIfSampled(track: Int, step: Int) {
        guard tracks.indices.contains(track), tracks[track].steps.indices.contains(step),
            case .sampling = tracks[track].steps[step].phase,
            tracks[track].steps[step].slots.allSatisfy({ $0.allSatisfy(\.status.isFinal) })
        else { return }
        if stage.kind == .evaluate {
            closeEvaluation(track: track, step: step)
        } else if !drawSpares(track: track, step: step) {
            tracks[track].steps[step].phase = .waitingToLearn
            learnNext(track: track)
        }
    }

    /// Replaces questions whose paths are all right or all wrong by spares, where asked for; true when it drew any.
    private mutating func drawSpares(track: Int, step: Int) -> Bool {
        let open = tracks[track].steps[step]
        guard open.resampleRounds < plan.settings.resampleRounds else { return false }
        let spares = tracks[track].plan.steps[open.step].spares
        var drawn = open.questions.count - tracks[track].plan.steps[open.step].questions.count
        var grown = open
        for question in open.questions.indices where !open.replaced[question] && drawn < spares.count {
            let verdicts = open.slots[question].compactMap { slot -> Bool? in
                if case .done(let path) = slot.status { return path.parts.isStrictCorrect }
                return nil
            }
            guard let first = verdicts.first, verdicts.allSatisfy({ $0 == first }) else { continue }
            grown.replaced[question] = true
            grown.questions.append(spares[drawn])
            grown.replaced.append(false)
            grown.slots.append(
                slots(
                    of: spares[drawn], stage: state.stage, track: track, step: open.step,
                    question: grown.questions.count - 1))
            drawn += 1
        }
        guard grown.questions.count > open.questions.count else { return false }
        grown.resampleRounds += 1
        tracks[track].steps[step] = grown
        log(
            .info, scope(tracks[track]), step: open.step, "resample",
            [
                .init("round", .int(grown.resampleRounds)),
                .init("questions", .int(grown.questions.count - open.questions.count)),
            ])
        return true
    }

    /// The open slots of a question, in id order.
    func slots(of question: QuestionPlan, stage: Int, track: Int, step: Int, question index: Int) -> [SlotState] {
        question.suffixIds.indices.flatMap { prompt in
            (0..<question.pathsPerPrompt).map { sample in
                SlotState(
                    id: SlotID(
                        stage: Int32(stage), track: Int32(track), step: Int32(step), question: Int32(index),
                        guideline: Int32(prompt), sample: Int32(sample)))
            }
        }
    }
}
