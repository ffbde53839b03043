import MMedAlgorithms
public import MMedCore
import MMedProtocol

/// The coordinator's decisions as a pure function of its state, an event and the time: no clock, no I/O, no hash order.
/// The runtime performs the actions in their order and reports their completion as further events.
public struct CoordinatorCore: Sendable {
    /// The plan, fixed for the whole run.
    public let plan: RunPlan
    /// What the next checkpoint will hold: whole steps, and nothing that timing decides.
    public internal(set) var state: RunState
    /// The time of the event that is being handled.
    var now = Tick(milliseconds: 0)
    var isStarted = false
    var isDraining = false
    var mergeUnderWay: MergeOrder?
    /// Set once: how the run ends.
    var ending: Outcome?
    /// Index of the stage that `tracks` belongs to, and since when.
    var enteredStage: Int?
    var enteredAt = Tick(milliseconds: 0)
    var tracks: [TrackState] = []
    var workers: [Name: WorkerState] = [:]
    /// The keys of `workers` in order.
    var workerNames: [Name] = []
    /// No worker is silent for too long before this: the last word of each only becomes later.
    var silenceDueAt = Tick(milliseconds: 0)
    var leases: [LeaseID: LeaseState] = [:]
    var nextFence: UInt64
    var checkpointIsDue = false
    /// When something last moved the run; the stall line appears when it stands still.
    var lastMovement = Tick(milliseconds: 0)
    var lastStallLine = Tick(milliseconds: 0)
    /// When the log last got a line.
    var lastLine = Tick(milliseconds: 0)
    /// Since when a needed role has no worker.
    var missingSince: [Need: Tick] = [:]
    var actions: [Action] = []
    /// What workers' canaries scored with each version, oldest version first.
    var canaries: [CanaryLedger] = []
    /// What the journal knows beyond the checkpoint.
    var openWork: OpenWork
    /// Work that is computed a second time, and who was caught by it.
    var spot = SpotState()

    /// A run that begins, or goes on from a checkpoint's state (with its epoch already raised and durable) and from what
    /// the journal knows of steps that were not committed; records of committed steps are left out. An update that the
    /// journal has is not made again where its weights and moments are among `kept`, the digests that the store still has.
    public init(plan: RunPlan, state: RunState, journal: [JournalRecord] = [], kept: Set<Digest> = []) {
        self.plan = plan
        self.state = state
        openWork = OpenWork(journal, after: state, kept: kept)
        spot.quarantined = openWork.quarantined
        // 24 bits of epoch above 40 bits of grants: fences of an older coordinator are always smaller.
        nextFence = state.epoch << LeaseID.grantBits
    }

    /// Takes in one event and says what to do about it.
    public mutating func step(_ event: Event, at now: Tick) -> [Action] {
        guard ending == nil else { return [] }
        actions = []
        let before = self.now
        self.now = now
        if isStarted { forgivePause(since: before) } else { begin() }
        if ending == nil { handle(event) }
        expireLeases()
        settle()
        // Durable before any lease that rests on it.
        if checkpointIsDue { checkpoint() }
        grantLeases()
        watch()
        finishIfDrained()
        if let ending {
            if checkpointIsDue { checkpoint() }
            actions.append(.finish(ending))
        }
        let result = actions
        actions = []
        return result
    }

    private mutating func begin() {
        isStarted = true
        lastMovement = now
        lastStallLine = now
        if let problem = planProblem() {
            log(.error, "run", "plan-refused", [.init("reason", .text(problem))])
            end(.failed(problem))
            return
        }
        actions.append(.record(.session(epoch: state.epoch)))
        let isFresh = state.epoch == 1
        if !isFresh { spot.settlesAt = now + plan.settings.beatMilliseconds * plan.settings.silentBeats }
        var fields: [LogEntry.Field] = [
            .init("run", .text(plan.run.text)), .init("stages", .int(plan.stages.count)),
            .init("adapters", .int(plan.adapters.count)), .init("epoch", .int(Int(clamping: state.epoch))),
        ]
        if !isFresh { fields.append(.init("paths_kept", .int(openWork.paths.count))) }
        log(.info, "run", isFresh ? "run-begins" : "run-resumes", fields)
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .joined(let hello, let identity): join(hello, identity)
        case .left(let name, let reason): leave(name, reason: reason)
        case .ready(let name, let credits): addCredits(name, credits)
        case .beat(let name, let beat): hear(name, beat)
        case .trajectories(let name, let lease, let paths): take(paths, of: lease, from: name)
        case .gradient(let name, let lease, let shard, let statistics, let digest):
            takeGradient(shard, statistics, digest, of: lease, from: name)
        case .leaseFailed(let name, let lease, let reason): giveBack(lease, from: name, reason: reason)
        case .replica(let name, let reference): checkReplica(name, reference)
        case .canary(let name, let report): take(report, from: name)
        case .updateCommitted(let order, let result): commit(order, result)
        case .updateRefused(let order, let reason): skipUpdate(order, reason: reason)
        case .merged(let reference): takeMerged(reference)
        case .tick: break
        case .drain: drain()
        }
    }

    var stage: StagePlan { plan.stages[state.stage] }

    /// `dsa/pediatrics`, the scope of a track's log lines.
    func scope(_ track: Int) -> String { "\(stage.name)/\(tracks[track].plan.specialty)" }

    /// A line of the log. A reader counts steps from 1, the core from 0.
    mutating func log(
        _ level: LogLevel, _ scope: String, step: Int? = nil, _ event: String, _ fields: [LogEntry.Field] = []
    ) {
        lastLine = now
        actions.append(.log(LogEntry(level, scope: scope, step: step.map { $0 + 1 }, event: event, fields: fields)))
    }

    mutating func metric(_ scope: String, step: Int? = nil, _ event: String, _ fields: [LogEntry.Field]) {
        actions.append(.metric(LogEntry(.info, scope: scope, step: step.map { $0 + 1 }, event: event, fields: fields)))
    }

    mutating func moved() { lastMovement = now }

    /// A pause of the coordinator itself (a stopped process, a slow disk) is nobody else's fault: what it could not hear
    /// then is held against no worker.
    private mutating func forgivePause(since before: Tick) {
        let pause = now.since(before)
        guard pause > 2 * plan.settings.beatMilliseconds else { return }
        for name in workerNames {
            guard var worker = workers[name] else { continue }
            worker.lastHeard = worker.lastHeard + pause
            workers[name] = worker
        }
        for lease in leases.keys.sorted() {
            guard var held = leases[lease] else { continue }
            held.deadline = held.deadline + pause
            held.lastDeadline = held.lastDeadline + pause
            leases[lease] = held
        }
        missingSince = missingSince.mapValues { $0 + pause }
        spot.forgive(pause)
    }

    // MARK: Stopping

    private mutating func drain() {
        guard !isDraining else { return }
        isDraining = true
        log(
            .info, "run", "drain",
            [
                .init("leases", .int(leases.count)),
                .init("why", .text("asked to stop: what is leased is finished, nothing new begins")),
            ])
    }

    /// A drained run ends when no lease and no commit is under way; what is committed is already in the checkpoint.
    private mutating func finishIfDrained() {
        guard isDraining, ending == nil, leases.isEmpty, mergeUnderWay == nil else { return }
        let isCommitting = tracks.contains { track in
            track.steps.contains { step in
                if case .committing = step.phase { return true }
                return false
            }
        }
        if isCommitting { return }
        log(.info, "run", "stopped", [.init("resume", .text("it goes on from the last committed step"))])
        end(.stopped)
    }

    /// The first reason to end stands.
    mutating func end(_ outcome: Outcome) {
        guard ending == nil else { return }
        ending = outcome
        checkpointIsDue = true
    }

    private mutating func checkpoint() {
        checkpointIsDue = false
        actions.append(.checkpoint(state))
    }
}
