public import MMedCore
public import MMedProtocol
public import MMedScheduling

/// Feeds what happens to the desk, performs its effects in their order, and reports their completion back.
public actor Coordinator {
    let endpoint: any CoordinatorEndpoint
    let ports: CoordinatorPorts
    var desk: CoordinatorDesk
    private var outcome: Outcome?
    var failure: (any Error)? { didSet { wakeListener() } }
    /// Waits until the disk has caught up; a write that was ordered always ends.
    private var listener: CheckedContinuation<Void, Never>?
    private let clock = ContinuousClock()
    private let start: ContinuousClock.Instant
    /// Work outside of the actor that reports back with an event.
    let jobs: AsyncStream<@Sendable () async -> Void>.Continuation
    private let jobStream: AsyncStream<@Sendable () async -> Void>
    /// The grain of the core's clock: leases and waits are judged by it. A longer one than the beats' would look like a pause.
    private let tickMilliseconds: UInt64

    /// A coordinator of a plan, from a state whose epoch is already on the disk and what the journal knows beyond it; `kept`
    /// are blobs of updates in the journal that the store still has.
    public init(
        plan: RunPlan, state: RunState, journal: [JournalRecord] = [], kept: Set<Digest> = [], modelDigest: Digest,
        endpoint: any CoordinatorEndpoint, ports: CoordinatorPorts
    ) {
        desk = CoordinatorDesk(
            plan: plan, state: state, journal: journal, kept: kept, modelDigest: modelDigest,
            optimizer: ports.optimizer,
            reward: ports.reward, store: ports.store)
        self.endpoint = endpoint
        self.ports = ports
        tickMilliseconds = min(100, max(1, plan.settings.beatMilliseconds))
        start = clock.now
        (jobStream, jobs) = AsyncStream.makeStream()
    }

    /// Runs until the core finishes; throws what a port threw when the run cannot go on, `internalError` when the wire
    /// closes before the end, and `CancellationError` when its task is cancelled. `whenOver` is called when nothing more will
    /// be done, before anybody is told: the farewell takes a while where somebody does not answer it.
    public func run(whenOver: @Sendable () -> Void = {}) async throws -> Outcome {
        perform(desk.tick(at: now()))
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.listen() }
            group.addTask { await self.beat() }
            group.addTask { await self.work() }
            await group.next()
            group.cancelAll()
            // An update or a merge under way is finished: it writes what a resumed run may use.
            jobs.finish()
        }
        whenOver()
        for case .send(let message, let peer) in desk.farewell() { endpoint.send(message, to: peer) }
        await endpoint.close()
        if let failure { throw failure }
        if let outcome { return outcome }
        try Task.checkCancellation()
        throw MMedError(
            .internalError, at: "the wire", "it closed before the run was over",
            mend: "resume the run: it goes on from the last committed step")
    }

    /// Asks for a stop in good order: what is leased is finished and committed first.
    public func drain() { perform(desk.drain(at: now())) }

    private var isOver: Bool { outcome != nil || failure != nil }

    // MARK: Sources of events

    private func listen() async {
        for await inbound in endpoint.inbound {
            if case .closed(let error) = inbound {
                if failure == nil { failure = error }
                return
            }
            perform(desk.take(inbound, at: now()))
            endpoint.handled()
            if isOver { return }
            while desk.isBehind, !isOver { await withCheckedContinuation { listener = $0 } }
        }
    }

    private func beat() async {
        while !Task.isCancelled, !isOver {
            try? await clock.sleep(for: .milliseconds(tickMilliseconds))
            perform(desk.tick(at: now()))
        }
    }

    private func work() async {
        await withDiscardingTaskGroup { group in
            for await job in jobStream { group.addTask { await job() } }
        }
        // Only a cancelled run comes here; the other tasks end it.
    }

    func wakeListener() {
        listener?.resume()
        listener = nil
    }

    // MARK: Effects

    func now() -> Tick {
        let elapsed = clock.now - start
        let (seconds, attoseconds) = elapsed.components
        return Tick(milliseconds: UInt64(max(0, seconds * 1_000 + attoseconds / 1_000_000_000_000_000)))
    }

    /// After a write that failed nothing may rest on it, and after the end nothing is left to do.
    func perform(_ effects: [DeskEffect]) {
        for effect in effects where !isOver {
            switch effect {
            case .send(let message, let peer): endpoint.send(message, to: peer)
            case .append(let records): append(records)
            case .save(let state):
                do { try ports.store.save(state) } catch { failure = error }
            case .apply(let order, let gradients): apply(order, gradients)
            case .merge(let order): merge(order)
            case .log(let entry): ports.telemetry.log(entry)
            case .metric(let entry): ports.telemetry.metric(entry)
            case .finish(let result): outcome = result
            case .fail(let error): failure = error
            }
        }
    }
}
