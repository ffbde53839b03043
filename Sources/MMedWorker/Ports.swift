public import MMedCore
public import MMedProtocol

/// A shard's gradient, ready for the wire.
public struct ShardGradient: Sendable {
    /// Little-endian fp32 in the layout of the adapter.
    public var bytes: [UInt8]
    /// SHA-256 of the bytes.
    public var digest: Digest
    /// Figures for the log.
    public var statistics: ShardStatistics

    /// A gradient with its proof.
    public init(bytes: [UInt8], digest: Digest, statistics: ShardStatistics) {
        self.bytes = bytes
        self.digest = digest
        self.statistics = statistics
    }
}

/// What the runtime asks of an engine. Calls come one at a time, but `progress` and `isCancelled` are used beside them.
public protocol WorkerEngine: Sendable {
    /// Tokens computed since the start; it grows while the engine works.
    var progress: UInt64 { get }
    /// True when the engine holds this version's weights.
    func holds(_ adapter: AdapterReference) -> Bool
    /// Takes a version's content bytes. Throws `badData` when they are not those of an adapter of this model.
    func load(_ adapter: AdapterReference, content: [UInt8]) throws
    /// Sum of the log-probs of these tokens but the first two, under a version that it holds; nil is the base model.
    func canary(_ ids: [Int32], adapter: AdapterReference?) async throws -> Double
    /// Samples every slot; each path is handed over as it finishes.
    func sample(
        _ lease: RolloutLease, seed: UInt64, isCancelled: @escaping @Sendable () -> Bool,
        onFinished: @escaping @Sendable (Trajectory) -> Void
    ) async throws
    /// Differentiates a shard.
    func differentiate(_ lease: GradientLease, isCancelled: @escaping @Sendable () -> Bool) async throws
        -> ShardGradient
    /// True when the replica stands at the update's base with its moments, so that the gradient alone is needed.
    func canApply(_ update: UpdateAnnouncement) -> Bool
    /// Applies an update and says what it reached.
    func apply(_ update: UpdateAnnouncement, gradient: [UInt8]) async throws -> AdapterReference
    /// Takes the moments that belong to a version it holds.
    func loadMoments(_ adapter: AdapterReference, content: [UInt8]) throws
}

/// What the worker's user sees. No call may block or throw.
public protocol WorkerLog: Sendable {
    /// One line.
    func line(_ text: String)
}
