import MMedAlgorithms
public import MMedCore
public import MMedProtocol
public import MMedScheduling

/// Feeds what happens into the core, performs its actions in their order, and reports their completion back.
public actor Coordinator {
    private let endpoint: any CoordinatorEndpoint
    let ports: CoordinatorPorts
    private let handshake: Handshake
    var core: CoordinatorCore
    private var peers: [PeerID: Name] = [:]
    private var connections: [Name: PeerID] = [:]
    var gradients = GradientIntake()
    /// Summed gradients that learners may still pull, newest last.
    var recentGradients: [(digest: Digest, bytes: [UInt8])] = []
    private var outcome: Outcome?
    var failure: (any Error)?
    private let clock = ContinuousClock()
    private let start: ContinuousClock.Instant
    /// Work outside of the actor that reports back with an event.
    let jobs: AsyncStream<@Sendable () async -> Void>.Continuation
    private let jobStream: AsyncStream<@Sendable () async -> Void>

    /// A coordinator of a plan, from a state whose epoch is already on the disk.
    public init(
        plan: RunPlan, state: RunState, modelDigest: Digest, endpoint: any CoordinatorEndpoint, ports: CoordinatorPorts
    ) {
        core = CoordinatorCore(plan: plan, state: state)
        self.endpoint = endpoint
        self.ports = ports
        handshake = Handshake(modelDigest: modelDigest, adapters: plan.adapters.map(\.name))
        start = clock.now
        (jobStream, jobs) = AsyncStream.makeStream()
    }

    /// Runs until the core finishes; throws what a port threw when the run cannot go on.
    public func run() async throws -> Outcome {
        feed(.tick)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.listen() }
            group.addTask { await self.beat() }
            group.addTask { await self.work() }
            await group.next()
            group.cancelAll()
            jobs.finish()
        }
        for peer in connections.values.sorted() { endpoint.send(.end(reason: endReason), to: peer) }
        await endpoint.close()
        if let failure { throw failure }
        return outcome ?? .stopped
    }

    /// Asks for a stop in good order: what is leased is finished and committed first.
    public func drain() {
        feed(.drain)
        for peer in connections.values.sorted() { endpoint.send(.drain, to: peer) }
    }

    private var endReason: String {
        switch outcome {
        case .completed: "the run is complete"
        case .stopped: "the run was stopped"
        case .noWorkers, .failed, nil: "the run ended early"
        }
    }

    private var isOver: Bool { outcome != nil || failure != nil }

    // MARK: Sources of events

    private func listen() async {
        for await inbound in endpoint.inbound {
            take(inbound)
            if isOver { return }
        }
    }

    private func beat() async {
        while !Task.isCancelled, !isOver {
            // The tick of the core's clock: leases and waits are judged at this grain.
            try? await clock.sleep(for: .milliseconds(100))
            feed(.tick)
        }
    }

    private func work() async {
        await withTaskGroup(of: Void.self) { group in
            for await job in jobStream { group.addTask { await job() } }
        }
        // Only a cancelled run comes here; the other tasks end it.
    }

    // MARK: Messages

    private func take(_ inbound: InboundFromWorkers) {
        switch inbound {
        case .message(let peer, let message): take(message, from: peer)
        case .malformed(let peer, let reason):
            warn("malformed-message", peers[peer], [.init("reason", .text(reason))])
        case .otherVersion(let peer, let major, let minor):
            let own = "\(WireVersion.major).\(WireVersion.minor)"
            endpoint.send(
                .refused(
                    reason: "you speak wire version \(major).\(minor), this run \(own)",
                    mend: "run mmed-worker and mmed-coord of the same release"), to: peer)
            warn(
                "other-version", peers[peer], [.init("theirs", .text("\(major).\(minor)")), .init("ours", .text(own))])
        case .unreachable(let peer):
            guard let name = peers.removeValue(forKey: peer), connections[name] == peer else { return }
            connections[name] = nil
            feed(.left(name, reason: "its connection is gone"))
        }
    }

    private func take(_ message: WorkerMessage, from peer: PeerID) {
        if case .hello(let hello) = message {
            greet(hello, peer)
            return
        }
        guard let name = peers[peer] else {
            endpoint.send(.introduceYourself, to: peer)
            return
        }
        switch message {
        case .hello: break
        case .ready(let credits): feed(.ready(name, credits: credits))
        case .trajectories(let lease, let paths): judge(paths, of: lease, from: name)
        case .gradientChunk(let chunk): take(chunk, from: name, peer)
        case .leaseFailed(let lease, let reason): feed(.leaseFailed(name, lease, reason: reason))
        case .updateApplied(let reference): feed(.replica(name, reference))
        case .blobRequest(let digest, let offset): serve(digest, offset, to: peer)
        case .beat(let beat): feed(.beat(name, beat))
        case .goodbye(let reason):
            peers[peer] = nil
            connections[name] = nil
            feed(.left(name, reason: reason))
        }
    }

    private func greet(_ hello: Hello, _ peer: PeerID) {
        let holder = connections[hello.name] != nil ? core.hello(of: hello.name) : nil
        switch handshake.judge(hello, holder: holder) {
        case .refuse(let reason, let mend):
            endpoint.send(.refused(reason: reason, mend: mend), to: peer)
            warn("worker-refused", hello.name, [.init("reason", .text(reason)), .init("mend", .text(mend))])
        case .accept:
            if let former = connections[hello.name] { peers[former] = nil }
            peers[peer] = hello.name
            connections[hello.name] = peer
            endpoint.send(
                .welcome(
                    Welcome(
                        run: core.plan.run, seed: core.plan.seed,
                        beatMilliseconds: Int(core.plan.settings.beatMilliseconds), adapters: core.plan.adapters)),
                to: peer)
            feed(.joined(hello))
        }
    }

    private func judge(_ paths: [Trajectory], of lease: LeaseID, from name: Name) {
        var judged: [JudgedTrajectory] = []
        for path in paths {
            guard let task = core.rewardTask(of: path.slot) else {
                // The step is over; an empty verdict lets the core answer that the path came too late.
                judged.append(JudgedTrajectory(trajectory: path, parts: .lateArrival))
                continue
            }
            do {
                let parts = try ports.reward.judge(path, task: task)
                if parts.total != path.reward {
                    warn(
                        "reward-differs", name,
                        [
                            .init("slot", .text(path.slot.description)), .init("theirs", .double(path.reward)),
                            .init("ours", .double(parts.total)),
                        ])
                }
                judged.append(JudgedTrajectory(trajectory: path, parts: parts))
            } catch {
                warn("path-unreadable", name, [.init("reason", .text("\(error)"))])
            }
        }
        feed(.trajectories(name, lease, judged))
    }

    private func take(_ chunk: GradientChunk, from name: Name, _ peer: PeerID) {
        guard let adapter = core.adapterName(of: chunk.shard),
            let expected = ports.optimizer.gradientBytes(of: adapter)
        else { return }
        switch gradients.take(chunk, expectedBytes: expected) {
        case .partial(let bytes): endpoint.send(.gradientReceived(chunk.lease, bytes: bytes), to: peer)
        case .refused(let reason): feed(.leaseFailed(name, chunk.lease, reason: reason))
        case .whole(let bytes):
            guard ports.store.digest(of: bytes) == chunk.digest else {
                feed(.leaseFailed(name, chunk.lease, reason: "the gradient does not have the digest that came with it"))
                return
            }
            guard ports.optimizer.isFinite(bytes) else {
                feed(.leaseFailed(name, chunk.lease, reason: "the gradient is not finite"))
                return
            }
            gradients.hold(bytes, of: chunk.shard)
            endpoint.send(.gradientReceived(chunk.lease, bytes: bytes.count), to: peer)
            feed(.gradient(name, chunk.lease, chunk.shard, chunk.statistics))
        }
    }

    private func serve(_ digest: Digest, _ offset: Int, to peer: PeerID) {
        let bytes = recentGradients.last { $0.digest == digest }?.bytes ?? ports.store.blob(digest)
        guard let bytes, offset >= 0, offset < bytes.count else {
            endpoint.send(.blobMissing(digest), to: peer)
            return
        }
        let end = min(bytes.count, offset + Limits.blobChunkBytes)
        endpoint.send(
            .blobChunk(digest, offset: offset, totalBytes: bytes.count, bytes: Array(bytes[offset..<end])), to: peer)
    }

    private func warn(_ event: String, _ name: Name?, _ fields: [LogEntry.Field]) {
        let who = LogEntry.Field("worker", .text(name?.text ?? "unknown"))
        ports.telemetry.log(LogEntry(.warn, scope: "run", event: event, fields: [who] + fields))
    }

    // MARK: The core

    private func now() -> Tick {
        let elapsed = clock.now - start
        let (seconds, attoseconds) = elapsed.components
        return Tick(milliseconds: UInt64(max(0, seconds * 1_000 + attoseconds / 1_000_000_000_000_000)))
    }

    func feed(_ event: Event) {
        guard !isOver else { return }
        for action in core.step(event, at: now()) { perform(action) }
    }

    private func perform(_ action: Action) {
        guard failure == nil else { return }
        switch action {
        case .send(let name, let message):
            if let peer = connections[name] { endpoint.send(message, to: peer) }
        case .broadcast(let update):
            for name in core.learners(of: update.result.name) {
                if let peer = connections[name] { endpoint.send(.update(update), to: peer) }
            }
        case .checkpoint(let state):
            do { try ports.store.save(state) } catch { failure = error }
        case .apply(let order): apply(order)
        case .merge(let order): merge(order)
        case .forgetGradient(let shard): gradients.forget(shard)
        case .dismiss(let name, let reason):
            guard let peer = connections.removeValue(forKey: name) else { return }
            peers[peer] = nil
            endpoint.send(.end(reason: reason), to: peer)
        case .log(let entry): ports.telemetry.log(entry)
        case .metric(let entry): ports.telemetry.metric(entry)
        case .finish(let result): outcome = result
        }
    }
}
