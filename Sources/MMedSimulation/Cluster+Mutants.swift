import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

// Planted bugs between the wire and the desk.
extension Cluster {
    /// What reaches the desk in the place of a message, and from which connection.
    func twisted(_ message: WorkerMessage, from seat: Int, _ peer: PeerID, by id: UInt64) -> (WorkerMessage, PeerID) {
        guard let mutant, let place = place(of: id) else { return (message, peer) }
        switch (mutant, message) {
        case (.recordsTwice, .trajectories(let lease, let paths)):
            for path in paths {
                guard let known = ledger.paths[path.slot], known.sentUnder == lease else { continue }
                processes[place].extra.append(.path(known))
            }
        case (.ignoresFence, .trajectories(let lease, let paths)):
            let held = Set(paths.map { ledger.grants[$0.slot] })
            if held.count == 1, let live = held.first ?? nil, live != lease, let holder = holder(of: live, by: id) {
                return (.trajectories(live, paths), holder)
            }
        case (.ignoresRoles, .gradientChunk(let chunk)):
            if seats[seat].role == .rollout, let holder = holder(of: chunk.lease, by: id) { return (message, holder) }
        case (.ignoresPathVersion, .trajectories(let lease, let paths)):
            let named = paths.map { path in
                var path = path
                guard let work = ledger.work[path.slot] else { return path }
                (path.adapterDigest, path.version) = (work.adapter?.digest, work.adapter?.version ?? -1)
                return path
            }
            return (.trajectories(lease, named), peer)
        case (.grantsBeyondCredits, .ready(let credits)): return (.ready(credits: credits + 1), peer)
        case (.losesCredits, .ready):
            if !processes[place].credited.insert(peer).inserted { return (.ready(credits: 0), peer) }
        case (.welcomesOtherModels, .hello(var hello)):
            hello.modelDigest = SimulatedPlan.model
            return (.hello(hello), peer)
        case (.admitsStale, .trajectories(_, let paths)):
            for path in paths { processes[place].came[path.slot] = path }
        case (.ignoresCheckVerdict, .trajectories(let lease, let paths)) where isCheck(lease, place):
            return (.trajectories(lease, paths.map { ledger.paths[$0.slot]?.path.trajectory ?? $0 }), peer)
        case (.countsACheckerTwice, .trajectories(let lease, let paths)) where isCheck(lease, place):
            return (.trajectories(lease, paths.map { ledger.checks.answers[$0.slot] ?? $0 }), peer)
        case (.sumsQuarantinedGradients, .gradientChunk(let chunk)): note(chunk, from: seats[seat].name, place)
        case (.ignoresGradientDigest, .gradientChunk(let chunk)): claims.note(chunk.digest)
        default: break
        }
        return (message, peer)
    }

    /// The connection of a live lease's holder.
    private func holder(of lease: LeaseID, by id: UInt64) -> PeerID? {
        guard let name = ledger.holders[lease], let process = processes.first(where: { $0.id == id }),
            process.desk.core.isLive(lease, of: name)
        else { return nil }
        return seats.first { $0.name == name && $0.process == id }?.connection
    }

    /// What a desk with the bug would have said to do.
    func twisted(_ effects: [DeskEffect], by id: UInt64) -> [DeskEffect] {
        guard let mutant else { return effects }
        return effects.flatMap { effect -> [DeskEffect] in
            switch effect {
            case .send(let message, let peer): twisted(message, to: peer, by: id, mutant)
            case .append(let records): twisted(records, by: id, mutant)
            case .save(let state): [.save(twisted(state, mutant))]
            case .merge(var order) where mutant == .mergesOldExperts:
                {
                    for place in order.inputs.indices {
                        order.inputs[place].reinforced = order.inputs[place].supervised
                    }
                    return [.merge(order)]
                }()
            default: [effect]
            }
        }
    }

    private func twisted(
        _ message: CoordinatorMessage, to peer: PeerID, by id: UInt64, _ mutant: Mutant
    ) -> [DeskEffect] {
        switch (mutant, message) {
        case (.losesRevocations, .leaseRevoked), (.losesAnswers, .trajectoriesRecorded),
            (.neverAsksStrangers, .introduceYourself):
            return []
        case (.forgivesContradiction, .end(let reason)) where reason.hasPrefix("it gave two different paths"): return []
        case (.servesWrongOffset, .blobChunk(let digest, let offset, let total, let bytes)) where offset > 0:
            guard let blob = disk.blob(digest) else { break }
            let wrong = Array(blob.prefix(bytes.count))
            return [.send(.blobChunk(digest, offset: offset, totalBytes: total, bytes: wrong), to: peer)]
        case (.acknowledgesStaleGradient, .leaseRevoked(let lease, let reason)) where reason.hasPrefix("nobody waits"):
            return [.send(.gradientReceived(lease, bytes: SimulatedEngine.gradientBytes), to: peer)]
        case (.checksByTheSameWorker, .rollout(let lease)):
            guard let place = place(of: id), isCheck(lease.lease, place), let slot = lease.questions.first?.slots.first,
                let author = ledger.paths[slot]?.worker,
                let other = seats.first(where: { $0.name == author && $0.process == id })?.connection
            else { break }
            return [.send(message, to: other)]
        case (.checksTheNewestVersion, .rollout(var lease)):
            guard let place = place(of: id), isCheck(lease.lease, place) else { break }
            for question in lease.questions.indices {
                guard let name = lease.questions[question].adapter?.name, let newest = ledger.history[name]?.last else {
                    continue
                }
                lease.questions[question].adapter = newest.reference
            }
            return [.send(.rollout(lease), to: peer)]
        case (.grantsTwice, .rollout(var lease)):
            let other = seats.first {
                $0.role == .rollout && $0.process == id && $0.connection != nil && $0.connection != peer
            }
            guard let other = other?.connection else { break }
            lease.lease.fence += 1 << 30
            return [.send(message, to: peer), .send(.rollout(lease), to: other)]
        default: break
        }
        return [.send(message, to: peer)]
    }

    private func twisted(_ records: [JournalRecord], by id: UInt64, _ mutant: Mutant) -> [DeskEffect] {
        var records = records
        var early: [DeskEffect] = []
        switch mutant {
        case .recordsTwice:
            guard let place = place(of: id) else { break }
            records += processes[place].extra
            processes[place].extra = []
        case .closesGroupEarly:
            records = records.map { record in
                guard case .groups(var closed) = record, closed.members.count > 1 else { return record }
                closed.members.removeLast()
                return .groups(closed)
            }
        case .admitsStale: records = records.map { admitted($0, by: id) }
        case .acknowledgesBeforeCommit:
            for case .path(let path) in records {
                let seat = seats.first { $0.name == path.worker && $0.process == id }
                guard let peer = seat?.connection else { continue }
                early.append(.send(.trajectoriesRecorded(path.sentUnder, [path.path.trajectory.slot]), to: peer))
            }
        default: break
        }
        return [.append(records)] + early
    }

    private func twisted(_ state: RunState, _ mutant: Mutant) -> RunState {
        var state = state
        switch mutant {
        case .commitsStepEarly:
            guard state.stage < plan.stages.count, plan.stages[state.stage].kind == .reinforce, !state.tracks.isEmpty
            else { break }
            let steps = plan.stages[state.stage].tracks[0].steps.count
            state.tracks[0].committedSteps = min(steps, state.tracks[0].committedSteps + 1)
        case .countsPathTwice:
            if let last = state.evaluations.indices.last, let path = state.evaluations[last].paths.first {
                state.evaluations[last].paths.append(path)
            }
        default: break
        }
        return state
    }

    // MARK: Time

    /// With the bug, the time that a process slept is taken as time in which it listened.
    func oversleep(_ id: UInt64) {
        guard mutant == .punishesPauses, let place = place(of: id) else { return }
        defer {
            if let place = self.place(of: id) { processes[place].drivenAt = now }
        }
        var then = processes[place].drivenAt
        while then > 0, then + 100_000 < now {
            then += 100_000
            guard let place = self.place(of: id) else { return }
            let tick = processes[place].tick(then)
            perform(processes[place].desk.tick(at: tick), by: id)
        }
    }

    /// A question of the desk in the place of its own.
    func asks(_ message: WorkerMessage, _ peer: PeerID, by id: UInt64) -> [DeskEffect] {
        guard mutant == .asksStrangersAlways, let process = processes.first(where: { $0.id == id }),
            process.desk.name(of: peer) == nil
        else { return [] }
        if case .hello = message { return [] }
        return [.send(.introduceYourself, to: peer)]
    }

    /// An announcement that does not wait for its record.
    func announceEarly(_ order: UpdateOrder, _ applied: AppliedUpdate, by id: UInt64) {
        guard mutant == .announcesEarly, let moments = applied.result.head.momentsDigest else { return }
        let update = UpdateAnnouncement(
            base: order.base.reference, result: applied.result.head.reference, numbers: applied.result.numbers,
            gradientDigest: applied.result.gradientDigest, momentsDigest: moments)
        let learners = seats.filter { $0.role == .learner && $0.process == id }.compactMap(\.connection)
        perform(learners.map { .send(.update(update), to: $0) }, by: id)
    }
}
