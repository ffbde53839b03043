public import MMedCore
public import MMedProtocol
public import MMedScheduling

/// Feeds what happens into the core, performs its actions in their order, and reports their completion back.
public actor Coordinator {
    let endpoint: any CoordinatorEndpoint
    let ports: CoordinatorPorts
    let handshake: Handshake
    var core: CoordinatorCore
    var peers: [PeerID: Name] = [:]
    var connections: [Name: PeerID] = [:]
    /// When a connection without a name was last asked for one: a stranger may have sent a thousand messages.
    var asked: [PeerID: Tick] = [:]
    /// The void gradient lease that a worker was last told of, so that a gradient's many chunks get one answer.
    var toldVoid: [Name: LeaseID] = [:]
    var gradients = GradientIntake()
    /// Summed gradients that learners may still pull, newest last.
    var recentGradients: [(digest: Digest, bytes: [UInt8])] = []
    private var outcome: Outcome?
    var failure: (any Error)?
    private var isDraining = false
    private let clock = ContinuousClock()
    private let start: ContinuousClock.Instant
    /// Work outside of the actor that reports back with an event.
    let jobs: AsyncStream<@Sendable () async -> Void>.Continuation
    private let jobStream: AsyncStream<@Sendable () async -> Void>
    /// The grain of the core's clock: leases and waits are judged by it. A longer one than the beats' would look like a pause.
    private let tickMilliseconds: UInt64
    /// A stranger is asked who it is once in this time.
    private let askMilliseconds: UInt64 = 1_000

    /// A coordinator of a plan, from a state whose epoch is already on the disk.
    public init(
        plan: RunPlan, state: RunState, modelDigest: Digest, endpoint: any CoordinatorEndpoint, ports: CoordinatorPorts
    ) {
        core = CoordinatorCore(plan: plan, state: state)
        self.endpoint = endpoint
        self.ports = ports
        handshake = Handshake(modelDigest: modelDigest, adapters: plan.adapters.map(\.name))
        tickMilliseconds = min(100, max(1, plan.settings.beatMilliseconds))
        start = clock.now
        (jobStream, jobs) = AsyncStream.makeStream()
    }

    /// Runs until the core finishes; throws what a port threw when the run cannot go on, `internalError` when the wire
    /// closes before the end, and `CancellationError` when its task is cancelled.
    public func run() async throws -> Outcome {
        feed(.tick)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.listen() }
            group.addTask { await self.beat() }
            group.addTask { await self.work() }
            await group.next()
            group.cancelAll()
            // An update or a merge under way is finished: it writes what a resumed run may use.
            jobs.finish()
        }
        for peer in connections.values.sorted() { endpoint.send(.end(reason: endReason), to: peer) }
        await endpoint.close()
        if let failure { throw failure }
        if let outcome { return outcome }
        try Task.checkCancellation()
        throw MMedError(
            .internalError, at: "the wire", "it closed before the run was over",
            mend: "resume the run: it goes on from the last committed step")
    }

    /// Asks for a stop in good order: what is leased is finished and committed first.
    public func drain() {
        isDraining = true
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

    var isOver: Bool { outcome != nil || failure != nil }

    // MARK: Sources of events

    private func listen() async {
        for await inbound in endpoint.inbound {
            take(inbound)
            if isOver { return }
        }
    }

    private func beat() async {
        while !Task.isCancelled, !isOver {
            try? await clock.sleep(for: .milliseconds(tickMilliseconds))
            feed(.tick)
            pruneGradients()
            let now = now()
            asked = asked.filter { now.since($0.value) < askMilliseconds }
        }
    }

    /// Forgets the beginnings of gradients that will have no end.
    func pruneGradients() { gradients.prune { core.awaits($0, under: $1, from: $2) } }

    private func work() async {
        await withDiscardingTaskGroup { group in
            for await job in jobStream { group.addTask { await job() } }
        }
        // Only a cancelled run comes here; the other tasks end it.
    }

    // MARK: Sessions

    /// Says who comes and goes; `work` in `Coordinator+Messages.swift`.
    func take(_ inbound: InboundFromWorkers) {
        switch inbound {
        case .message(let peer, .hello(let hello)): greet(hello, peer)
        case .message(let peer, let message):
            if let name = peers[peer] { take(message, from: name, peer) } else { ask(peer) }
        case .malformed(let peer, let reason):
            warn("malformed-message", peers[peer], [.init("reason", .text(reason))])
        case .otherVersion(let peer, let major, let minor):
            let theirs = "\(major).\(minor)"
            let own = "\(WireVersion.major).\(WireVersion.minor)"
            endpoint.send(
                .refused(
                    reason: "you speak wire version \(theirs), this run \(own)",
                    mend: "run mmed-worker and mmed-coord of the same release"), to: peer)
            warn("other-version", peers[peer], [.init("theirs", .text(theirs)), .init("ours", .text(own))])
        case .unreachable(let peer):
            asked[peer] = nil
            if let name = release(peer) { feed(.left(name, reason: "its connection is gone")) }
        case .closed(let error): failure = error
        }
    }

    /// Asks a stranger who it is. What it sent before the answer reaches it needs no further question.
    private func ask(_ peer: PeerID) {
        let now = now()
        if let last = asked[peer], now.since(last) < askMilliseconds { return }
        asked[peer] = now
        endpoint.send(.introduceYourself, to: peer)
    }

    private func greet(_ hello: Hello, _ peer: PeerID) {
        asked[peer] = nil
        let holder = connections[hello.name] != nil ? core.hello(of: hello.name) : nil
        let judgement = handshake.judge(
            hello, by: peer.identity, holder: holder, holderIdentity: connections[hello.name]?.identity)
        switch judgement {
        case .refuse(let reason, let mend):
            endpoint.send(.refused(reason: reason, mend: mend), to: peer)
            warn("worker-refused", hello.name, [.init("reason", .text(reason)), .init("mend", .text(mend))])
        case .accept:
            if peers[peer] != hello.name, let former = release(peer) {
                feed(.left(former, reason: "its connection says that it is \(hello.name)"))
            }
            if let former = connections[hello.name], former != peer {
                peers[former] = nil
                if let holder, holder.instance != hello.instance {
                    // Left alone, it would introduce itself again and take the name back, for ever.
                    endpoint.send(.end(reason: "another process has taken the name \(hello.name)"), to: former)
                }
            }
            peers[peer] = hello.name
            connections[hello.name] = peer
            toldVoid[hello.name] = nil
            let settings = core.plan.settings
            endpoint.send(
                .welcome(
                    Welcome(
                        run: core.plan.run, seed: core.plan.seed, beatMilliseconds: Int(settings.beatMilliseconds),
                        adapters: core.plan.adapters)), to: peer)
            feed(.joined(hello))
            if isDraining { endpoint.send(.drain, to: peer) }
        }
    }

    /// Takes a connection off the books; the worker's name when it was the one the worker is reached by.
    func release(_ peer: PeerID) -> Name? {
        guard let name = peers.removeValue(forKey: peer), connections[name] == peer else { return nil }
        connections[name] = nil
        toldVoid[name] = nil
        return name
    }

    func warn(_ event: String, _ name: Name?, _ fields: [LogEntry.Field]) {
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
        // After a write that failed nothing may rest on it.
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
            guard let peer = connections[name], release(peer) != nil else { return }
            endpoint.send(.end(reason: reason), to: peer)
        case .log(let entry): ports.telemetry.log(entry)
        case .metric(let entry): ports.telemetry.metric(entry)
        case .finish(let result): outcome = result
        }
    }
}
