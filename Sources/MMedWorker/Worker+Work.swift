import MMedCore
import MMedProtocol

// What a worker does with its leases.
extension Worker {
    /// Pulls a version's weights unless the engine holds them.
    func ensure(_ adapter: AdapterReference?) async throws {
        guard let adapter, !engine.holds(adapter) else { return }
        phase = .loading
        try engine.load(adapter, content: try await pull(adapter.digest))
    }

    /// The bytes of a blob, their digest checked.
    func pull(_ digest: Digest) async throws -> [UInt8] {
        let bytes: [UInt8]? = await withCheckedContinuation { waiter in
            let offsets = puller.begin(digest, waiter)
            guard !offsets.isEmpty else { return }
            Task { for offset in offsets { await endpoint.send(.blobRequest(digest, offset: offset)) } }
        }
        guard let bytes else {
            throw MMedError(.tryAgain, at: "blob \(digest.short)", "the coordinator does not hold it any more")
        }
        guard digestOf(bytes) == digest else {
            throw MMedError(.badData, at: "blob \(digest.short)", "its bytes do not have this digest")
        }
        return bytes
    }

    func sample(_ lease: RolloutLease) async throws {
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
        for await path in finished {
            unrecorded[lease.lease, default: [:]][path.slot] = path
            await endpoint.send(.trajectories(lease.lease, [path]))
        }
        try await sampling
    }

    func differentiate(_ lease: GradientLease) async throws {
        for adapter in [lease.adapter, lease.reference, lease.prox] { try await ensure(adapter) }
        phase = .differentiating
        let cancelled = cancelled
        let gradient = try await engine.differentiate(lease, isCancelled: { cancelled.contains(lease.lease) })
        var chunks: [GradientChunk] = []
        var offset = 0
        while offset < gradient.bytes.count {
            let end = min(gradient.bytes.count, offset + Limits.gradientChunkBytes)
            chunks.append(
                GradientChunk(
                    lease: lease.lease, shard: lease.shard, offset: offset, totalBytes: gradient.bytes.count,
                    digest: gradient.digest, bytes: Array(gradient.bytes[offset..<end]),
                    statistics: gradient.statistics))
            offset = end
        }
        unreceived[lease.lease] = chunks
        for chunk in chunks { await endpoint.send(.gradientChunk(chunk)) }
    }

    /// Applies a committed update to the replica, or pulls the state it made.
    func follow(_ update: UpdateAnnouncement) async throws {
        // A learner that never touched this adapter pulls it when a lease asks for it.
        guard engine.holds(update.base) || engine.holds(update.result) else { return }
        phase = .updating
        if engine.canApply(update) {
            let reached = try await engine.apply(update, gradient: try await pull(update.gradientDigest))
            await endpoint.send(.updateApplied(reached))
            if reached.digest == update.result.digest { return }
            log.line("this replica of \(update.result.name) v\(update.result.version) differs; pulling the right one")
        }
        try engine.load(update.result, content: try await pull(update.result.digest))
        try engine.loadMoments(update.result, content: try await pull(update.momentsDigest))
        await endpoint.send(.updateApplied(update.result))
    }
}
