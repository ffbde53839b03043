import MMedAlgorithms
import MMedCore
import MMedProtocol

/// A slot's life.
enum SlotStatus {
    case open
    case leased(LeaseID)
    case done(JudgedTrajectory, under: LeaseID)
    case failed(String)

    var isOpen: Bool {
        if case .open = self { return true }
        return false
    }

    var isFinal: Bool {
        switch self {
        case .done, .failed: true
        case .open, .leased: false
        }
    }
}

struct SlotState {
    let id: SlotID
    var status = SlotStatus.open
    var failures = 0
    var drops = 0
    /// Who brought its path.
    var worker: Name?
}

/// A shard's life.
enum ShardStatus {
    case open
    case leased(LeaseID)
    case received(ShardStatistics)

    var isOpen: Bool {
        if case .open = self { return true }
        return false
    }

    var isReceived: Bool {
        if case .received = self { return true }
        return false
    }
}

struct ShardState {
    let id: ShardID
    let microbatches: [[LearningTree]]
    var status = ShardStatus.open
    var failures = 0
    /// Who brought its gradient.
    var worker: Name?
}

enum StepPhase {
    /// Slots are open or leased.
    case sampling
    /// Every slot is final.
    case sampled
    /// The updates before this one are committed.
    case between(next: Int)
    case learning(update: Int)
    case committing(update: Int)
}

struct StepState {
    let step: Int
    /// The version that samples it; nil for the base model, and where timing chooses versions.
    let adapter: AdapterReference?
    let openedAt: Tick
    /// The step's questions; spares are appended as they are drawn.
    private(set) var questions: [QuestionPlan] = []
    /// Slots of each question, in id order. They change through `set` alone, so that the counts below stay true.
    private(set) var slots: [[SlotState]] = []
    /// Open slots of each question, and in all.
    private(set) var openPerQuestion: [Int] = []
    private(set) var openSlots = 0
    /// Slots that are not final.
    private(set) var pendingSlots = 0
    /// No question before this one has an open slot.
    private(set) var firstOpen = 0
    /// Questions replaced by a spare: sampled and logged, but not learned from.
    var replaced: [Bool] = []
    var resampleRounds = 0
    /// Paths that were too old, whose slots were asked again.
    var stalePaths = 0
    var phase = StepPhase.sampling
    /// The head when learning began: the policy at the start of the step.
    var learningBase: AdapterReference?
    /// Trees of each update.
    var updates: [[LearningTree]] = []
    var shards: [ShardState] = []

    init(step: Int, adapter: AdapterReference?, openedAt: Tick) {
        self.step = step
        self.adapter = adapter
        self.openedAt = openedAt
    }

    var slotCount: Int { slots.reduce(0) { $0 + $1.count } }

    /// Adds a question with all its slots open.
    mutating func append(_ question: QuestionPlan, slots new: [SlotState]) {
        questions.append(question)
        slots.append(new)
        replaced.append(false)
        openPerQuestion.append(new.count)
        openSlots += new.count
        pendingSlots += new.count
    }

    mutating func set(_ status: SlotStatus, question: Int, slot: Int) {
        let old = slots[question][slot].status
        slots[question][slot].status = status
        if !old.isFinal { pendingSlots -= 1 }
        if !status.isFinal { pendingSlots += 1 }
        if old.isOpen {
            openSlots -= 1
            openPerQuestion[question] -= 1
        }
        if status.isOpen {
            openSlots += 1
            openPerQuestion[question] += 1
            firstOpen = min(firstOpen, question)
        }
        while firstOpen < openPerQuestion.count, openPerQuestion[firstOpen] == 0 { firstOpen += 1 }
    }

    /// Remembers who brought a slot's path.
    mutating func sign(question: Int, slot: Int, by name: Name) { slots[question][slot].worker = name }

    /// Forgets the questions from this one on, and every replacement.
    mutating func keep(_ count: Int) {
        for question in slots.indices.dropFirst(count) {
            openSlots -= openPerQuestion[question]
            pendingSlots -= slots[question].count { !$0.status.isFinal }
        }
        questions.removeLast(questions.count - count)
        slots.removeLast(slots.count - count)
        openPerQuestion.removeLast(openPerQuestion.count - count)
        replaced = Array(repeating: false, count: count)
        firstOpen = min(firstOpen, count)
        resampleRounds = 0
    }

    /// Counts a path of a slot that was not taken and says how many there were.
    mutating func countDrop(question: Int, slot: Int) -> Int {
        slots[question][slot].drops += 1
        return slots[question][slot].drops
    }

    /// Counts a failure of a slot and says how many it has had.
    mutating func countFailure(question: Int, slot: Int) -> Int {
        slots[question][slot].failures += 1
        return slots[question][slot].failures
    }
}

struct TrackState {
    let index: Int
    let plan: TrackPlan
    /// Place of the specialty's adapter in the plan.
    let adapterIndex: Int?
    /// The newest adapter, also within a step; the checkpoint's head follows when the step is complete.
    var head: AdapterHead?
    var progress: TrackProgress
    var free: FreeRunningTrack
    /// Open steps, oldest first and without gaps.
    var steps: [StepState] = []
    /// Sums over the steps, kept so that an event never walks over all slots.
    private(set) var openSlots = 0
    private(set) var pendingSlots = 0

    init(index: Int, plan: TrackPlan, adapterIndex: Int?, head: AdapterHead?, progress: TrackProgress) {
        self.index = index
        self.plan = plan
        self.adapterIndex = adapterIndex
        self.head = head
        self.progress = progress
        free = FreeRunningTrack(plan)
    }

    var isDone: Bool { progress.committedSteps >= plan.steps.count }

    mutating func set(_ status: SlotStatus, step: Int, question: Int, slot: Int) {
        count(step: step) { $0.set(status, question: question, slot: slot) }
    }

    mutating func append(_ question: QuestionPlan, slots: [SlotState], step: Int) {
        count(step: step) { $0.append(question, slots: slots) }
    }

    mutating func keep(_ questions: Int, step: Int) { count(step: step) { $0.keep(questions) } }

    private mutating func count(step: Int, _ change: (inout StepState) -> Void) {
        openSlots -= steps[step].openSlots
        pendingSlots -= steps[step].pendingSlots
        change(&steps[step])
        openSlots += steps[step].openSlots
        pendingSlots += steps[step].pendingSlots
    }
}

struct WorkerState {
    let hello: Hello
    var credits = 0
    var leases: [LeaseID] = []
    var lastHeard: Tick
    var phase = WorkerPhase.idle
    var progress: UInt64 = 0
    /// Leases granted on an earlier connection: those that a beat does not name from `confirmsBy` on were lost on the way.
    /// Until then the worker may still be sending their results again.
    var unconfirmed: [LeaseID] = []
    var confirmsBy = Tick(milliseconds: 0)
    /// Failures since its last good result.
    var strikes = 0
    /// After a failure others go first until then.
    var restsUntil = Tick(milliseconds: 0)
    /// It has said that it can hold leases.
    var hasAsked = false
    /// It has brought a result that was taken.
    var isProven = false
    /// Who it is by its key; nil without keys.
    var identity: Identity?
    /// What it scores the canary of the base model with.
    var mark: Double?

    /// A result of it was taken.
    mutating func prove() {
        strikes = 0
        isProven = true
    }

    func holds(_ adapter: Name) -> Bool { hello.adapters.isEmpty || hello.adapters.contains(adapter) }

    /// Holds every adapter that the other holds.
    func canReplace(_ other: WorkerState) -> Bool {
        hello.adapters.isEmpty || !other.hello.adapters.isEmpty && other.hello.adapters.allSatisfy(holds)
    }
}

enum LeaseWork {
    case slots([SlotID])
    case shard(ShardID)
    /// What others have returned already, to be computed once more.
    case checks([CheckSubject])
}

struct LeaseState {
    let worker: Name
    let work: LeaseWork
    var deadline: Tick
    let grantedAt: Tick
    /// However much progress is claimed, no beat renews it beyond this; a result does.
    var lastDeadline: Tick
    /// By track, where timing chooses versions: the one that was asked for.
    var asked: [Int: AdapterReference] = [:]

    mutating func renew(until time: Tick) { deadline = min(time, lastDeadline) }
}

/// A role that the run cannot go on without; a learner must hold the adapter.
struct Need: Hashable {
    let role: WorkerRole
    let adapter: Name?

    var description: String {
        switch (role, adapter) {
        case (.learner, let adapter?): "a learner worker that holds \(adapter)"
        default: "a \(role.rawValue) worker"
        }
    }
}
