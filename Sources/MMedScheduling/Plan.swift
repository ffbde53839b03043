public import MMedAlgorithms
public import MMedCore
public import MMedProtocol

/// One question of a step: what to sample and how to score it.
public struct QuestionPlan: Hashable, Sendable {
    /// The record's id, for the lineage and the log.
    public var id: String
    /// Tokens shared by all prompts.
    public var prefixIds: [Int32]
    /// Tokens after the prefix, for each prompt.
    public var suffixIds: [[Int32]]
    /// What each prompt is called: a guideline's name, or `plain`.
    public var promptNames: [String]
    /// Tokens after the prefix of the plain prompt; the `stripped` target trains at it.
    public var plainSuffixIds: [Int32]
    /// Paths below each prompt.
    public var pathsPerPrompt: Int
    /// How a path is scored.
    public var reward: RewardTask

    /// A question with its prompts.
    public init(
        id: String, prefixIds: [Int32], suffixIds: [[Int32]], promptNames: [String], plainSuffixIds: [Int32],
        pathsPerPrompt: Int, reward: RewardTask
    ) {
        self.id = id
        self.prefixIds = prefixIds
        self.suffixIds = suffixIds
        self.promptNames = promptNames
        self.plainSuffixIds = plainSuffixIds
        self.pathsPerPrompt = pathsPerPrompt
        self.reward = reward
    }
}

/// One step of a track: paths to sample, or supervised targets, and the updates made of them.
public struct StepPlan: Hashable, Sendable {
    /// Sampled in evaluation and reinforcement.
    public var questions: [QuestionPlan]
    /// Sampled in place of questions whose paths are all right or all wrong, where the settings ask for it.
    public var spares: [QuestionPlan]
    /// Learned from in supervision.
    public var examples: [LearningTree]
    /// The records' ids, one for each example.
    public var exampleIds: [String]
    /// Learning rate of each update; empty where nothing is learned.
    public var learningRates: [Double]

    /// A step.
    public init(
        questions: [QuestionPlan] = [], spares: [QuestionPlan] = [], examples: [LearningTree] = [],
        exampleIds: [String] = [], learningRates: [Double] = []
    ) {
        self.questions = questions
        self.spares = spares
        self.examples = examples
        self.exampleIds = exampleIds
        self.learningRates = learningRates
    }
}

/// What a stage does.
public enum StageKind: String, Hashable, Sendable {
    /// Sample and score; learn nothing.
    case evaluate
    /// DSA: supervised steps.
    case supervise
    /// GBA: sampled steps with advantages.
    case reinforce
    /// CACI.
    case merge
}

/// Which weights a track samples with or trains.
public enum TrackAdapter: Hashable, Sendable {
    /// The bare base model.
    case base
    /// The specialty's own adapter as it stands.
    case specialty
    /// The merged adapter.
    case merged
}

/// The steps of one specialty in a stage. Tracks of a stage do not wait for each other.
public struct TrackPlan: Hashable, Sendable {
    /// The specialty.
    public var specialty: Name
    /// The weights it uses.
    public var adapter: TrackAdapter
    /// In order.
    public var steps: [StepPlan]

    /// A track.
    public init(specialty: Name, adapter: TrackAdapter, steps: [StepPlan]) {
        self.specialty = specialty
        self.adapter = adapter
        self.steps = steps
    }
}

/// One stage of a run. Stages follow each other.
public struct StagePlan: Hashable, Sendable {
    /// `eval-base`, `dsa`, `eval-dsa`, `judge-dsa`, `gba`, ...
    public var name: String
    /// What it does.
    public var kind: StageKind
    /// How its paths are drawn.
    public var sampling: SamplingSettings
    /// One for each specialty; empty for a merge.
    public var tracks: [TrackPlan]

    /// A stage.
    public init(name: String, kind: StageKind, sampling: SamplingSettings, tracks: [TrackPlan]) {
        self.name = name
        self.kind = kind
        self.sampling = sampling
        self.tracks = tracks
    }
}

/// Who chooses the version that a path of reinforcement is sampled from.
public enum SamplingMode: String, Hashable, Sendable, CaseIterable {
    /// The configuration: step s samples from the version after max(0, s - maxLag) steps.
    case fixedLag
    /// Timing: a lease asks for the newest version there is.
    case freeRunning
}

/// The settings of the core, all bounded by the configuration's check.
public struct SchedulingSettings: Hashable, Sendable {
    /// Slots of a rollout lease at most.
    public var slotsPerLease = 32
    /// Milliseconds until a lease ends unless a beat with progress renews it.
    public var leaseMilliseconds: UInt64 = 60_000
    /// Lengths of a lease for which beats may renew it while it brings no result.
    public var leaseRenewals: UInt64 = 16
    /// Milliseconds between beats; a worker silent for `silentBeats` of them is gone.
    public var beatMilliseconds: UInt64 = 1_000
    /// Beats that may be missed.
    public var silentBeats: UInt64 = 15
    /// Milliseconds a run waits for a worker that it needs.
    public var noWorkersMilliseconds: UInt64 = 120_000
    /// Milliseconds without movement until the log says who waits on whom.
    public var stallMilliseconds: UInt64 = 10_000
    /// Times a slot or shard is leased again after a failure; a worker that fails more often in a row (and more than 3
    /// times) is dismissed.
    public var retries = 3
    /// Fixed lists of microbatches that an update is cut into.
    public var gradientShards = 4
    /// Tokens of a microbatch at most.
    public var microbatchTokens = 1_024
    /// Steps by which sampling may run ahead of learning; 0 is exactly on policy.
    public var maxLag = 0
    /// Who chooses the versions that are sampled from.
    public var mode = SamplingMode.fixedLag
    /// Versions that a path may be behind its adapter when its group closes, in free-running mode; nil is as many as
    /// `maxLag` steps make, so that nothing sampled ahead is ever too old.
    public var maxStaleness: Int?
    /// Times that tied questions of a step are replaced by spares.
    public var resampleRounds = 0
    /// Valid paths that a question needs to be learned from; at least 2 whatever is set.
    public var minimumValidSamples = 2
    /// Fraction of paths and gradient shards that another worker computes again, in 0...1; 0 checks nothing.
    public var spotCheck = 0.0
    /// Key of the draw of what is checked. Whoever knows it knows what will be: it is not told to workers.
    public var spotSalt: UInt64 = 0
    /// Workers of each role that the cluster starts and no others are looked for; nil where some come from elsewhere.
    public var workersExpected: [WorkerRole: Int]?

    /// The defaults.
    public init() {}
}

/// Everything a run will do, decided before it starts.
public struct RunPlan: Hashable, Sendable {
    /// The run.
    public var run: Name
    /// Seed of every random stream.
    public var seed: UInt64
    /// The specialties' adapters.
    public var adapters: [AdapterDescription]
    /// How advantages are computed.
    public var advantages: AdvantageSettings
    /// The policy loss.
    public var loss: LossSettings
    /// In order.
    public var stages: [StagePlan]
    /// Leases, retries, limits.
    public var settings: SchedulingSettings

    /// The end of the first prompt of the run, which every worker scores with each adapter that it loads.
    public var canaryIds: [Int32] {
        for step in stages.lazy.flatMap(\.tracks).flatMap(\.steps) {
            if let question = step.questions.first {
                return (question.prefixIds + (question.suffixIds.first ?? [])).suffix(Limits.canaryTokens)
            }
            if let tree = step.examples.first?.tree {
                return (tree.prefixIds + (tree.suffixIds.first ?? [])).suffix(Limits.canaryTokens)
            }
        }
        return []
    }

    /// Updates of a step at most.
    public var updatesPerStep: Int {
        stages.lazy.flatMap(\.tracks).flatMap(\.steps).map(\.learningRates.count).max() ?? 0
    }

    /// A plan.
    public init(
        run: Name, seed: UInt64, adapters: [AdapterDescription], advantages: AdvantageSettings, loss: LossSettings,
        stages: [StagePlan], settings: SchedulingSettings
    ) {
        self.run = run
        self.seed = seed
        self.adapters = adapters
        self.advantages = advantages
        self.loss = loss
        self.stages = stages
        self.settings = settings
    }
}
