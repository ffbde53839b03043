public import MMedAlgorithms
public import MMedCore
public import MMedProtocol
public import MMedScheduling

/// An update that the reference copy applied; all of it is on the disk.
public struct AppliedUpdate: Sendable {
    /// What the core must know.
    public var result: UpdateResult
    /// The summed gradient, which learners pull by its digest.
    public var gradient: [UInt8]

    /// An applied update.
    public init(result: UpdateResult, gradient: [UInt8]) {
        self.result = result
        self.gradient = gradient
    }
}

/// A sum of gradients, or what it would make of the weights, is not finite: the update is skipped and the run goes on.
/// Every other error of an optimizer ends the run.
public struct NonFiniteUpdate: Error, Equatable, CustomStringConvertible {
    /// What is not finite.
    public let description: String

    /// Says what is not finite.
    public init(_ description: String) { self.description = description }
}

/// The reference copy of every adapter and its optimizer.
public protocol OptimizerPort: Sendable {
    /// Sums the shards' gradients (little-endian fp32) in the order given, clips, applies AdamW and writes the result durably.
    /// Throws `NonFiniteUpdate` when the sum or the result is not finite; then nothing has changed.
    func apply(_ order: UpdateOrder, gradients: [[UInt8]]) async throws -> AppliedUpdate
    /// Bytes of a gradient of this adapter.
    func gradientBytes(of adapter: Name) -> Int?
    /// True when all values of a gradient are finite.
    func isFinite(_ gradient: [UInt8]) -> Bool
}

/// Scores paths where the truth is: at the coordinator.
public protocol RewardPort: Sendable {
    /// The reward of a path, from its tokens alone. Throws when they are not tokens of the model.
    func judge(_ trajectory: Trajectory, task: RewardTask) throws -> RewardParts
}

/// What must outlive the process.
public protocol StorePort: Sendable {
    /// Bytes that a worker may pull; nil when the digest is unknown. Throws when they should be there and cannot be read, or
    /// are not what they were: the run must not go on then.
    func blob(_ digest: Digest) throws -> [UInt8]?
    /// The digest of bytes.
    func digest(of bytes: [UInt8]) -> Digest
    /// Writes the state durably.
    func save(_ state: RunState) throws
}

/// The record of what happened, in the order in which it happened.
public protocol JournalPort: Sendable {
    /// Writes records in this order, as one group: all of them are on the disk when the call returns, or none when it
    /// throws. After a throw nothing may be written again: what the disk holds is known only when it is read anew.
    func append(_ records: [JournalRecord]) async throws
}

/// Merges experts.
public protocol MergePort: Sendable {
    /// Merges and writes the result durably.
    func merge(_ order: MergeOrder) async throws -> AdapterReference
}

/// What the user sees while it runs. No call may block or throw.
public protocol TelemetryPort: Sendable {
    /// A line of the progress log.
    func log(_ entry: LogEntry)
    /// A record of the metrics.
    func metric(_ entry: LogEntry)
}

/// Everything the coordinator's runtime plugs into.
public struct CoordinatorPorts: Sendable {
    /// The reference copies.
    public var optimizer: any OptimizerPort
    /// The judge.
    public var reward: any RewardPort
    /// The disk.
    public var store: any StorePort
    /// The journal.
    public var journal: any JournalPort
    /// The merge.
    public var merge: any MergePort
    /// The log.
    public var telemetry: any TelemetryPort

    /// All six ports.
    public init(
        optimizer: any OptimizerPort, reward: any RewardPort, store: any StorePort, journal: any JournalPort,
        merge: any MergePort, telemetry: any TelemetryPort
    ) {
        self.optimizer = optimizer
        self.reward = reward
        self.store = store
        self.journal = journal
        self.merge = merge
        self.telemetry = telemetry
    }
}
