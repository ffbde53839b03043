public import MMedCore

/// A proportion with its 95 % interval.
public struct Interval: Equatable, Sendable {
    /// Lower end.
    public var low: Double
    /// Upper end.
    public var high: Double

    /// Both ends.
    public init(low: Double, high: Double) {
        self.low = low
        self.high = high
    }
}

/// What one stage's model answered to one specialty's test questions under one kind of prompt.
public struct StageResult: Equatable, Sendable {
    /// `base`, `dsa`, `gba` or `merged`.
    public var stage: String
    /// Whose questions.
    public var specialty: Name
    /// `plain` or a guideline's name.
    public var prompt: String
    /// Questions asked.
    public var questions: Int
    /// Samples with a strictly parsed, right answer.
    public var strict: Int
    /// Samples whose most similar option is right, parsed or not.
    public var lenient: Int
    /// Questions whose most likely letter is right.
    public var choice: Int
    /// Samples without a strictly parsed answer.
    public var unparsed: Int
    /// Mean of the classes' strict accuracies.
    public var balancedAccuracy: Double
    /// Samples in all.
    public var samples: Int

    /// The counts of one cell of the table.
    public init(
        stage: String, specialty: Name, prompt: String, questions: Int, strict: Int, lenient: Int, choice: Int,
        unparsed: Int, balancedAccuracy: Double, samples: Int
    ) {
        self.stage = stage
        self.specialty = specialty
        self.prompt = prompt
        self.questions = questions
        self.strict = strict
        self.lenient = lenient
        self.choice = choice
        self.unparsed = unparsed
        self.balancedAccuracy = balancedAccuracy
        self.samples = samples
    }
}

/// What simple methods reach on a specialty's test questions.
public struct ReferenceResult: Equatable, Sendable {
    /// Whose questions.
    public var specialty: Name
    /// Accuracy of always naming the most frequent class.
    public var majority: Double
    /// Accuracy of logistic regression on the same questions; nil where it was not fitted.
    public var logisticRegression: Double?

    /// The figures of one specialty.
    public init(specialty: Name, majority: Double, logisticRegression: Double?) {
        self.specialty = specialty
        self.majority = majority
        self.logisticRegression = logisticRegression
    }
}

/// Rewards of the same validation questions under the same prompts before and after GBA.
public struct PairedResult: Equatable, Sendable {
    /// Whose questions.
    public var specialty: Name
    /// `guidelines`, or `plain`.
    public var prompts: String
    /// Mean reward before.
    public var before: Double
    /// Mean reward after.
    public var after: Double
    /// Mean of the paired differences.
    public var difference: Double
    /// Its 95 % interval; nil when all differences are equal, which leaves nothing to estimate it by.
    public var interval: Interval?
    /// Pairs, one a question.
    public var pairs: Int

    /// One paired comparison.
    public init(
        specialty: Name, prompts: String, before: Double, after: Double, difference: Double, interval: Interval?,
        pairs: Int
    ) {
        self.specialty = specialty
        self.prompts = prompts
        self.before = before
        self.after = after
        self.difference = difference
        self.interval = interval
        self.pairs = pairs
    }
}
