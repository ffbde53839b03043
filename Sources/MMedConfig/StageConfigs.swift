/// Course of the learning rate over the updates of a stage.
public struct ScheduleConfig: Equatable, Sendable {
    /// Shape after the warm-up.
    public enum Kind: String, CaseIterable, Sendable {
        /// Stays at the peak.
        case constant
        /// Falls in a straight line to the final fraction.
        case linear
        /// Falls along half a cosine to the final fraction.
        case cosine
    }

    /// Shape after the warm-up.
    public var kind = Kind.constant
    /// Updates over which the rate rises in a straight line to its peak.
    public var warmupSteps = 0
    /// Last rate as a fraction of the peak.
    public var finalFraction = 0.0

    /// Constant from the first update.
    public init() {}

    /// A schedule of its three numbers.
    public init(kind: Kind, warmupSteps: Int, finalFraction: Double) {
        self.kind = kind
        self.warmupSteps = warmupSteps
        self.finalFraction = finalFraction
    }
}

/// DSA: one supervised adapter for each specialty.
public struct DSAConfig: Equatable, Sendable {
    /// False leaves the stage out: GBA then starts from a fresh adapter.
    public var enabled = true
    /// Training examples of each specialty, the first of the file's order.
    public var examplesPerSpecialty = 60
    /// Passes over them.
    public var epochs = 2
    /// Examples of one update; each trains one guideline prompt and the plain prompt.
    public var examplesPerStep = 16
    /// Write the letter beside the option that a trace ends on, as the question does.
    public var citeLetter = true
    /// Peak learning rate.
    public var learningRate = 2e-3
    /// Its course.
    public var schedule = ScheduleConfig(kind: .cosine, warmupSteps: 2, finalFraction: 0.1)

    /// The defaults.
    public init() {}
}

/// How paths are drawn.
public struct SamplingConfig: Equatable, Sendable {
    /// 0 draws the most likely token.
    public var temperature = 1.0
    /// 0 keeps all tokens.
    public var topK = 0
    /// 1 keeps all tokens.
    public var topP = 1.0
    /// Tokens of a completion at most, the end token included.
    public var maxTokens = 96

    /// The policy's own distribution.
    public init() {}
}

/// Drawing further questions for those whose answers are all right or all wrong (as in DAPO, Yu et al. 2025).
public struct ResampleConfig: Equatable, Sendable {
    /// True replaces such questions.
    public var enabled = false
    /// Rounds of replacement in one step at most.
    public var maximumRounds = 2

    /// Off.
    public init() {}
}

/// GBA: reinforcement of each specialty's adapter with guideline prompts.
public struct GBAConfig: Equatable, Sendable {
    /// Who chooses the version that a path is sampled from.
    public enum Mode: String, CaseIterable, Sendable {
        /// The configuration: step s samples from the version after max(0, s - maxLag) steps.
        case fixedLag
        /// Timing: a lease asks for the newest version there is.
        case freeRunning
    }

    /// False leaves the stage out.
    public var enabled = true
    /// Steps of each specialty.
    public var steps = 3
    /// Questions of one step.
    public var questionsPerStep = 2
    /// Paths below each guideline prompt of a question.
    public var pathsPerGuideline = 4
    /// Peak learning rate.
    public var learningRate = 2e-4
    /// Its course over the updates.
    public var schedule = ScheduleConfig()
    /// How paths are drawn.
    public var sampling = SamplingConfig()
    /// Who chooses the version that a path is sampled from.
    public var mode = Mode.fixedLag
    /// Steps by which sampling may run ahead of learning.
    public var maxLag = 0
    /// Versions that a path may be behind the adapter it trains, in mode `freeRunning`; nil is as many as `maxLag` steps make.
    public var maxStaleness: Int?
    /// Paid for a well-formed answer with a known letter.
    public var formatBonus = 0.1
    /// Attempts after an infrastructure failure of a slot, each with the same seed.
    public var retries = 3
    /// Valid paths a question needs to be trained on.
    public var minimumValidSamples = 2
    /// Replacement of questions that teach nothing.
    public var resample = ResampleConfig()

    /// The defaults.
    public init() {}
}

/// CACI: the merge of all specialties into one adapter (`docs/GBA.md`, section 8).
public struct MergeConfig: Equatable, Sendable {
    /// How task vectors are combined.
    public enum Method: String, CaseIterable, Sendable {
        /// Conflict-aware: normalised trimming and sign election over both classes, each class at its own size.
        case caci
        /// TIES (Yadav et al. 2023).
        case ties
        /// Sum of task vectors (Ilharco et al. 2023).
        case taskArithmetic
        /// Exact linear combination by stacking.
        case linear
    }

    /// How task vectors are combined.
    public var method = Method.caci
    /// Fraction of each task vector that trimming keeps.
    public var density = 0.2
    /// Factor on the supervised part.
    public var lambdaSFT = 1.0
    /// Factor on the reinforced part.
    public var lambdaRL = 1.0
    /// Rank of the merged adapter.
    public var rank = 64

    /// The defaults.
    public init() {}
}

/// A point of the run at which the model is measured.
public enum EvalStage: String, CaseIterable, Sendable {
    /// The untrained base model.
    case base
    /// Each specialty's supervised adapter.
    case dsa
    /// Each specialty's reinforced adapter.
    case gba
    /// The merged adapter.
    case merged
}

/// What is measured after each stage.
public struct EvalConfig: Equatable, Sendable {
    /// Which prompts are asked.
    public enum Prompts: String, CaseIterable, Sendable {
        /// Only the prompt without a guideline.
        case plain
        /// That and every guideline prompt.
        case all
    }

    /// The stages that are measured.
    public var stages: [EvalStage] = EvalStage.allCases
    /// Test questions of each specialty, the first of the file's order.
    public var questionsPerSpecialty = 24
    /// Which prompts are asked.
    public var prompts = Prompts.plain
    /// Paths of each prompt.
    public var paths = 1
    /// 0 is greedy.
    public var temperature = 0.0
    /// Tokens of an answer at most.
    public var maxTokens = 96
    /// Validation questions of each specialty asked before and after GBA for a paired judgement, under every guideline prompt
    /// and the plain one with GBA's sampling; 0 leaves it out.
    public var judgeQuestions = 0
    /// Paths of each prompt in that judgement.
    public var judgePaths = 1

    /// The defaults.
    public init() {}
}
