import MMedCore
import MMedProtocol

// What a worker does with its leases.
extension Worker {
    func perform(_ assignment: Assignment) async {
        switch assignment {
        case .rollout(let lease):
            await finish(lease.lease, lease.durationMilliseconds) { try await self.sample(lease) }
        case .gradient(let lease):
            await finish(lease.lease, lease.durationMilliseconds) { try await self.differentiate(lease) }
        case .update(let update):
            do { try await follow(update) } catch {
                if !isOver { log.line("an update could not be followed: \(error)") }
            }
        case .canary: await sing(nil)
        }
    }

    /// Tells what the canary scores with what the engine has just loaded.
    private func sing(_ adapter: AdapterReference?) async {
        guard let ids = welcome?.canaryIds, ids.count > 2 else { return }
        do {
            let logprob = try await engine.canary(ids, adapter: adapter)
            let report = CanaryReport(adapter: adapter, logprob: logprob)
            if adapter == nil { baseCanary = report }
            await say(.canary(report))
        } catch {
            if !isOver { log.line("the canary could not be scored: \(error)") }
        }
    }

    private func finish(_ lease: LeaseID, _ milliseconds: Int, _ body: () async throws -> Void) async {
        if !cancelled.contains(lease) {
            current = Current(lease: lease, patience: milliseconds, progress: engine.progress, since: clock.now)
            do {
                try await body()
            } catch {
                // A revoked lease has nobody to tell.
                if !isOver && !cancelled.contains(lease) {
                    log.line("lease \(lease.fence) failed: \(error)")
                    await say(.leaseFailed(lease, reason: boundedReason("\(error)")))
                }
            }
            current = nil
        }
        held.removeAll { $0 == lease }
        cancelled.remove(lease)
        // On a new connection the credits are said by `settle`.
        if standing == .joined && !isDraining && !isOver { await say(.ready(credits: 1)) }
        leaveIfDrained()
    }

    // MARK: Blobs

    /// Pulls a version's weights unless the engine holds them.
    private func ensure(_ adapter: AdapterReference?) async throws {
        guard let adapter, !engine.holds(adapter) else { return }
        phase = .loading
        try engine.load(adapter, content: try await pull(adapter.digest))
        await sing(adapter)
    }

    /// The bytes of a blob, their digest checked.
    private func pull(_ digest: Digest) async throws -> [UInt8] {
        await send(puller.begin(digest))
        let place = "blob \(digest.short)"
        let outcome = await withCheckedContinuation { puller.wait(for: digest, $0) }
        switch outcome {
        case .whole(let bytes):
            guard digestOf(bytes) == digest else {
                throw MMedError(.badData, at: place, "its bytes do not have this digest")
            }
            return bytes
        case .missing: throw MMedError(.tryAgain, at: place, "the coordinator does not hold it any more")
        case .contradiction: throw MMedError(.badData, at: place, "its pieces do not fit together")
        case .abandoned: throw MMedError(.tryAgain, at: place, "the worker leaves")
        }
    }

    // MARK: Sampling

    private func sample(_ lease: RolloutLease) async throws {
        guard let welcome else { return }
        for question in lease.questions { try await ensure(question.adapter) }
        phase = .sampling
        let (finished, continuation) = AsyncStream<Trajectory>.makeStream()
        let (engine, cancelled) = (engine, cancelled)
        async let sampling: Void = {
            defer { continuation.finish() }
            try await engine.sample(
                lease, seed: welcome.seed, isCancelled: { cancelled.contains(lease.lease) },
                onFinished: { continuation.yield($0) })
        }()
        var count = 0
        for await path in finished {
            count += 1
            if cancelled.contains(lease.lease) { continue }
            unrecorded[lease.lease, default: [:]][path.slot] = path
            await say(.trajectories(lease.lease, [path]))
        }
        try await sampling
        let asked = lease.questions.reduce(0) { $0 + $1.slots.count }
        if count < asked { throw MMedError(.internalError, "the engine returned \(count) of \(asked) paths") }
    }

    // MARK: Learning

    private func differentiate(_ lease: GradientLease) async throws {
        for adapter in [lease.adapter, lease.reference, lease.prox] { try await ensure(adapter) }
        phase = .differentiating
        let cancelled = cancelled
        let gradient = try await engine.differentiate(lease, isCancelled: { cancelled.contains(lease.lease) })
        if cancelled.contains(lease.lease) { return }
        unreceived[lease.lease] = OutgoingGradient(lease: lease.lease, shard: lease.shard, gradient: gradient)
        await sendGradient(lease.lease)
    }

    /// Sends the chunks that are left. A new introduction stops it: the chunks begin anew when it is answered.
    func sendGradient(_ lease: LeaseID) async {
        guard unreceived[lease]?.isSending == false else { return }
        unreceived[lease]?.isSending = true
        while standing != .introducing, !isOver, let chunk = unreceived[lease]?.nextChunk() {
            await say(.gradientChunk(chunk))
        }
        unreceived[lease]?.isSending = false
    }

    /// Applies a committed update to the replica, or pulls the state it made.
    private func follow(_ update: UpdateAnnouncement) async throws {
        // A learner that never touched this adapter pulls it when a lease asks for it.
        guard engine.holds(update.base) || engine.holds(update.result) else { return }
        phase = .updating
        if engine.canApply(update) {
            do {
                let reached = try await engine.apply(update, gradient: try await pull(update.gradientDigest))
                await say(.updateApplied(reached))
                if reached.digest == update.result.digest { return }
                log.line(
                    "this replica of \(update.result.name) v\(update.result.version) differs; pulling the right one")
            } catch {
                if isOver { throw error }
                log.line("the gradient of an update cannot be applied, pulling what it made: \(error)")
            }
        }
        try engine.load(update.result, content: try await pull(update.result.digest))
        await sing(update.result)
        try engine.loadMoments(update.result, content: try await pull(update.momentsDigest))
        await say(.updateApplied(update.result))
    }
}
