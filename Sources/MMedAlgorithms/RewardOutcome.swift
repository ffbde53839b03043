/// What the reward of one path came to. It is never a silent 0: a path that could not be judged says so.
public enum RewardOutcome: Hashable, Sendable {
    /// A finite reward; a policy failure (unparsable, no end token) is a value of 0.
    case value(Double)
    /// The judge declined: out of the statistics like a failure, but not retried.
    case abstain
    /// Infrastructure failed (time-out, crash, reward not finite): out of the statistics, retried with the same seed.
    case failed(reason: String)

    /// A value when the number is finite, a failure when it is not.
    public init(checking reward: Double) {
        self = reward.isFinite ? .value(reward) : .failed(reason: "the reward is \(reward)")
    }

    /// True when the same slot should be run again, with the same seed so that a retry cannot select outcomes.
    public var isRetried: Bool {
        if case .failed = self { return true }
        return false
    }
}
