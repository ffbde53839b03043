public import MMedCore

/// A right to do some work until a deadline. An older fence of the same work is refused.
public struct LeaseID: Hashable, Comparable, Sendable {
    /// Grows with every grant of the run; restarts of the coordinator raise its upper bits.
    public var fence: UInt64

    /// Lower bits of a fence, which count grants; those above are the coordinator's epoch.
    public static let grantBits: UInt64 = 40

    /// A fence.
    public init(fence: UInt64) { self.fence = fence }

    /// Older before newer.
    public static func < (left: LeaseID, right: LeaseID) -> Bool { left.fence < right.fence }
}

/// Paths to sample.
public struct RolloutLease: Hashable, Sendable {
    /// The right.
    public var lease: LeaseID
    /// Milliseconds from receipt until it ends unless beats renew it.
    public var durationMilliseconds: Int
    /// Questions with their slots.
    public var questions: [QuestionWork]

    /// Paths to sample under one right.
    public init(lease: LeaseID, durationMilliseconds: Int, questions: [QuestionWork]) {
        self.lease = lease
        self.durationMilliseconds = durationMilliseconds
        self.questions = questions
    }
}

/// One shard of an update to differentiate.
public struct GradientLease: Hashable, Sendable {
    /// The right.
    public var lease: LeaseID
    /// Milliseconds from receipt until it ends unless beats renew it.
    public var durationMilliseconds: Int
    /// Which shard.
    public var shard: ShardID
    /// The adapter version to differentiate at.
    public var adapter: AdapterReference
    /// The frozen policy of the KL term; nil when its coefficient is 0.
    public var reference: AdapterReference?
    /// The policy at the start of the step, where the learner must compute its log-probs itself; nil when the targets
    /// carry them or the loss takes the learner's own.
    public var prox: AdapterReference?
    /// The loss.
    public var objective: Objective
    /// Temperature of the policy, as in sampling.
    public var temperature: Double
    /// Summed in order; each fits the learner's activation budget.
    public var microbatches: [[LearningTree]]

    /// One shard under one right.
    public init(
        lease: LeaseID, durationMilliseconds: Int, shard: ShardID, adapter: AdapterReference,
        reference: AdapterReference?, prox: AdapterReference?, objective: Objective, temperature: Double,
        microbatches: [[LearningTree]]
    ) {
        self.lease = lease
        self.durationMilliseconds = durationMilliseconds
        self.shard = shard
        self.adapter = adapter
        self.reference = reference
        self.prox = prox
        self.objective = objective
        self.temperature = temperature
        self.microbatches = microbatches
    }
}

/// A piece of a shard's gradient, or of any payload too large for one message.
public struct GradientChunk: Hashable, Sendable {
    /// The right under which it was computed.
    public var lease: LeaseID
    /// Which shard.
    public var shard: ShardID
    /// Bytes before this piece.
    public var offset: Int
    /// Bytes of the whole gradient.
    public var totalBytes: Int
    /// SHA-256 of the whole gradient.
    public var digest: Digest
    /// Little-endian fp32.
    public var bytes: [UInt8]
    /// The shard's figures; they count with the last piece.
    public var statistics: ShardStatistics

    /// One piece.
    public init(
        lease: LeaseID, shard: ShardID, offset: Int, totalBytes: Int, digest: Digest, bytes: [UInt8],
        statistics: ShardStatistics
    ) {
        self.lease = lease
        self.shard = shard
        self.offset = offset
        self.totalBytes = totalBytes
        self.digest = digest
        self.bytes = bytes
        self.statistics = statistics
    }
}

/// One committed update, to be applied by every learner that holds the adapter.
public struct UpdateAnnouncement: Hashable, Sendable {
    /// The version the update starts from.
    public var base: AdapterReference
    /// The version it makes; its digest is what every replica must reach.
    public var result: AdapterReference
    /// The AdamW numbers.
    public var numbers: UpdateNumbers
    /// The summed, unclipped gradient, to be pulled by digest.
    public var gradientDigest: Digest
    /// Moments after the update, for a replica that cannot apply it.
    public var momentsDigest: Digest

    /// One committed update.
    public init(
        base: AdapterReference, result: AdapterReference, numbers: UpdateNumbers, gradientDigest: Digest,
        momentsDigest: Digest
    ) {
        self.base = base
        self.result = result
        self.numbers = numbers
        self.gradientDigest = gradientDigest
        self.momentsDigest = momentsDigest
    }
}
