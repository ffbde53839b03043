/// One sampled path of a question, as the advantages see it. Its id within the question is (guideline, sample).
public struct RewardedSample: Hashable, Sendable {
    /// The question it was sampled for.
    public var question: String
    /// Place of its guideline in the configured order, from 0.
    public var guideline: Int
    /// Number of the sample under that guideline, from 0; a retry keeps it.
    public var sample: Int
    /// The reward, or why there is none.
    public var outcome: RewardOutcome
    /// Whether the answer is right, apart from any bonus; nil when the rewards alone are known.
    public var isCorrect: Bool?
    /// Tokens of the completion, through the end token.
    public var completionTokens: Int
    /// The path ended at its token budget, without an end token.
    public var isTruncated: Bool

    /// A sample; the token count is needed for the loss weights alone.
    public init(
        question: String, guideline: Int, sample: Int, outcome: RewardOutcome, isCorrect: Bool? = nil,
        completionTokens: Int = 0, isTruncated: Bool = false
    ) {
        self.question = question
        self.guideline = guideline
        self.sample = sample
        self.outcome = outcome
        self.isCorrect = isCorrect
        self.completionTokens = completionTokens
        self.isTruncated = isTruncated
    }

    /// The reward when there is one.
    public var reward: Double? {
        if case .value(let reward) = outcome { return reward }
        return nil
    }
}

/// All samples of one question in one step, in any order: everything that is computed from them runs in id order.
public struct QuestionGroup: Hashable, Sendable {
    /// The id of the question.
    public var question: String
    /// Its samples, failures included.
    public var samples: [RewardedSample]

    /// A group; `stepAdvantages` checks that the samples belong to it.
    public init(question: String, samples: [RewardedSample]) {
        self.question = question
        self.samples = samples
    }
}

/// The statistics of one guideline within a question.
public struct GuidelineStatistics: Hashable, Sendable {
    /// Place of the guideline in the configured order.
    public let guideline: Int
    /// n_g, samples with a reward.
    public let validCount: Int
    /// Samples lost to infrastructure.
    public let failedCount: Int
    /// Samples that the judge declined.
    public let abstainedCount: Int
    /// m_g, the mean reward; 0 without a valid sample.
    public let mean: Double
    /// The sum of squared distances from `mean`.
    public let squaredDeviations: Double
    /// All valid rewards are the same number (also when there is only one, or none).
    public let isTied: Bool
    /// w_g, renormalised over the guidelines present; 0 without a valid sample.
    public let weight: Double

    /// s_g squared with n_g - 1 degrees of freedom; nil below two valid samples.
    public var variance: Double? { validCount < 2 ? nil : squaredDeviations / Double(validCount - 1) }
}

/// The statistics of one question in one step.
public struct GroupStatistics: Hashable, Sendable {
    /// One entry for each guideline that has a sample, valid or not, in order.
    public let guidelines: [GuidelineStatistics]
    /// N, samples with a reward.
    public let validCount: Int
    /// Samples lost to infrastructure.
    public let failedCount: Int
    /// Samples that the judge declined.
    public let abstainedCount: Int
    /// M, the pooled mean; 0 without a valid sample.
    public let mean: Double
    /// The sum of squared distances from `mean`.
    public let squaredDeviations: Double
    /// All valid rewards are the same number.
    public let isTied: Bool
    /// All valid samples are right or all are wrong, whatever the bonus: what resampling is decided on.
    public let isTiedByCorrectness: Bool

    /// K_eff, guidelines with a valid sample.
    public var effectiveGuidelines: Int { guidelines.reduce(0) { $0 + ($1.validCount > 0 ? 1 : 0) } }
    /// Guidelines of at least two valid samples that are all the same.
    public var tiedGuidelines: Int { guidelines.reduce(0) { $0 + ($1.validCount > 1 && $1.isTied ? 1 : 0) } }
    /// At least two valid samples: below that every sample is masked.
    public var isUsable: Bool { validCount >= 2 }

    /// True when another round of samples should be drawn: nothing tells the samples apart and the hard cap allows it.
    public func shouldResample(roundsDone: Int, roundsMax: Int) -> Bool {
        isTiedByCorrectness && roundsDone < roundsMax
    }
}

/// What one sample receives.
public struct SampleAdvantage: Hashable, Sendable {
    /// The sample itself.
    public let sample: RewardedSample
    /// A; exactly 0 when masked.
    public let advantage: Double
    /// The path takes no part in the loss: it has no reward, or its question has fewer than two.
    public let isMasked: Bool
}

/// The advantages of one question, in id order.
public struct GroupAdvantages: Hashable, Sendable {
    /// The id of the question.
    public let question: String
    /// Every sample given, in the order of (guideline, sample).
    public let samples: [SampleAdvantage]
    /// What they were computed from.
    public let statistics: GroupStatistics
}

/// The advantages of one step.
public struct StepAdvantages: Hashable, Sendable {
    /// One entry for each group, in the order given.
    public let groups: [GroupAdvantages]
    /// The lambda used.
    public let lambda: Double
    /// The state after this step, for the next one.
    public let nextBlend: BlendState
    /// Counts for the log.
    public let counts: StepCounts
}

/// The counts of a step, for logs and metrics.
public struct StepCounts: Hashable, Sendable {
    /// Questions of the step.
    public var questions = 0
    /// Samples with a reward.
    public var valid = 0
    /// Samples lost to infrastructure.
    public var failed = 0
    /// Samples that the judge declined.
    public var abstained = 0
    /// Questions with fewer than two valid samples.
    public var maskedQuestions = 0
    /// Usable questions whose rewards are all the same.
    public var tiedQuestions = 0
    /// Usable questions whose samples are all right or all wrong.
    public var tiedByCorrectness = 0
    /// Guidelines of at least two valid samples whose rewards are all the same.
    public var tiedGuidelines = 0
    /// Guidelines with a valid sample, over all questions.
    public var effectiveGuidelines = 0
    /// The sum of the rewards of all valid samples.
    public var rewardSum = 0.0

    /// All zero.
    public init() {}

    /// The mean reward of the valid samples; 0 without one.
    public var meanReward: Double { valid == 0 ? 0 : rewardSum / Double(valid) }
}
