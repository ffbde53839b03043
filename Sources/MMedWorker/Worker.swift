public import MMedCore
public import MMedProtocol

/// A worker process's life: it introduces itself, takes leases, computes, and returns results until it is told to end.
/// Results stay here until the coordinator has them, so a cut connection loses nothing.
public actor Worker {
    let endpoint: any WorkerEndpoint
    let engine: any WorkerEngine
    let log: any WorkerLog
    let digestOf: @Sendable ([UInt8]) -> Digest
    private let hello: Hello
    private let clock = ContinuousClock()
    /// Leases held at once: one computed, one waiting, so that the engine never idles for a round trip.
    private let leasesHeldMax = 2

    var welcome: Welcome?
    var phase = WorkerPhase.idle
    var held: [LeaseID] = []
    let cancelled = CancelledLeases()
    var puller = BlobPuller()
    var unrecorded: [LeaseID: [SlotID: Trajectory]] = [:]
    var unreceived: [LeaseID: [GradientChunk]] = [:]
    private var isDraining = false
    private var ending: Ending?
    private let queue: AsyncStream<Assignment>
    private let assignments: AsyncStream<Assignment>.Continuation

    enum Assignment: Sendable {
        case rollout(RolloutLease)
        case gradient(GradientLease)
        case update(UpdateAnnouncement)
    }

    private enum Ending {
        case ended(String)
        case failed(MMedError)
    }

    /// A worker that will say `hello`; `digestOf` is SHA-256.
    public init(
        hello: Hello, endpoint: any WorkerEndpoint, engine: any WorkerEngine, log: any WorkerLog,
        digestOf: @escaping @Sendable ([UInt8]) -> Digest
    ) {
        self.hello = hello
        self.endpoint = endpoint
        self.engine = engine
        self.log = log
        self.digestOf = digestOf
        (queue, assignments) = AsyncStream.makeStream()
    }

    /// Works until the coordinator ends the run, or a drain is over. Throws when the coordinator refuses the worker.
    public func run() async throws {
        await endpoint.send(.hello(hello))
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.listen() }
            group.addTask { await self.beat() }
            group.addTask { await self.work() }
            await group.next()
            group.cancelAll()
            assignments.finish()
            puller.abandon()
        }
        if case .failed(let error) = ending {
            await endpoint.close()
            throw error
        }
        await endpoint.send(.goodbye(reason: isDraining ? "it was asked to stop" : "the run is over"))
        await endpoint.close()
    }

    /// Takes no further lease, finishes what it holds, then leaves.
    public func drain() {
        guard !isDraining else { return }
        isDraining = true
        log.line("finishing \(held.count) leases, then leaving; a second signal leaves at once")
        leaveIfDrained()
    }

    /// Leaves now; leases go back to the coordinator.
    public func stop(_ reason: String) {
        end(.ended(reason))
    }

    private func end(_ ending: Ending) {
        guard self.ending == nil else { return }
        self.ending = ending
        for lease in held { cancelled.insert(lease) }
        puller.abandon()
        assignments.finish()
    }

    private var isOver: Bool { ending != nil }

    // MARK: Hearing

    private func listen() async {
        for await inbound in endpoint.inbound {
            switch inbound {
            case .message(let message): await take(message)
            case .malformed(let reason): log.line("a malformed message was dropped: \(reason)")
            case .otherVersion(let major, let minor):
                end(
                    .failed(
                        MMedError(
                            .badConfig, at: "coordinator",
                            "it speaks wire version \(major).\(minor), this worker \(WireVersion.major)"
                                + ".\(WireVersion.minor)",
                            mend: "run mmed-worker and mmed-coord of the same release")))
            }
            if isOver { return }
        }
        end(.ended("the connection was closed"))
    }

    private func take(_ message: CoordinatorMessage) async {
        switch message {
        case .welcome(let welcome): await settle(welcome)
        case .refused(let reason, let mend):
            end(.failed(MMedError(.badConfig, at: "the coordinator refuses this worker", reason, mend: mend)))
        case .introduceYourself: await endpoint.send(.hello(hello))
        case .rollout(let lease): accept(lease.lease, .rollout(lease))
        case .gradient(let lease): accept(lease.lease, .gradient(lease))
        case .trajectoriesRecorded(let lease, let slots): recorded(lease, slots)
        case .gradientReceived(let lease, let bytes): received(lease, bytes)
        case .leaseRevoked(let lease, let reason):
            log.line("lease \(lease.fence) was revoked: \(reason)")
            cancelled.insert(lease)
            unrecorded[lease] = nil
            unreceived[lease] = nil
        case .update(let update): assignments.yield(.update(update))
        case .blobChunk(let digest, let offset, let total, let bytes):
            for next in puller.take(digest, offset: offset, totalBytes: total, bytes: bytes) {
                await endpoint.send(.blobRequest(digest, offset: next))
            }
        case .blobMissing(let digest): puller.miss(digest)
        case .drain: isDraining = true
        case .end(let reason):
            log.line("the coordinator ended the session: \(reason)")
            end(.ended(reason))
        }
    }

    private func settle(_ welcome: Welcome) async {
        let isFirst = self.welcome == nil
        self.welcome = welcome
        log.line("\(isFirst ? "joined" : "rejoined") run \(welcome.run)")
        for lease in unrecorded.keys.sorted() {
            let paths = (unrecorded[lease] ?? [:]).values.sorted { $0.slot < $1.slot }
            if !paths.isEmpty { await endpoint.send(.trajectories(lease, paths)) }
        }
        for lease in unreceived.keys.sorted() {
            for chunk in unreceived[lease] ?? [] { await endpoint.send(.gradientChunk(chunk)) }
        }
        for (digest, offset) in puller.restart() { await endpoint.send(.blobRequest(digest, offset: offset)) }
        let credits = leasesHeldMax - held.count
        if !isDraining && credits > 0 { await endpoint.send(.ready(credits: credits)) }
    }

    private func accept(_ lease: LeaseID, _ assignment: Assignment) {
        guard !held.contains(lease) else { return }
        held.append(lease)
        assignments.yield(assignment)
    }

    private func recorded(_ lease: LeaseID, _ slots: [SlotID]) {
        for slot in slots { unrecorded[lease]?[slot] = nil }
        if unrecorded[lease]?.isEmpty == true { unrecorded[lease] = nil }
        leaveIfDrained()
    }

    private func received(_ lease: LeaseID, _ bytes: Int) {
        if let total = unreceived[lease]?.first?.totalBytes, bytes >= total { unreceived[lease] = nil }
        leaveIfDrained()
    }

    private func leaveIfDrained() {
        if isDraining && held.isEmpty && unrecorded.isEmpty && unreceived.isEmpty { end(.ended("drained")) }
    }

    // MARK: Beating

    private func beat() async {
        var silentBeats = 0
        while !Task.isCancelled, !isOver {
            let milliseconds = welcome?.beatMilliseconds ?? 1_000
            try? await clock.sleep(for: .milliseconds(milliseconds))
            if isOver || Task.isCancelled { return }
            if welcome == nil {
                silentBeats += 1
                if silentBeats % 5 == 0 {
                    log.line("waiting for the coordinator's answer")
                    // The introduction may have been lost with a broken connection; saying it twice does no harm.
                    await endpoint.send(.hello(hello))
                }
            } else {
                await endpoint.send(.beat(Beat(phase: phase, progress: engine.progress, leases: held)))
            }
        }
    }

    // MARK: Working

    private func work() async {
        for await assignment in queue {
            if isOver { return }
            await perform(assignment)
            phase = .idle
        }
    }

    private func perform(_ assignment: Assignment) async {
        switch assignment {
        case .rollout(let lease): await finish(lease.lease) { try await self.sample(lease) }
        case .gradient(let lease): await finish(lease.lease) { try await self.differentiate(lease) }
        case .update(let update):
            do { try await follow(update) } catch { log.line("an update could not be followed: \(error)") }
        }
    }

    private func finish(_ lease: LeaseID, _ body: () async throws -> Void) async {
        if !cancelled.contains(lease) {
            do {
                try await body()
            } catch {
                log.line("lease \(lease.fence) failed: \(error)")
                if !isOver { await endpoint.send(.leaseFailed(lease, reason: String("\(error)".prefix(500)))) }
            }
        }
        held.removeAll { $0 == lease }
        cancelled.remove(lease)
        if !isDraining && !isOver { await endpoint.send(.ready(credits: 1)) }
        leaveIfDrained()
    }
}
