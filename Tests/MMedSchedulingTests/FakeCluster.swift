import MMedAlgorithms
import MMedCore
import MMedProtocol

@testable import MMedScheduling

/// What may go wrong, in chances of a thousand.
struct Faults {
    /// A worker dies at a beat, with or without a goodbye, or a new process takes its name.
    var death = 0
    /// A worker's message arrives twice.
    var duplicate = 0
    /// A lease never reaches its worker, or the worker hangs on it.
    var loss = 0
    /// A worker's connection changes at a beat.
    var reconnect = 0
    /// The coordinator is killed after an event and starts again from its last checkpoint.
    var restart = 0
    /// The user asks to stop after an event, and resumes.
    var drain = 0
    /// A lease ends with an error.
    var failure = 0
    /// One update in so many is refused as not finite; its content decides, so that every run refuses the same.
    var refusesOneIn: UInt64 = 0
    /// Milliseconds on the way and at work at most.
    var delayMax = 2_000
    /// Times by which work takes longer than that.
    var slowLearners: UInt64 = 1
    var slowRollouts: UInt64 = 1

    static let none = Faults()
    static let heavy = Faults(
        death: 30, duplicate: 200, loss: 20, reconnect: 20, restart: 3, drain: 2, failure: 20, delayMax: 6_000)
}

struct FakeWorker {
    var hello: Hello
    var progress: UInt64 = 0
    var held: [LeaseID] = []
    var isHung = false
    var asks = 2
}

/// A coordinator core among fake workers, on a virtual clock, every chance drawn from one seed. It checks what must hold
/// after every event, and runs until the core finishes.
struct FakeCluster {
    enum Item {
        case tick
        case beat(instance: UInt64)
        case join(Name, WorkerRole, [Name])
        case event(Event)
        case paths(Name, LeaseID, [Trajectory])
        case endOfWork(instance: UInt64, LeaseID)
        /// Completions die with the coordinator that ordered them.
        case completion(epoch: UInt64, Event)
    }

    let plan: RunPlan
    let faults: Faults
    var core: CoordinatorCore
    var checkpoint: RunState
    /// Outlives the coordinator, like the checkpoint.
    var journal: [JournalRecord] = []
    var draw: Draw
    var now: UInt64 = 0
    var queue: [(due: UInt64, tie: UInt64, item: Item)] = []
    var workers: [FakeWorker] = []
    var gradients: [ShardID: Digest] = [:]
    /// Workers that lie, by name.
    var cheats: [Name: Cheat] = [:]
    var instances: UInt64 = 0
    var lastFence: UInt64 = 0
    var outcome: Outcome?
    var events = 0
    var entries: [LogEntry] = []
    var metrics: [LogEntry] = []
    var problems: [String] = []
    var restarts = 0
    var stops = 0
    var deaths = 0
    /// Restart right after the checkpoint of this number, counted over the whole run.
    var restartAfterCheckpoint: Int?
    var checkpoints = 0
    /// Kill the coordinator right after it has written the record of this number: what was to follow is never done.
    var killAfterRecord: Int?
    private var isKilled = false
    /// Slots that a worker was told are recorded, and that no record tells of.
    var liesToWorkers: [SlotID] = []
    private var recordedSlots = Set<SlotID>()
    /// Slots whose recorded path is a lie.
    var liedSlots = Set<SlotID>()
    /// Lies about what another worker had brought.
    var liedChecks = 0
    /// The invariants cost more than the event itself.
    var invariantsEvery = 4

    init(plan: RunPlan, seed: UInt64, faults: Faults = .none, rollouts: Int, learners: Int) {
        self.plan = plan
        self.faults = faults
        checkpoint = Plans.initialState(plan)
        core = CoordinatorCore(plan: plan, state: checkpoint)
        draw = Draw(seed: seed)
        put(.tick, in: 0)
        for index in 0..<rollouts { put(.join(Name("rollout-\(index)")!, .rollout, []), in: delay()) }
        for index in 0..<learners {
            // With three or more, the last two hold some adapters alone.
            let adapters = plan.adapters.map(\.name)
            let held: [Name] =
                learners < 3 || index < learners - 2
                ? [] : index == learners - 1 ? [adapters[0]] : Array(adapters.dropFirst())
            put(.join(Name("learner-\(index)")!, .learner, held), in: delay())
        }
    }

    mutating func delay() -> UInt64 { UInt64(draw.int(1...max(1, faults.delayMax))) }

    mutating func put(_ item: Item, in milliseconds: UInt64) {
        queue.append((now + milliseconds, draw.word(), item))
    }

    /// Runs until the core finishes for good, or too many events say that it hangs.
    mutating func run(eventsMax: Int = 60_000) -> Outcome? {
        while outcome == nil, events < eventsMax, problems.isEmpty, let next = takeNext() { handle(next) }
        return outcome
    }

    private mutating func takeNext() -> Item? {
        guard var best = queue.indices.first else { return nil }
        for index in queue.indices
        where (queue[index].due, queue[index].tie) < (queue[best].due, queue[best].tie) { best = index }
        let item = queue[best]
        queue.swapAt(best, queue.count - 1)
        queue.removeLast()
        now = item.due
        return item.item
    }

    mutating func handle(_ item: Item) {
        switch item {
        case .tick:
            feed(.tick)
            put(.tick, in: 500)
        case .beat(let instance): beat(instance)
        case .join(let name, let role, let adapters): join(name, role, adapters)
        case .event(let event): feed(event)
        case .paths(let name, let lease, let paths):
            liedChecks += paths.count {
                cheats[name]?.lies(about: .path($0.slot)) == true && isChecking($0, lease, name)
            }
            feed(
                .trajectories(
                    name, lease,
                    paths.map { path in
                        let task = core.rewardTask(of: path.slot)
                        return JudgedTrajectory(
                            trajectory: path, parts: task.map { FakeEngine.judge(path, $0) } ?? .lateArrival)
                    }))
        case .endOfWork(let instance, let lease):
            guard let place = workers.firstIndex(where: { $0.hello.instance == instance }) else { return }
            workers[place].held.removeAll { $0 == lease }
            feed(.ready(workers[place].hello.name, credits: 1))
        case .completion(let epoch, let event): if epoch == checkpoint.epoch { feed(event) }
        }
    }

    mutating func feed(_ event: Event) {
        events += 1
        hold(event)
        let actions = core.step(event, at: Tick(milliseconds: now))
        for action in actions where !isKilled { perform(action) }
        if events % invariantsEvery == 0 { problems += Invariants.problems(of: core) }
        if !isKilled { expectThatHeldGradientsCount() }
        if isKilled {
            (isKilled, killAfterRecord, outcome) = (false, nil, nil)
            restart()
        }
        if let due = restartAfterCheckpoint, checkpoints > due {
            restartAfterCheckpoint = nil
            restart()
        }
        guard outcome == nil || outcome == .stopped else { return }
        if outcome == .stopped {
            outcome = nil
            stops += 1
            restart()
        } else if draw.chance(faults.restart) && draw.chance(300) {
            restart()
        } else if draw.chance(faults.drain) && draw.chance(300) {
            put(.event(.drain), in: 0)
        }
    }

    private mutating func expectThatHeldGradientsCount() {
        for shard in gradients.keys.sorted() where !core.counts(shard) {
            problems.append("the gradient of shard \(shard) is kept, and does not count")
        }
    }

    /// Kill and resume: only the journal and the last checkpoint survive, and workers introduce themselves again.
    mutating func restart() {
        restarts += 1
        checkpoint.epoch += 1
        // A store may have lost what an update made; it is made again then.
        let updates = restarts % 3 == 0 ? [] : checkpoint.openUpdates(in: journal)
        core = CoordinatorCore(
            plan: plan, state: checkpoint, journal: journal, kept: Set(updates.flatMap(\.result.head.digests)))
        gradients = [:]
        queue.removeAll { if case .completion = $0.item { true } else { false } }
        for place in workers.indices {
            let worker = workers[place]
            put(.event(.joined(worker.hello)), in: 1)
            if plan.settings.spotCheck > 0 { put(.event(FakeCluster.canary(of: worker.hello.name)), in: 2) }
            put(.event(.ready(worker.hello.name, credits: max(0, worker.asks - worker.held.count))), in: 2)
        }
    }

    private mutating func perform(_ action: Action) {
        switch action {
        case .record(let record): write(record)
        case .send(let name, let message):
            if case .trajectoriesRecorded(_, let slots) = message { check(slots) }
            deliver(message, to: name)
        case .broadcast: break
        case .checkpoint(let state):
            if state.epoch != checkpoint.epoch { problems.append("a checkpoint of epoch \(state.epoch)") }
            checkpoint = state
            checkpoints += 1
        case .apply(let order): apply(order)
        case .merge(let order):
            put(.completion(epoch: checkpoint.epoch, .merged(FakeEngine.merge(order))), in: delay())
        case .forgetGradient(let shard): gradients[shard] = nil
        case .dismiss(let name, _), .lose(let name):
            guard let place = workers.firstIndex(where: { $0.hello.name == name }) else { return }
            if core.quarantineReason(of: name, nil) == nil { respawn(place) } else { workers.remove(at: place) }
        case .log(let entry): entries.append(entry)
        case .metric(let entry): metrics.append(entry)
        case .finish(let result):
            if outcome != nil { problems.append("finished twice") }
            outcome = result
        }
    }

    private mutating func write(_ record: JournalRecord) {
        journal.append(record)
        switch record {
        case .path(let path):
            let slot = path.path.trajectory.slot
            if !recordedSlots.insert(slot).inserted { problems.append("slot \(slot) is recorded twice") }
            if cheats[path.worker]?.lies(about: .path(slot)) == true { liedSlots.insert(slot) }
        case .drop(let drop) where drop.isVoided:
            recordedSlots.remove(drop.slot)
            liedSlots.remove(drop.slot)
        default: break
        }
        if case .drop(let drop) = record, drop.isVoided { recordedSlots.remove(drop.slot) }
        if journal.count - 1 == killAfterRecord { isKilled = true }
    }

    /// An acknowledgement of a slot of an open step means that it is on the disk.
    private mutating func check(_ slots: [SlotID]) {
        for slot in slots {
            guard let place = core.place(of: slot), case .done = core.slot(at: place).status else { continue }
            if !recordedSlots.contains(slot) { liesToWorkers.append(slot) }
        }
    }

    private mutating func apply(_ order: UpdateOrder) {
        var parts: [Digest] = []
        for shard in order.shards {
            guard let part = gradients[shard] else {
                problems.append("shard \(shard) is summed before it is here")
                return
            }
            parts.append(part)
        }
        let event: Event
        if let result = FakeEngine.apply(order, gradients: parts, refusesOneIn: faults.refusesOneIn) {
            event = .updateCommitted(order, result)
        } else {
            event = .updateRefused(order, reason: "the sum is not finite")
        }
        put(.completion(epoch: checkpoint.epoch, event), in: delay())
        if draw.chance(faults.duplicate) { put(.completion(epoch: checkpoint.epoch, event), in: delay()) }
    }
}
