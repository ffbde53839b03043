public import MMedAlgorithms
public import MMedCore
public import MMedProtocol

/// One scored path of an evaluation, as the report needs it.
public struct EvaluatedPath: Hashable, Sendable {
    /// The question's id.
    public var question: String
    /// `plain` or a guideline's name.
    public var prompt: String
    /// Text of the right option: the class, whatever letter the record's order gave it.
    public var answer: String
    /// Parsed strictly and right.
    public var strictCorrect: Bool
    /// Right by the lenient rule.
    public var lenientCorrect: Bool
    /// The strictly parsed option's text; nil is unparsed.
    public var parsed: String?
    /// The leniently read option's text.
    public var lenient: String?
    /// The option whose letter is the likeliest after `<answer>`; nil when it was not probed.
    public var choice: String?
    /// The reward.
    public var reward: Double
    /// Tokens of the completion.
    public var tokens: Int

    /// One scored path.
    public init(
        question: String, prompt: String, answer: String, strictCorrect: Bool, lenientCorrect: Bool, parsed: String?,
        lenient: String?, choice: String?, reward: Double, tokens: Int
    ) {
        self.question = question
        self.prompt = prompt
        self.answer = answer
        self.strictCorrect = strictCorrect
        self.lenientCorrect = lenientCorrect
        self.parsed = parsed
        self.lenient = lenient
        self.choice = choice
        self.reward = reward
        self.tokens = tokens
    }
}

/// What an evaluation found for one specialty.
public struct EvaluationRecord: Hashable, Sendable {
    /// The stage's name.
    public var stage: String
    /// The specialty.
    public var specialty: Name
    /// In slot order.
    public var paths: [EvaluatedPath]

    /// A record.
    public init(stage: String, specialty: Name, paths: [EvaluatedPath]) {
        self.stage = stage
        self.specialty = specialty
        self.paths = paths
    }
}

/// How far a track has come.
public struct TrackProgress: Hashable, Sendable {
    /// Steps whose effects are committed.
    public var committedSteps: Int
    /// State of `auto`.
    public var blend: BlendState

    /// A track's place.
    public init(committedSteps: Int, blend: BlendState) {
        self.committedSteps = committedSteps
        self.blend = blend
    }
}

/// An adapter by the specialty and the stage that left it.
public struct StageHead: Hashable, Sendable {
    /// `dsa` or `gba`.
    public var stage: String
    /// The adapter version at the stage's end.
    public var reference: AdapterReference

    /// A head left by a stage.
    public init(stage: String, reference: AdapterReference) {
        self.stage = stage
        self.reference = reference
    }
}

/// What a checkpoint holds: enough to go on from the last committed step, and nothing that timing decides.
public struct RunState: Hashable, Sendable {
    /// Index of the stage under way; the number of stages when the run is complete.
    public var stage: Int
    /// One for each track of that stage.
    public var tracks: [TrackProgress]
    /// Newest state of each adapter, in the order of the plan.
    public var heads: [AdapterHead]
    /// What finished training stages left.
    public var stageHeads: [StageHead]
    /// The merged adapter.
    public var merged: AdapterReference?
    /// Finished evaluations.
    public var evaluations: [EvaluationRecord]
    /// Upper bits of every fence; one more after each restart.
    public var epoch: UInt64

    /// The state of a run that has not begun; `heads` are the initial adapters.
    public init(heads: [AdapterHead]) {
        stage = 0
        tracks = []
        self.heads = heads
        stageHeads = []
        merged = nil
        evaluations = []
        epoch = 1
    }
}

/// A slot's life.
enum SlotStatus {
    case open
    case leased(LeaseID)
    case done(JudgedTrajectory)
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
}

struct ShardState {
    let id: ShardID
    let microbatches: [[LearningTree]]
    var status = ShardStatus.open
    var failures = 0
}

enum StepPhase {
    case sampling
    case waitingToLearn
    case learning(update: Int)
    case committing(update: Int)
}

struct StepState {
    let step: Int
    /// The version that samples it; nil for the base model.
    let adapter: AdapterReference?
    /// The step's questions; spares are appended as they are drawn.
    var questions: [QuestionPlan]
    /// Slots of each question, in id order.
    var slots: [[SlotState]]
    /// Questions replaced by a spare: sampled and logged, but not learned from.
    var replaced: [Bool]
    var resampleRounds = 0
    var phase: StepPhase
    /// The head when learning began: the policy at the start of the step.
    var learningBase: AdapterReference?
    /// Trees of each update.
    var updates: [[LearningTree]] = []
    var shards: [ShardState] = []
    let openedAt: Tick
}

struct TrackState {
    let index: Int
    let plan: TrackPlan
    /// Place of the specialty's adapter in the plan.
    let adapterIndex: Int?
    /// The policy frozen at the start of the stage.
    let frozen: AdapterReference?
    var progress: TrackProgress
    var steps: [StepState] = []
    var evaluated: [EvaluatedPath] = []

    var isDone: Bool { progress.committedSteps == plan.steps.count }
}

struct WorkerState {
    let hello: Hello
    var credits = 0
    var leases: [LeaseID] = []
    var lastHeard: Tick
    var phase = WorkerPhase.idle
    var progress: UInt64 = 0
}

enum LeaseWork {
    case slots([SlotID])
    case shard(ShardID)
}

struct LeaseState {
    let worker: Name
    let work: LeaseWork
    var deadline: Tick
    let grantedAt: Tick
}
