public import MMedCore

/// A whole run: what is trained on what, by which rules. `load` makes one from a file; every number in it is checked.
public struct RunConfig: Equatable, Sendable {
    /// Seed of every random stream of the run.
    public var seed: UInt64 = 1
    /// Where the questions are.
    public var data = DataConfig()
    /// One adapter each, in the order of all tables.
    public var specialties: [Name] = []
    /// How questions become prompts.
    public var prompt = PromptConfig()
    /// Shape of every specialty's LoRA adapter.
    public var adapter = AdapterConfig()
    /// AdamW and the gradient's bound.
    public var optimizer = OptimizerConfig()
    /// First stage: supervision.
    public var dsa = DSAConfig()
    /// Second stage: reinforcement with guideline prompts.
    public var gba = GBAConfig()
    /// The policy loss of the second stage.
    public var advantages = AdvantagesConfig()
    /// Third stage: merging.
    public var merge = MergeConfig()
    /// What is measured after each stage.
    public var eval = EvalConfig()
    /// How a gradient is cut.
    public var learning = LearningConfig()
    /// How work is lent to workers.
    public var leases = LeasesConfig()
    /// What the run needs of the disk.
    public var storage = StorageConfig()
    /// Trust in workers.
    public var security = SecurityConfig()

    /// Every default; data and specialties are still empty.
    public init() {}
}

/// Files of questions in JSON lines. After loading all paths are absolute.
public struct DataConfig: Equatable, Sendable {
    /// Questions with reasoning traces to train on.
    public var train = ""
    /// Questions for the paired judgement of GBA.
    public var validation = ""
    /// Questions that only eval reads.
    public var test = ""
    /// Figures of the reference methods (majority, logistic regression) as JSON; empty for none.
    public var reference = ""

    /// No paths yet.
    public init() {}
}

/// One clinical reasoning paradigm as a prompt.
public struct Guideline: Equatable, Sendable {
    /// Its name in data, logs and tables.
    public var name: Name
    /// The text that follows the question.
    public var text: String

    /// A named text.
    public init(name: Name, text: String) {
        self.name = name
        self.text = text
    }
}

/// How questions become prompts (`docs/GBA.md`, section 9).
public struct PromptConfig: Equatable, Sendable {
    /// How an option stands beside its letter.
    public enum OptionStyle: String, CaseIterable, Sendable {
        /// `A. benign`.
        case letterFirst
        /// `benign (A)`.
        case letterLast
    }

    /// System text; nil keeps the model's own default.
    public var system: String?
    /// Family of the chat markup, `auto` takes the model's own.
    public var chatTemplate = "auto"
    /// Ends the shared prefix of every prompt.
    public var answerInstruction = "Reply in the form <think>findings</think><answer>letter</answer>."
    /// How options are written.
    public var optionStyle = OptionStyle.letterLast
    /// The guideline prompts of DSA and GBA, in the order of their slots.
    public var guidelines: [Guideline] = []

    /// No guidelines yet.
    public init() {}
}

/// Shape of a LoRA adapter.
public struct AdapterConfig: Equatable, Sendable {
    /// Inner dimension.
    public var rank = 8
    /// Numerator of the scale.
    public var alpha = 16.0
    /// Scale alpha / sqrt(rank) instead of alpha / rank.
    public var rankStabilised = false
    /// Adapted projections.
    public var targets: [Projection] = Projection.allCases

    /// Rank 8 on all seven projections.
    public init() {}

    /// The same as the engine's settings.
    public var settings: AdapterSettings {
        AdapterSettings(rank: rank, alpha: alpha, rankStabilised: rankStabilised, targets: targets)
    }
}

/// AdamW (Loshchilov & Hutter 2019) and the gradient's bound.
public struct OptimizerConfig: Equatable, Sendable {
    /// Decay of the first moment.
    public var beta1 = 0.9
    /// Decay of the second moment.
    public var beta2 = 0.999
    /// Added to the root of the second moment.
    public var epsilon = 1e-8
    /// Decoupled weight decay.
    public var weightDecay = 0.0
    /// The global norm above which a gradient is scaled down.
    public var gradientClipNorm = 1.0

    /// The common values.
    public init() {}
}

/// Gradients: how an update is cut. The cut, not the number of learners, decides the adapter's bytes.
public struct LearningConfig: Equatable, Sendable {
    /// Parts of each update that learners compute independently and the coordinator sums in order.
    public var gradientShards = 4
    /// Tokens of one microbatch at most, unless a single tree is larger.
    public var microbatchTokens = 1024

    /// Four shards.
    public init() {}
}

/// The disk of the run's folder.
public struct StorageConfig: Equatable, Sendable {
    /// With less free room than this a run does not begin, and one that is under way drains while it still can commit. 0: never.
    public var lowWaterMiB = 64

    /// 64 MiB.
    public init() {}
}

/// Trust in workers.
public struct SecurityConfig: Equatable, Sendable {
    /// Fraction of paths and gradient shards that another worker computes again; 0 checks nothing.
    public var spotCheck = 0.02

    /// The defaults.
    public init() {}
}

/// Work lent to workers, and when silence counts.
public struct LeasesConfig: Equatable, Sendable {
    /// Paths of one rollout lease.
    public var slotsPerLease = 32
    /// Life of a lease that nobody renews.
    public var seconds = 60.0
    /// Time between a worker's signs of life.
    public var beatSeconds = 1.0
    /// A run without any worker ends after this time.
    public var noWorkersSeconds = 120.0
    /// When nothing moves for this time the log says who waits on whom.
    public var stallSeconds = 10.0

    /// The defaults.
    public init() {}
}
