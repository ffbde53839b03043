import MMedAlgorithms
import MMedCore
import MMedProtocol

// Taking in sampled paths.
extension CoordinatorCore {
    /// What became of the paths of one message.
    private struct Intake {
        /// Paths the worker may forget: the coordinator has decided about them.
        var answered: [SlotID] = []
        var late = 0
        var adopted = 0
        var refused = 0
        var stale = 0
        var firstRefusal = ""
        /// Another answer for a slot under the lease that already gave one.
        var contradiction: SlotID?
    }

    mutating func take(_ paths: [JudgedTrajectory], of lease: LeaseID, from name: Name) {
        if isCheck(lease, of: name) { return takeChecks(paths, of: lease, from: name) }
        workers[name]?.lastHeard = now
        var intake = Intake()
        for path in paths { take(path, of: lease, from: name, into: &intake) }
        if !intake.answered.isEmpty { actions.append(.send(name, .trajectoriesRecorded(lease, intake.answered))) }
        closeLeaseIfDone(lease)
        if intake.adopted > 0 {
            log(
                .info, "run", "paths-kept",
                [
                    .init("worker", .text(name.text)), .init("paths", .int(intake.adopted)),
                    .init("why", .text("they were finished while the coordinator was away")),
                ])
        }
        if intake.stale > 0 {
            logStale("run", [.init("worker", .text(name.text)), .init("paths", .int(intake.stale))])
        }
        if intake.late > 0 {
            log(.warn, "run", "late-paths", [.init("worker", .text(name.text)), .init("paths", .int(intake.late))])
            if leases[lease]?.worker != name {
                actions.append(.send(name, .leaseRevoked(lease, reason: "it is not valid any more")))
            }
        }
        if intake.refused > 0 {
            log(
                .warn, "run", "paths-refused",
                [
                    .init("worker", .text(name.text)), .init("paths", .int(intake.refused)),
                    .init("reason", .text(intake.firstRefusal)),
                ])
            strike(name)
        }
        if let slot = intake.contradiction {
            log(
                .error, "run", "path-contradicts",
                [.init("worker", .text(name.text)), .init("slot", .text(slot.description))])
            dismiss(name, reason: "it gave two different paths for slot \(slot)")
        }
    }

    private mutating func take(
        _ path: JudgedTrajectory, of lease: LeaseID, from name: Name, into intake: inout Intake
    ) {
        let id = path.trajectory.slot
        intake.answered.append(id)
        // The step is over: the path came too late to change anything.
        guard let place = place(of: id) else { return }
        switch slot(at: place).status {
        case .done(let first, let holder):
            // The first record of a slot stands; the same again is a lost acknowledgement, another under the same lease
            // is evidence against the worker.
            if holder == lease && !isSame(first.trajectory, path.trajectory) {
                intake.contradiction = id
                drop(id, at: place, of: lease, from: name, reason: "it contradicts the path that was taken")
            }
        case .leased(let holder) where holder == lease && leases[lease]?.worker == name:
            if let refusal = refusal(of: path.trajectory, at: place, under: lease) {
                if intake.refused == 0 { intake.firstRefusal = "slot \(id): \(refusal)" }
                intake.refused += 1
                drop(id, at: place, of: lease, from: name, reason: refusal)
                fail(place, reason: refusal)
            } else if isStale(path.trajectory, track: place.track) {
                intake.stale += 1
                drop(id, at: place, of: lease, from: name, reason: DroppedPath.stale)
                askAgain(place)
            } else {
                accept(path, at: place, under: lease, sentUnder: lease, from: name)
            }
        case .open where canAdopt(path.trajectory, of: lease, from: name, at: place):
            // The right is granted anew on the spot: to ask for it and send the same bytes again would bring the same.
            nextFence += 1
            accept(path, at: place, under: LeaseID(fence: nextFence), sentUnder: lease, from: name)
            intake.adopted += 1
        case .open, .leased, .failed:
            intake.late += 1
            drop(path.trajectory.slot, at: place, of: lease, from: name, reason: "its lease was over")
        }
    }

    private mutating func accept(
        _ path: JudgedTrajectory, at place: SlotPlace, under lease: LeaseID, sentUnder: LeaseID, from name: Name
    ) {
        let question = tracks[place.track].steps[place.step].questions[place.question]
        actions.append(
            .record(
                .path(
                    RecordedPath(
                        path: path, lease: lease, sentUnder: sentUnder, worker: name, question: question.id,
                        prompt: question.promptNames[Int(path.trajectory.slot.guideline)],
                        specialty: tracks[place.track].plan.specialty))))
        set(.done(path, under: sentUnder), at: place)
        sign(place, by: name)
        workers[name]?.prove()
        let lastDeadline = now + longestHold
        leases[lease]?.lastDeadline = lastDeadline
        moved()
    }

    /// A path that was finished while the coordinator was away: its lease died with an earlier coordinator, nobody holds
    /// its slot now, and it is what would be asked for.
    private func canAdopt(_ path: Trajectory, of lease: LeaseID, from name: Name, at place: SlotPlace) -> Bool {
        isOfEarlierEpoch(lease) && workers[name]?.hello.role == .rollout
            && refusal(of: path, at: place) == nil && !isStale(path, track: place.track)
    }

    /// The first epoch is 1: a fence below it was never granted by anybody.
    func isOfEarlierEpoch(_ lease: LeaseID) -> Bool { (1..<state.epoch).contains(lease.fence >> LeaseID.grantBits) }

    /// Tells the journal why a path was not taken. A worker cannot fill the disk with it: each slot has a few such lines.
    private mutating func drop(
        _ id: SlotID, at place: SlotPlace, of lease: LeaseID, from name: Name, reason: String
    ) {
        let dropsPerSlot = 8
        guard
            tracks[place.track].steps[place.step].countDrop(question: place.question, slot: place.slot) <= dropsPerSlot
        else { return }
        let question = tracks[place.track].steps[place.step].questions[place.question].id
        actions.append(
            .record(
                .drop(
                    DroppedPath(
                        slot: id, worker: name, lease: lease, question: question, reason: reason, isGivenUp: false))))
    }

    private func isSame(_ left: Trajectory, _ right: Trajectory) -> Bool {
        left.completionIds == right.completionIds && left.logprobs == right.logprobs && left.stop == right.stop
            && left.adapterDigest == right.adapterDigest
    }

    /// Ends a lease of which no slot is open to its holder any more.
    private mutating func closeLeaseIfDone(_ lease: LeaseID) {
        guard let held = leases[lease], case .slots(let ids) = held.work else { return }
        let isDone = ids.allSatisfy { id in
            guard let place = place(of: id), case .leased(let holder) = slot(at: place).status else { return true }
            return holder != lease
        }
        if isDone { close(lease) }
    }

    /// Why a path is not what was asked for, under a lease that is held or without one; nil when it is.
    func refusal(of path: Trajectory, at place: SlotPlace, under lease: LeaseID? = nil) -> String? {
        let step = tracks[place.track].steps[place.step]
        if let wrong = wrongVersion(path, at: place, under: lease) { return wrong }
        if path.completionIds.isEmpty || path.completionIds.count > stage.sampling.maxTokens {
            return "it has \(path.completionIds.count) tokens, expected 1 to \(stage.sampling.maxTokens)"
        }
        if path.logprobs.count != path.completionIds.count {
            return "\(path.logprobs.count) log-probs for \(path.completionIds.count) tokens"
        }
        // Rounding may lift the log-prob of a certain token above 0.
        if !path.logprobs.allSatisfy({ $0.isFinite && $0 <= Limits.logprobExcess }) {
            return "a log-prob is not finite or above 0"
        }
        if !path.reward.isFinite { return "its reward is \(path.reward), not a finite number" }
        let letters = step.questions[place.question].reward
        if !path.choiceLogprobs.isEmpty
            && (path.choiceLogprobs.count != letters.options.count || !path.choiceLogprobs.allSatisfy(\.isFinite))
        {
            return "\(path.choiceLogprobs.count) letter log-probs for \(letters.options.count) options, or not finite"
        }
        return nil
    }

    /// When no slot of a step is open any more its groups close, unless tied questions are replaced first.
    mutating func closeSampled(_ track: Int) {
        guard !isDraining else { return }
        for step in tracks[track].steps.indices {
            guard mayClose(step), case .sampling = tracks[track].steps[step].phase,
                tracks[track].steps[step].pendingSlots == 0, !awaitsChecks(track: track, step: step, .rollout),
                !drawSpares(track: track, step: step)
            else { continue }
            tracks[track].steps[step].phase = .sampled
        }
    }

    /// Replaces questions whose paths are all right or all wrong by spares, where asked for; true when it drew any.
    private mutating func drawSpares(track: Int, step: Int) -> Bool {
        let open = tracks[track].steps[step]
        guard open.resampleRounds < plan.settings.resampleRounds else { return false }
        let stepPlan = tracks[track].plan.steps[open.step]
        var spares = stepPlan.spares.dropFirst(open.questions.count - stepPlan.questions.count)
        var drawn = 0
        for question in open.questions.indices where !open.replaced[question] {
            let verdicts = open.slots[question].compactMap { slot -> Bool? in
                if case .done(let path, _) = slot.status { return path.parts.isStrictCorrect }
                return nil
            }
            guard let first = verdicts.first, verdicts.allSatisfy({ $0 == first }), let spare = spares.popFirst() else {
                continue
            }
            tracks[track].steps[step].replaced[question] = true
            let index = open.questions.count + drawn
            let slots = slots(of: spare, track: track, step: open.step, question: index)
            tracks[track].append(spare, slots: slots, step: step)
            restore(track: track, step: step, question: index)
            drawn += 1
        }
        guard drawn > 0 else { return false }
        tracks[track].steps[step].resampleRounds += 1
        log(
            .info, scope(track), step: open.step, "resample",
            [
                .init("round", .int(open.resampleRounds + 1)), .init("questions", .int(drawn)),
                .init("why", .text("all paths right or all wrong")),
            ])
        // Spares without paths, or with all of them in the journal, leave nothing to wait for.
        return tracks[track].steps[step].pendingSlots > 0 || drawSpares(track: track, step: step)
    }
}
