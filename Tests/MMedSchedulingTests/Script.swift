import MMedAlgorithms
import MMedCore
import MMedProtocol

@testable import MMedScheduling

/// Drives a core by hand and writes down, line by line, what it was told and what it said to do.
struct Script {
    var core: CoordinatorCore
    private(set) var lines: [String] = []
    private(set) var last: [Action] = []
    private var seconds = 0.0
    /// Leases as they were sent, in order.
    private(set) var rollouts: [RolloutLease] = []
    private(set) var gradients: [GradientLease] = []
    private(set) var orders: [UpdateOrder] = []
    private var instances: UInt64 = 0

    init(_ plan: RunPlan, state: RunState? = nil) {
        core = CoordinatorCore(plan: plan, state: state ?? Plans.initialState(plan))
    }

    var outcome: Outcome? { core.ending }
    var text: String { lines.joined(separator: "\n") }
    /// Log lines since the last call of `tell` or `wait`.
    private(set) var entries: [LogEntry] = []

    /// Tells the core something; `what` is how the transcript calls it.
    @discardableResult
    mutating func tell(_ event: Event, _ what: String? = nil) -> [Action] {
        entries = []
        return step(event, what)
    }

    @discardableResult
    private mutating func step(_ event: Event, _ what: String?) -> [Action] {
        if let what { lines.append("@\(seconds) \(what)") }
        last = core.step(event, at: Tick(milliseconds: UInt64(seconds * 1_000)))
        for action in last {
            if case .log(let entry) = action { entries.append(entry) }
            record(action, isShown: what != nil)
        }
        return last
    }

    /// The coordinator is stopped, and goes on with a look at the time.
    mutating func sleep(_ duration: Double) {
        seconds += duration
        tell(.tick)
    }

    /// Lets time pass in steps of at most a second, so that the core does not take it for its own pause. `beating` says
    /// which workers give signs of life, without progress.
    mutating func wait(_ duration: Double, beating: [String] = [], shown: Bool = false) {
        let end = seconds + duration
        entries = []
        while seconds < end && core.ending == nil {
            seconds = min(end, seconds + 1)
            for name in beating { step(.beat(Name(name)!, Beat(phase: .sampling, progress: 0, leases: [])), nil) }
            let before = lines.count
            step(.tick, shown ? "tick" : nil)
            // A tick that does nothing is not worth a line.
            if shown && lines.count == before + 1 { lines.removeLast() }
        }
    }

    @discardableResult
    mutating func join(_ name: String, _ role: WorkerRole, adapters: [Name] = [], credits: Int = 1) -> Hello {
        instances += 1
        let hello = Hello(
            role: role, name: Name(name)!, instance: instances, modelDigest: Bytes().digest, threads: 2,
            adapters: adapters, host: "host", processID: 7)
        tell(.joined(hello), "\(name) joins")
        if credits > 0 { tell(.ready(Name(name)!, credits: credits), "\(name) is ready for \(credits)") }
        return hello
    }

    /// The paths of a lease as the fake engine samples them.
    func paths(of lease: RolloutLease) -> [Trajectory] {
        lease.questions.flatMap { question in
            question.slots.map { FakeEngine.path($0, question, seed: core.plan.seed) }
        }
    }

    func judged(_ paths: [Trajectory]) -> [JudgedTrajectory] {
        paths.map { path in
            JudgedTrajectory(
                trajectory: path,
                parts: core.rewardTask(of: path.slot).map { FakeEngine.judge(path, $0) } ?? .lateArrival)
        }
    }

    /// A worker returns all of a lease.
    @discardableResult
    mutating func sample(_ name: String, _ lease: RolloutLease) -> [Action] {
        tell(
            .trajectories(Name(name)!, lease.lease, judged(paths(of: lease))),
            "\(name) returns \(Script.short(lease.lease))")
    }

    @discardableResult
    mutating func differentiate(_ name: String, _ lease: GradientLease) -> [Action] {
        tell(
            .gradient(
                Name(name)!, lease.lease, lease.shard, FakeEngine.statistics(lease), digest: FakeEngine.gradient(lease)
            ),
            "\(name) returns \(Script.short(lease.lease))")
    }

    @discardableResult
    mutating func commit(_ order: UpdateOrder) -> [Action] {
        let result = FakeEngine.apply(order, gradients: [], refusesOneIn: 0)!
        return tell(.updateCommitted(order, result), "update \(result.head.reference.version) is committed")
    }

    static func short(_ lease: LeaseID) -> String { "L\(lease.fence & ((1 << 40) - 1))" }

    private mutating func record(_ action: Action, isShown: Bool) {
        if case .send(_, .rollout(let lease)) = action { rollouts.append(lease) }
        if case .send(_, .gradient(let lease)) = action { gradients.append(lease) }
        if case .apply(let order) = action { orders.append(order) }
        if isShown { show(action) }
    }

    /// Records of one kind that follow each other share a line.
    private mutating func show(_ action: Action) {
        guard case .record(let record) = action else {
            lines.append("  " + Script.text(of: action))
            return
        }
        let kind = Script.kind(of: record)
        guard let last = lines.last, last.hasPrefix("  record "), last.hasSuffix(" \(kind)"),
            let count = Int(last.split(separator: " ")[1])
        else {
            lines.append("  record 1 \(kind)")
            return
        }
        lines[lines.count - 1] = "  record \(count + 1) \(kind)"
    }

    private static func kind(of record: JournalRecord) -> String {
        switch record {
        case .session(let epoch): return "session: epoch \(epoch)"
        case .path: return "path"
        case .drop(let drop):
            if drop.isVoided { return "path void: \(drop.reason)" }
            return drop.isGivenUp ? "slot given up: \(drop.reason)" : "path dropped: \(drop.reason)"
        case .groups(let groups):
            let counts = PathUse.allCases.compactMap { use -> String? in
                let count = groups.members.count { $0.use == use }
                return count == 0 ? nil : "\(count) \(use.rawValue)"
            }
            return "step's groups: \(counts.joined(separator: ", "))"
        case .update(let update):
            return "update: \(update.base.name) v\(update.base.version) -> v\(update.result.head.reference.version)"
        case .merge(let merge): return "merge of \(merge.order.inputs.count)"
        case .quarantine(let worker): return "quarantine of \(worker.worker)"
        }
    }

    static func text(of action: Action) -> String {
        switch action {
        case .record(let record): "record 1 \(kind(of: record))"
        case .send(let name, let message): "\(name) <- \(text(of: message))"
        case .broadcast(let update): "broadcast \(update.result.name) v\(update.result.version)"
        case .checkpoint(let state):
            "checkpoint stage \(state.stage) steps \(state.tracks.map(\.committedSteps)) heads "
                + "\(state.heads.map(\.reference.version))"
        case .apply(let order):
            "apply \(order.shards.count) shards to \(order.base.reference.name) "
                + "v\(order.base.reference.version)"
        case .merge(let order): "merge \(order.inputs.count) adapters"
        case .forgetGradient(let shard): "forget shard \(shard.shard)"
        case .dismiss(let name, let reason): "dismiss \(name): \(reason)"
        case .lose(let name): "lose \(name)"
        case .log(let entry): text(of: entry)
        case .metric(let entry): "metric \(entry.scope) \(entry.event)"
        case .finish(let outcome): "finish \(outcome)"
        }
    }

    static func text(of entry: LogEntry) -> String {
        let fields = entry.fields.map { field in
            switch field.value {
            case .int(let value): "\(field.key)=\(value)"
            case .double(let value): "\(field.key)=\((value * 10_000).rounded() / 10_000)"
            case .text(let value): value.contains(" ") ? "\(field.key)=\"\(value)\"" : "\(field.key)=\(value)"
            }
        }
        let step = entry.step.map { " \($0)" } ?? " -"
        return ([entry.level.rawValue, entry.scope + step, entry.event] + fields).joined(separator: " ")
    }

    private static func text(of message: CoordinatorMessage) -> String {
        switch message {
        case .rollout(let lease):
            "\(short(lease.lease)): "
                + lease.questions.flatMap(\.slots).map(\.description).joined(separator: " ")
        case .gradient(let lease):
            "\(short(lease.lease)): shard \(lease.shard.shard) of update \(lease.shard.update), \(lease.adapter.name) "
                + "v\(lease.adapter.version)"
        case .trajectoriesRecorded(let lease, let slots): "recorded \(slots.count) of \(short(lease))"
        case .leaseRevoked(let lease, let reason): "revoked \(short(lease)): \(reason)"
        default: "\(message)"
        }
    }
}
