public import MMedCore
public import MMedProtocol

// What becomes of a worker that was caught, and of its work that no committed step rests on.
extension CoordinatorCore {
    /// Why a worker of this name and key may not come in; nil when it may.
    public func quarantineReason(of name: Name, _ identity: Identity?) -> String? {
        spot.quarantined.first { $0.forbids(name, identity) }.map { "\($0.party) is quarantined: \($0.reason)" }
    }

    mutating func quarantine(_ liar: Statement, _ subject: CheckSubject, _ reason: String) {
        let identity = workers[liar.worker]?.identity
        let entry = QuarantinedWorker(
            worker: liar.worker, party: identity?.name ?? liar.party, key: identity?.key ?? liar.key,
            role: subject.role, reason: reason)
        if !spot.quarantined.contains(where: { $0.party == entry.party }) {
            spot.quarantined.append(entry)
            actions.append(.record(.quarantine(entry)))
        }
        for name in workerNames where party(of: name) == entry.party {
            dismiss(name, reason: "it is quarantined: \(reason)")
        }
        // Its word counts for nothing any more; its own work goes with its checks.
        for subject in spot.open.keys.sorted() {
            spot.open[subject]?.statements.removeAll { entry.covers($0.worker) }
            if spot.open[subject]?.statements.isEmpty == true { withdraw(subject) }
        }
        var (paths, shards) = (0, 0)
        for track in tracks.indices {
            for step in tracks[track].steps.indices {
                paths += voidPaths(track: track, step: step, reason: "its worker is quarantined", of: entry.covers)
            }
            shards += voidShards(track: track, of: entry.covers)
        }
        let fields: [LogEntry.Field] = [
            .init("worker", .text(entry.worker.text)), .init("party", .text(entry.party.text)),
            .init("role", .text(entry.role.rawValue)), .init("reason", .text(reason)),
            .init("paths_void", .int(paths)), .init("shards_void", .int(shards)),
            .init("quarantined", .int(spot.quarantined.count)), .init("checks_passed", .int(spot.passed)),
        ]
        log(.error, "run", "worker-quarantined", fields)
        metric("run", "quarantine", fields)
        moved()
    }

    /// Has one piece of work done again whose author is gone and cannot be judged.
    mutating func redo(_ subject: CheckSubject, _ author: Statement) {
        log(
            .warn, "run", "spot-check-redone",
            [.init("what", .text(subject.description)), .init("worker", .text(author.worker.text))])
        withdraw(subject)
        switch subject {
        case .path(let id):
            guard let place = place(of: id) else { return }
            _ = voidPaths(
                track: place.track, step: place.step, reason: "it is disputed, and its worker is gone",
                of: { _ in true },
                only: id)
        case .shard(let id):
            if let place = place(of: id) { reopenShard(track: place.track, shard: place.shard) }
        }
    }

    /// True for a recorded path of a worker that was caught, in a step that nothing committed rests on: a death may have come
    /// between the record of the quarantine and those of its paths.
    mutating func isVoid(_ recorded: RecordedPath, at place: SlotPlace) -> Bool {
        guard spot.quarantined.contains(where: { $0.covers(recorded.worker) }),
            mayReopen(track: place.track, step: place.step)
        else { return false }
        let id = recorded.path.trajectory.slot
        openWork.void(id)
        actions.append(
            .record(
                .drop(
                    DroppedPath(
                        slot: id, worker: recorded.worker, lease: nil, question: recorded.question,
                        reason: "its worker is quarantined", isGivenUp: false, isVoided: true))))
        return true
    }

    // MARK: Paths

    /// A step can be sampled again until its first update has been handed over to be applied.
    func mayReopen(track: Int, step: Int) -> Bool {
        let open = tracks[track].steps[step]
        if case .committing = open.phase { return false }
        let place = StepPlace(stage: state.stage, track: track, step: open.step)
        let isRecorded = openWork.updates.keys.contains { $0.place == place }
        return !isRecorded && (open.learningBase == nil || open.learningBase == tracks[track].head?.reference)
    }

    /// Opens slots again whose paths cannot stand. Returns how many.
    private mutating func voidPaths(
        track: Int, step: Int, reason: String, of isMeant: (Name) -> Bool, only: SlotID? = nil
    ) -> Int {
        guard mayReopen(track: track, step: step) else { return 0 }
        let open = tracks[track].steps[step]
        var places: [SlotPlace] = []
        for (question, slots) in open.slots.enumerated() {
            for (slot, held) in slots.enumerated() {
                guard case .done = held.status, let worker = held.worker, isMeant(worker), only ?? held.id == held.id
                else { continue }
                places.append(SlotPlace(track: track, step: step, question: question, slot: slot))
            }
        }
        guard !places.isEmpty else { return 0 }
        for place in places { void(place, reason: reason) }
        takeBackSpares(track: track, step: step)
        sampleAgain(track: track, step: step)
        return places.count
    }

    private mutating func void(_ place: SlotPlace, reason: String) {
        let held = slot(at: place)
        withdraw(.path(held.id))
        // Groups that the journal has of the step go with the path: they close anew, and that is recorded.
        openWork.void(held.id)
        actions.append(
            .record(
                .drop(
                    DroppedPath(
                        slot: held.id, worker: held.worker, lease: nil,
                        question: tracks[place.track].steps[place.step].questions[place.question].id, reason: reason,
                        isGivenUp: false, isVoided: true))))
        set(.open, at: place)
    }

    /// What was drawn because of the paths' verdicts is drawn anew; honest paths of spares are kept for it.
    private mutating func takeBackSpares(track: Int, step: Int) {
        let open = tracks[track].steps[step]
        guard open.resampleRounds > 0 else { return }
        let planned = tracks[track].plan.steps[open.step].questions.count
        for question in open.slots.indices.dropFirst(planned) {
            for held in open.slots[question] {
                withdraw(.path(held.id))
                switch held.status {
                case .done(let path, let lease):
                    guard let worker = held.worker else { continue }
                    openWork.paths[held.id] = RecordedPath(
                        path: path, lease: lease, sentUnder: lease, worker: worker,
                        question: open.questions[question].id, prompt: "", specialty: tracks[track].plan.specialty)
                case .failed(let reason): openWork.givenUp[held.id] = reason
                case .open, .leased: break
                }
            }
        }
        tracks[track].keep(planned, step: step)
        // Leases of spares alone hold nothing any more.
        for lease in leases.keys.sorted() { revokeIfEmpty(lease) }
    }

    private mutating func revokeIfEmpty(_ lease: LeaseID) {
        guard let held = leases[lease], case .slots(let ids) = held.work else { return }
        let isHeld = ids.contains { id in
            guard let place = place(of: id), case .leased(lease) = slot(at: place).status else { return false }
            return true
        }
        if isHeld { return }
        close(lease)
        actions.append(.send(held.worker, .leaseRevoked(lease, reason: "what it asks for is drawn anew")))
    }

    /// A step whose groups had closed goes back to sampling: what was made of them is forgotten.
    private mutating func sampleAgain(track: Int, step: Int) {
        for shard in tracks[track].steps[step].shards {
            withdraw(.shard(shard.id))
            if case .leased(let lease) = shard.status, let held = leases[lease] {
                close(lease)
                actions.append(.send(held.worker, .leaseRevoked(lease, reason: "its step is sampled again")))
            }
            actions.append(.forgetGradient(shard.id))
        }
        switch tracks[track].steps[step].phase {
        case .sampling, .sampled: break
        case .between, .learning, .committing: tracks[track].progress.blend = state.tracks[track].blend
        }
        tracks[track].steps[step].shards = []
        tracks[track].steps[step].updates = []
        tracks[track].steps[step].learningBase = nil
        tracks[track].steps[step].phase = .sampling
    }

    // MARK: Shards

    private mutating func voidShards(track: Int, of isMeant: (Name) -> Bool) -> Int {
        guard let step = tracks[track].steps.first, case .learning = step.phase else { return 0 }
        let places = step.shards.indices.filter { place in
            step.shards[place].status.isReceived && step.shards[place].worker.map(isMeant) ?? false
        }
        for place in places { reopenShard(track: track, shard: place) }
        return places.count
    }

    private mutating func reopenShard(track: Int, shard: Int) {
        let id = tracks[track].steps[0].shards[shard].id
        withdraw(.shard(id))
        actions.append(.forgetGradient(id))
        tracks[track].steps[0].shards[shard].status = .open
        tracks[track].steps[0].shards[shard].worker = nil
    }
}
