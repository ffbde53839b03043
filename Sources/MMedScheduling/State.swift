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
    /// The specialty's adapter when the stage began: the frozen policy of the divergence term. Nil before that, and for
    /// a track without an adapter.
    public var start: AdapterReference?
    /// The adapter after each of the last `maxLag` committed steps and before them, oldest first: what later steps are
    /// sampled with. The last is the newest. In free-running mode every version, also within steps, as far back as a path
    /// may be.
    public var recent: [AdapterReference]

    /// A track's place.
    public init(
        committedSteps: Int, blend: BlendState, start: AdapterReference? = nil, recent: [AdapterReference] = []
    ) {
        self.committedSteps = committedSteps
        self.blend = blend
        self.start = start
        self.recent = recent
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
    /// What finished training stages left, in the order of stages and tracks.
    public var stageHeads: [StageHead]
    /// The merged adapter.
    public var merged: AdapterReference?
    /// Finished evaluations, in the order of stages and tracks.
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

    /// Every blob that a run needs to go on from this state.
    public var blobDigests: Set<Digest> {
        var needed = Set(heads.flatMap(\.digests))
        needed.formUnion(stageHeads.map(\.reference.digest))
        if let merged { needed.insert(merged.digest) }
        // Frozen references of the divergence, and versions that a lagging step is still sampled with.
        for track in tracks { needed.formUnion((track.recent + [track.start].compactMap { $0 }).map(\.digest)) }
        return needed
    }
}
