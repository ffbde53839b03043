/// One path to sample.
public struct SampleRequest: Hashable, Sendable {
    /// Key of the path's random stream; the counter is the token's index in the completion.
    public var slotKey: UInt64
    /// Tokens of the question. Requests with equal prefix and adapter compute it once.
    public var prefixIds: [Int32]
    /// Tokens between the prefix and the completion. Requests with equal prefix, suffix and adapter compute it once.
    public var suffixIds: [Int32]
    /// Index into the sampler's adapters; nil is the bare model.
    public var adapter: Int?
    /// Softmax temperature; 0 takes the most probable token.
    public var temperature: Float
    /// Only the so many most probable tokens are drawn from; 0 is all.
    public var topK: Int
    /// Only the smallest set of tokens whose probability reaches this is drawn from; 1 is all.
    public var topP: Float
    /// Completion tokens at most.
    public var maxTokens: Int
    /// Tokens that end a path; the one that did is the last of its completion.
    public var stopTokenIds: [Int32]
    /// Measures the choice among options when given: where the probe first says that the letter is due, or, when the path ends
    /// without that, after its `triggerIds` are fed.
    public var choiceProbe: ChoiceProbe?

    /// All values of one path.
    public init(
        slotKey: UInt64, prefixIds: [Int32], suffixIds: [Int32], adapter: Int? = nil, temperature: Float = 1,
        topK: Int = 0, topP: Float = 1, maxTokens: Int, stopTokenIds: [Int32], choiceProbe: ChoiceProbe? = nil
    ) {
        self.slotKey = slotKey
        self.prefixIds = prefixIds
        self.suffixIds = suffixIds
        self.adapter = adapter
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.maxTokens = maxTokens
        self.stopTokenIds = stopTokenIds
        self.choiceProbe = choiceProbe
    }
}

/// Why a path ended.
public enum StopReason: Hashable, Sendable {
    /// A stop token was drawn.
    case endToken
    /// The token budget was spent.
    case budget
}

/// One sampled path.
public struct SampleResult: Hashable, Sendable {
    /// Tokens drawn, through the stop token where there is one.
    public var completionIds: [Int32]
    /// Natural log-probability of each under softmax(logits / temperature), without the cut of top-k and top-p (temperature 1 for
    /// greedy paths).
    public var logprobs: [Float]
    /// Why it ended.
    public var stopReason: StopReason
    /// Natural log-probability (temperature 1) of each option's letter at the probe's place; nil without a probe.
    public var choiceLogprobs: [Float]?

    /// All values of one path.
    public init(
        completionIds: [Int32], logprobs: [Float], stopReason: StopReason, choiceLogprobs: [Float]? = nil
    ) {
        self.completionIds = completionIds
        self.logprobs = logprobs
        self.stopReason = stopReason
        self.choiceLogprobs = choiceLogprobs
    }
}
