public import MMedAlgorithms
public import MMedCore

/// What the learner does with the paths of a tree.
public enum Objective: Hashable, Sendable {
    /// Negative log-likelihood of the completion, times the path's weight (DSA).
    case supervised
    /// The clipped policy loss of `docs/GBA.md` (GBA).
    case policy(LossSettings)
}

/// The numbers of one path of a learning tree.
public struct PathTarget: Hashable, Sendable {
    /// Factor of the path in the loss: (w_g / n_g) / Z, or 1 / tokens of the batch for supervision.
    public var weight: Double
    /// Advantage; 1 for supervision.
    public var advantage: Double
    /// Log-probs of the policy that sampled the path; empty for supervision.
    public var rollLogprobs: [Float]
    /// Log-probs at the start of the step; empty when the learner takes its own or the roll's.
    public var proxLogprobs: [Float]
    /// False masks the path's loss without touching any statistic.
    public var counts: Bool

    /// The numbers of one path.
    public init(weight: Double, advantage: Double, rollLogprobs: [Float], proxLogprobs: [Float], counts: Bool) {
        self.weight = weight
        self.advantage = advantage
        self.rollLogprobs = rollLogprobs
        self.proxLogprobs = proxLogprobs
        self.counts = counts
    }
}

/// A prefix tree and the target of each of its paths.
public struct LearningTree: Hashable, Sendable {
    /// The tokens.
    public var tree: PromptTree
    /// One for each path of the tree.
    public var targets: [PathTarget]

    /// Paths and targets in the same order.
    public init(tree: PromptTree, targets: [PathTarget]) {
        self.tree = tree
        self.targets = targets
    }
}

/// Names one gradient shard of a run; with the adapter's version it is unique.
public struct ShardID: Hashable, Comparable, Sendable {
    /// Index of the stage in the run's plan.
    public var stage: Int32
    /// Index of the track in the stage.
    public var track: Int32
    /// Step of the track.
    public var step: Int32
    /// Update of the step.
    public var update: Int32
    /// Shard of the update.
    public var shard: Int32

    /// All five indices.
    public init(stage: Int32, track: Int32, step: Int32, update: Int32, shard: Int32) {
        self.stage = stage
        self.track = track
        self.step = step
        self.update = update
        self.shard = shard
    }

    /// The order of the sum.
    public static func < (left: ShardID, right: ShardID) -> Bool {
        [left.stage, left.track, left.step, left.update, left.shard]
            .lexicographicallyPrecedes([right.stage, right.track, right.step, right.update, right.shard])
    }
}

/// What a learner reports with a shard's gradient.
public struct ShardStatistics: Hashable, Sendable {
    /// The shard's part of the loss.
    public var loss = 0.0
    /// Tokens computed, each shared token once.
    public var computedTokens = 0
    /// Completion tokens that carry loss.
    public var lossTokens = 0
    /// Tokens whose ratio was clipped.
    public var clippedTokens = 0
    /// Sum of the KL estimate over the loss tokens.
    public var klSum = 0.0
    /// Largest absolute difference between the sampler's and the learner's log-prob; 0 on policy.
    public var logprobGapMax = 0.0
    /// Milliseconds of compute.
    public var computeMilliseconds = 0

    /// All zero.
    public init() {}
}

/// The numbers of one AdamW step, equal on every replica.
public struct UpdateNumbers: Hashable, Sendable {
    /// Learning rate of this update.
    public var learningRate: Double
    /// Decay of the first moment.
    public var beta1: Double
    /// Decay of the second moment.
    public var beta2: Double
    /// Added to the root of the second moment.
    public var epsilon: Double
    /// Decoupled weight decay (Loshchilov & Hutter 2019).
    public var weightDecay: Double
    /// 1 - beta1^t.
    public var biasCorrection1: Double
    /// 1 - beta2^t.
    public var biasCorrection2: Double
    /// Factor on the gradient that keeps its global norm in bounds.
    public var clipFactor: Double

    /// All eight numbers.
    public init(
        learningRate: Double, beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double,
        biasCorrection1: Double, biasCorrection2: Double, clipFactor: Double
    ) {
        self.learningRate = learningRate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        self.biasCorrection1 = biasCorrection1
        self.biasCorrection2 = biasCorrection2
        self.clipFactor = clipFactor
    }
}
