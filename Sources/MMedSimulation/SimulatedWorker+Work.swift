import MMedCore
import MMedProtocol

// What a worker does with its leases, one piece at a time.
extension SimulatedWorker {
    /// One piece of the first assignment: a blob to pull, a path, a gradient, an update.
    func work() {
        guard let assignment = assignments.first else { return }
        switch assignment {
        case .rollout(let lease):
            if cancelled.contains(lease.lease) { return finish(lease.lease) }
            if failsNext { return fail(lease.lease) }
            sample(lease)
        case .gradient(let lease):
            if cancelled.contains(lease.lease) { return finish(lease.lease) }
            if failsNext { return fail(lease.lease) }
            differentiate(lease)
        case .update(let update): follow(update)
        }
    }

    private func finish(_ lease: LeaseID) {
        assignments.removeFirst()
        (slotsDone, phase) = (0, .idle)
        held.removeAll { $0 == lease }
        cancelled.remove(lease)
        if standing == .joined && !isDraining { said.append(.ready(credits: 1)) }
    }

    private func fail(_ lease: LeaseID, _ reason: String = "out of memory") {
        failsNext = false
        said.append(.leaseFailed(lease, reason: reason))
        finish(lease)
    }

    // MARK: Replicas

    private func replica(_ reference: AdapterReference) -> Replica? {
        replicas[reference.name]?.last { $0.reference == reference }
    }

    private func keep(_ replica: Replica) {
        var known = replicas[replica.reference.name, default: []]
        known.removeAll { $0.reference == replica.reference }
        known.append(replica)
        if known.count > 4 { known.removeFirst() }
        replicas[replica.reference.name] = known
    }

    /// A blob that is here, nil after asking for it; false in `isHad` when it is not to be had.
    private func blob(_ digest: Digest) -> (bytes: [UInt8]?, isHad: Bool) {
        if let bytes = blobs.removeValue(forKey: digest) { return (bytes, true) }
        if missing.remove(digest) != nil { return (nil, false) }
        pulling = digest
        pulled = []
        phase = .loading
        said.append(.blobRequest(digest, offset: 0))
        return (nil, true)
    }

    /// True when all versions are here; asks for the first that is not, and gives the lease back when it is not to be had.
    private func ensure(_ references: [AdapterReference?], for lease: LeaseID) -> Bool {
        for case let reference? in references where replica(reference) == nil {
            let (bytes, isHad) = blob(reference.digest)
            guard let bytes else {
                if !isHad { fail(lease, "the coordinator does not hold blob \(reference.digest.short) any more") }
                return false
            }
            keep(Replica(reference: reference, content: bytes, moments: nil))
        }
        return true
    }

    // MARK: Work

    private func sample(_ lease: RolloutLease) {
        guard ensure(lease.questions.map(\.adapter), for: lease.lease), let welcome else { return }
        phase = .sampling
        progress += 1
        var place = slotsDone
        for question in lease.questions {
            guard place >= question.slots.count else {
                let seed = mutant == .samplesWithWrongSeed ? welcome.seed + 1 : welcome.seed
                let truth = SimulatedEngine.path(question.slots[place], question, seed: seed)
                let path = lied(truth, question.reward)
                unrecorded[lease.lease, default: [:]][path.slot] = path
                said.append(.trajectories(lease.lease, [path]))
                slotsDone += 1
                if slotsDone == lease.questions.reduce(0, { $0 + $1.slots.count }) { finish(lease.lease) }
                return
            }
            place -= question.slots.count
        }
        finish(lease.lease)
    }

    private func differentiate(_ lease: GradientLease) {
        guard ensure([lease.adapter, lease.reference, lease.prox], for: lease.lease) else { return }
        phase = .differentiating
        progress += 1
        var asked = lease
        if mutant == .differentiatesOldReplica, let oldest = replicas[lease.adapter.name]?.first {
            asked.adapter = oldest.reference
        }
        let bytes = lied(SimulatedEngine.gradient(asked), lease.shard)
        let gradient = Outgoing(lease: lease, bytes: bytes, digest: Hashing.digest(of: bytes))
        unreceived[lease.lease] = gradient
        // On a connection that is not welcomed yet it goes out when it is.
        if standing == .joined { send(gradient) }
        finish(lease.lease)
    }

    /// Applies a committed update to the replica, or pulls the state it made.
    private func follow(_ update: UpdateAnnouncement) {
        let any = mutant == .updatesAnyReplica ? replicas[update.base.name]?.last : nil
        let base = replica(update.base) ?? any
        guard base != nil || replica(update.result) != nil else { return done() }
        phase = .updating
        progress += 1
        let isFresh = update.numbers.biasCorrection1 < SimulatedEngine.freshBelow
        if let base, isFresh || base.moments != nil, !missing.contains(update.gradientDigest) {
            let (bytes, isHad) = blob(update.gradientDigest)
            if let bytes {
                let made = SimulatedEngine.advance(
                    content: base.content, moments: isFresh ? nil : base.moments, sum: bytes,
                    learningRate: update.numbers.learningRate)
                var reached = update.result
                reached.digest = Hashing.digest(of: made.content)
                said.append(.updateApplied(reached))
                if reached == update.result {
                    keep(Replica(reference: reached, content: made.content, moments: made.moments))
                    return done()
                }
            } else if isHad {
                return
            }
        }
        missing.remove(update.gradientDigest)
        pullState(update)
    }

    private func pullState(_ update: UpdateAnnouncement) {
        if replica(update.result) == nil {
            let (bytes, isHad) = blob(update.result.digest)
            guard let bytes else { return isHad ? () : done() }
            keep(Replica(reference: update.result, content: bytes, moments: nil))
        }
        guard var known = replica(update.result) else { return done() }
        if known.moments == nil {
            let (bytes, isHad) = blob(update.momentsDigest)
            guard let bytes else { return isHad ? () : done() }
            known.moments = bytes
            keep(known)
        }
        said.append(.updateApplied(update.result))
        done()
    }

    private func done() {
        assignments.removeFirst()
        phase = .idle
    }
}
