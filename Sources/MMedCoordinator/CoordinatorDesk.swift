public import MMedCore
public import MMedProtocol
public import MMedScheduling

/// What the coordinator's runtime must do, in this order. After one that fails none behind it may be done.
public enum DeskEffect: Sendable {
    /// Send to a connection; losing it is heard as `unreachable`.
    case send(CoordinatorMessage, to: PeerID)
    /// Write records durably as one group, beside everything else, and answer with `written`.
    case append([JournalRecord])
    /// Write the state durably before any later effect.
    case save(RunState)
    /// Sum the gradients in this order, apply AdamW, make it durable, and answer with `finished` or `refused`.
    case apply(UpdateOrder, gradients: [any ScratchBytes])
    /// Merge, make it durable, and answer with `merged`.
    case merge(MergeOrder)
    /// A line of the progress log.
    case log(LogEntry)
    /// A record of the metrics.
    case metric(LogEntry)
    /// The run is over.
    case finish(Outcome)
    /// What the run rests on is damaged: end it with this error.
    case fail(any Error)
}

/// Everything the coordinator decides, as a value without clock, tasks or I/O: sessions, judged paths, gradients, the core
/// and what waits for the disk. What happens goes in with the time, what to do comes out in order.
public struct CoordinatorDesk: Sendable {
    /// The decisions about work.
    public internal(set) var core: CoordinatorCore
    let handshake: Handshake
    let optimizer: any OptimizerPort
    let reward: any RewardPort
    let store: any StorePort
    var peers: [PeerID: Name] = [:]
    var connections: [Name: PeerID] = [:]
    /// When a connection without a name was last asked for one: a stranger may have sent a thousand messages.
    var asked: [PeerID: Tick] = [:]
    /// The void gradient lease that a worker was last told of, so that a gradient's many chunks get one answer.
    var toldVoid: [Name: LeaseID] = [:]
    /// When a worker's beat was last answered with the leases that are void.
    var toldOfBeat: [Name: Tick] = [:]
    var throttle = LogThrottle()
    var refusals = RefusalTally()
    var gradients = GradientIntake()
    /// Summed gradients that learners may still pull, newest last.
    var recentGradients: [(digest: Digest, gradient: any ScratchBytes)] = []
    /// What the core said to do and is not done yet, because a record before it is not on the disk.
    private var outbox = Outbox()
    private(set) var outcome: Outcome?
    var isDraining = false
    /// The time of what is being taken in.
    var now = Tick(milliseconds: 0)
    var effects: [DeskEffect] = []
    /// A stranger is asked who it is once in this time.
    let askMilliseconds: UInt64 = 1_000

    /// The desk of a plan, from a state whose epoch is already on the disk and what the journal knows beyond it; `kept` are
    /// blobs of updates in the journal that the store still has. Of the ports it calls what is answered at once: sizes and
    /// checks of gradients, verdicts, digests and blobs.
    public init(
        plan: RunPlan, state: RunState, journal: [JournalRecord] = [], kept: Set<Digest> = [], modelDigest: Digest,
        optimizer: any OptimizerPort, reward: any RewardPort, store: any StorePort
    ) {
        core = CoordinatorCore(plan: plan, state: state, journal: journal, kept: kept)
        handshake = Handshake(modelDigest: modelDigest, adapters: plan.adapters.map(\.name))
        self.optimizer = optimizer
        self.reward = reward
        self.store = store
    }

    // MARK: What happens

    /// Something came over the wire.
    public mutating func take(_ inbound: InboundFromWorkers, at now: Tick) -> [DeskEffect] {
        at(now) { $0.hear(inbound) }
    }

    /// Time passes.
    public mutating func tick(at now: Tick) -> [DeskEffect] {
        at(now) { desk in
            desk.feed(.tick)
            // The beginnings of gradients that will have no end.
            let core = desk.core
            desk.gradients.prune { core.awaits($0, under: $1, from: $2) }
            for line in desk.throttle.summary(at: now) { desk.effects.append(.log(line)) }
            if let counts = desk.refusals.due(at: now) { desk.effects.append(.metric(counts)) }
            desk.asked = desk.asked.filter { now.since($0.value) < desk.askMilliseconds }
        }
    }

    /// The user wants to stop in good order.
    public mutating func drain(at now: Tick) -> [DeskEffect] {
        at(now) { desk in
            desk.isDraining = true
            desk.feed(.drain)
            for peer in desk.connections.values.sorted() { desk.send(.drain, to: peer) }
        }
    }

    /// The group of the last `append` is on the disk.
    public mutating func written(at now: Tick) -> [DeskEffect] {
        at(now) { desk in
            for action in desk.outbox.written() { desk.perform(action) }
            desk.flush()
        }
    }

    /// An update is applied, and all of it is on the disk.
    public mutating func finished(_ order: UpdateOrder, _ applied: AppliedUpdate, at now: Tick) -> [DeskEffect] {
        at(now) { desk in
            desk.recentGradients.append((applied.result.gradientDigest, applied.gradient))
            // A learner pulls a gradient right after the announcement; one that is slower pulls the whole state instead.
            let kept = 2 * max(1, desk.core.plan.adapters.count)
            if desk.recentGradients.count > kept {
                desk.recentGradients.removeFirst(desk.recentGradients.count - kept)
            }
            desk.feed(.updateCommitted(order, applied.result))
        }
    }

    /// The sum of an update or what it would make is not finite: nothing has changed.
    public mutating func refused(_ order: UpdateOrder, reason: String, at now: Tick) -> [DeskEffect] {
        at(now) { $0.feed(.updateRefused(order, reason: reason)) }
    }

    /// The merge is done and on the disk.
    public mutating func merged(_ reference: AdapterReference, at now: Tick) -> [DeskEffect] {
        at(now) { $0.feed(.merged(reference)) }
    }

    /// What every connection with a name is told when the coordinator ends.
    public func farewell() -> [DeskEffect] {
        let reason =
            switch outcome {
            case .completed: "the run is complete"
            case .stopped: "the run was stopped; once it is resumed, start this worker again"
            case .noWorkers, .failed, nil: "the run ended early"
            }
        return connections.values.sorted().map { .send(.end(reason: reason), to: $0) }
    }

    /// Who a connection says it is; nil for a stranger, and for a connection that was replaced.
    public func name(of peer: PeerID) -> Name? { peers[peer] }

    /// Bytes of gradients, connections without a name, and what waits for the disk: what peers make it hold.
    public var held: (gradientBytes: Int, strangers: Int, summedGradients: Int, waitingActions: Int) {
        (gradients.byteCount, asked.count, recentGradients.count, outbox.waitingCount)
    }

    /// So much waits for the disk that nothing should be taken in before the next `written`.
    public var isBehind: Bool { outbox.isBehind }

    // MARK: The core

    private mutating func at(_ now: Tick, _ body: (inout CoordinatorDesk) -> Void) -> [DeskEffect] {
        self.now = now
        body(&self)
        defer { effects = [] }
        return effects
    }

    mutating func send(_ message: CoordinatorMessage, to peer: PeerID) { effects.append(.send(message, to: peer)) }

    mutating func feed(_ event: Event) {
        guard outcome == nil else { return }
        var actions = core.step(event, at: now)
        // At once: behind a record that waits for the disk it might meet another process that has come under the name.
        actions.removeAll { action in
            switch action {
            case .dismiss(let name, let reason):
                if let peer = connections[name], release(peer) != nil { send(.end(reason: reason), to: peer) }
            case .lose(let name): if let peer = connections[name] { _ = release(peer) }
            default: return false
            }
            return true
        }
        outbox.append(actions)
        flush()
    }

    /// In the order of the core's actions: a word that lets a worker forget its results must not overtake the record of them.
    mutating func tell(_ name: Name, _ message: CoordinatorMessage) {
        outbox.append([.send(name, message)])
        flush()
    }

    /// Performs what may be performed, and hands the next group of records to the journal.
    private mutating func flush() {
        while let action = outbox.next() { perform(action) }
        if let records = outbox.group() { effects.append(.append(records)) }
    }

    private mutating func perform(_ action: Action) {
        switch action {
        case .record: preconditionFailure("a record is written by the journal, before what follows it")
        case .dismiss, .lose: preconditionFailure("the end of a session does not wait")
        case .send(let name, let message):
            if let peer = connections[name] { send(message, to: peer) }
        case .broadcast(let update):
            for name in core.learners(of: update.result.name) {
                if let peer = connections[name] { send(.update(update), to: peer) }
            }
        case .checkpoint(let state): effects.append(.save(state))
        case .apply(let order):
            guard let parts = gradients.gradients(of: order.shards) else {
                preconditionFailure("the core ordered an update before all of its shards were here")
            }
            effects.append(.apply(order, gradients: parts))
        case .merge(let order): effects.append(.merge(order))
        case .forgetGradient(let shard): gradients.forget(shard)
        case .log(let entry): write(entry)
        case .metric(let entry): effects.append(.metric(entry))
        case .finish(let result):
            outcome = result
            for line in throttle.summary(at: now, isLast: true) { effects.append(.log(line)) }
            if let counts = refusals.entry { effects += [.log(counts), .metric(counts)] }
            effects.append(.finish(result))
        }
    }
}
