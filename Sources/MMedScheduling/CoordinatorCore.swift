import MMedAlgorithms
public import MMedCore
import MMedProtocol

/// The coordinator's decisions as a pure function of its state, an event and the time: no clock, no I/O, no hash order.
/// The runtime performs the actions in their order and reports their completion as further events.
public struct CoordinatorCore: Sendable {
    /// The plan, fixed for the whole run.
    public let plan: RunPlan
    /// What the next checkpoint will hold.
    public internal(set) var state: RunState
    var tracks: [TrackState] = []
    var workers: [Name: WorkerState] = [:]
    var leases: [LeaseID: LeaseState] = [:]
    var nextFence: UInt64
    var isStarted = false
    var isDraining = false
    var isFinished = false
    var mergeIsUnderWay = false
    /// Counts what moves the run; the stall line appears when it stands still.
    var lastMovement = Tick(milliseconds: 0)
    var lastStallLine = Tick(milliseconds: 0)
    /// Since when a needed role has no worker.
    var missingSince: [WorkerRole: Tick] = [:]
    var actions: [Action] = []

    /// A run that begins, or goes on from a checkpoint's state (with its epoch already raised and durable).
    public init(plan: RunPlan, state: RunState) {
        self.plan = plan
        self.state = state
        // 24 bits of epoch above 40 bits of grants: fences of an older coordinator are always smaller.
        nextFence = state.epoch << 40
    }

    /// Takes in one event and says what to do about it.
    public mutating func step(_ event: Event, at now: Tick) -> [Action] {
        actions = []
        guard !isFinished else { return [] }
        if !isStarted {
            isStarted = true
            lastMovement = now
            lastStallLine = now
            enterStage(at: now)
        }
        handle(event, at: now)
        if !isFinished {
            expireLeases(at: now)
            grantLeases(at: now)
            watch(at: now)
            finishIfDrained()
        }
        let result = actions
        actions = []
        return result
    }

    private mutating func handle(_ event: Event, at now: Tick) {
        switch event {
        case .joined(let hello): join(hello, at: now)
        case .left(let name, let reason): leave(name, reason: reason)
        case .ready(let name, let credits): addCredits(name, credits, at: now)
        case .beat(let name, let beat): hear(name, beat, at: now)
        case .trajectories(let name, let lease, let paths): take(paths, of: lease, from: name, at: now)
        case .gradient(let name, let lease, let shard, let statistics):
            takeGradient(shard, statistics, of: lease, from: name, at: now)
        case .leaseFailed(let name, let lease, let reason): giveBack(lease, from: name, reason: reason, at: now)
        case .replica(let name, let reference): checkReplica(name, reference, at: now)
        case .updateCommitted(let order, let result): commit(order, result, at: now)
        case .updateRefused(let order, let reason): skipUpdate(order, reason: reason, at: now)
        case .merged(let reference): takeMerged(reference, at: now)
        case .tick: break
        case .drain: drain()
        }
    }

    var stage: StagePlan { plan.stages[state.stage] }

    /// `dsa/pediatrics`, the scope of a track's log lines.
    func scope(_ track: TrackState) -> String { "\(stage.name)/\(track.plan.specialty)" }

    mutating func log(
        _ level: LogLevel = .info, _ scope: String, step: Int? = nil, _ event: String, _ fields: [LogEntry.Field] = []
    ) {
        actions.append(.log(LogEntry(level, scope: scope, step: step, event: event, fields: fields)))
    }

    mutating func moved(at now: Tick) { lastMovement = now }

    // MARK: Stopping

    private mutating func drain() {
        guard !isDraining else { return }
        isDraining = true
        log(
            .info, "run", "drain",
            [.init("leases", .int(leases.count)), .init("why", .text("asked to stop; finishing what is leased"))])
    }

    /// A drained run ends when no lease and no commit is under way; what is committed is already in the checkpoint.
    private mutating func finishIfDrained() {
        guard isDraining, !isFinished, leases.isEmpty, !mergeIsUnderWay, !isCommitting else { return }
        finish(.stopped)
    }

    private var isCommitting: Bool {
        tracks.contains { track in
            track.steps.contains { step in
                if case .committing = step.phase { return true }
                return false
            }
        }
    }

    mutating func finish(_ outcome: Outcome) {
        isFinished = true
        actions.append(.checkpoint(state))
        actions.append(.finish(outcome))
    }
}
