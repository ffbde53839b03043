public import MMedAlgorithms
public import MMedCore
public import MMedProtocol
public import MMedScheduling

/// An update that the reference copy applied; all of it is on the disk.
public struct AppliedUpdate: Sendable {
    /// What the core must know.
    public var result: UpdateResult
    /// The summed gradient, which learners pull by its digest.
    public var gradient: any ScratchBytes

    /// An applied update.
    public init(result: UpdateResult, gradient: any ScratchBytes) {
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
    func apply(_ order: UpdateOrder, gradients: [any ScratchBytes]) async throws -> AppliedUpdate
    /// Bytes of a gradient of this adapter.
    func gradientBytes(of adapter: Name) -> Int?
    /// True when all values of a gradient are finite.
    func isFinite(_ gradient: any ScratchBytes) throws -> Bool
}

/// Scores paths where the truth is: at the coordinator.
public protocol RewardPort: Sendable {
    /// The reward of a path, from its tokens alone. Throws when they are not tokens of the model.
    func judge(_ trajectory: Trajectory, task: RewardTask) throws -> RewardParts
}

/// Bytes that are needed for a while, as gradients are: gone with the object, and with the process. Where they lie is the
/// store's affair; one that keeps them outside of the memory lets a run's memory not grow with them.
public protocol ScratchBytes: AnyObject, Sendable {
    /// Bytes appended so far.
    var count: Int { get }
    /// Appends; one thread at a time. Throws when there is no room.
    func append(_ bytes: [UInt8]) throws
    /// So many bytes from `offset` on, which were appended. Throws when they cannot be read.
    func bytes(at offset: Int, count: Int) throws -> [UInt8]
}

extension ScratchBytes {
    /// Everything appended so far.
    public func allBytes() throws -> [UInt8] { try bytes(at: 0, count: count) }

    /// A piece of it; nil when the offset is outside.
    func piece(at offset: Int, bytesMax: Int) throws -> BlobPiece? {
        guard (0..<count).contains(offset) else { return nil }
        return BlobPiece(totalBytes: count, bytes: try bytes(at: offset, count: min(bytesMax, count - offset)))
    }
}

/// A piece of a blob.
public struct BlobPiece: Sendable {
    /// Bytes of the whole.
    public var totalBytes: Int
    /// Those of the piece, one at least.
    public var bytes: [UInt8]

    /// So many bytes of the whole.
    public init(totalBytes: Int, bytes: [UInt8]) {
        self.totalBytes = totalBytes
        self.bytes = bytes
    }

    /// Cut from what is in memory; nil when the offset is outside.
    public init?(of whole: [UInt8], at offset: Int, bytesMax: Int) {
        guard whole.indices.contains(offset) else { return nil }
        self.init(totalBytes: whole.count, bytes: Array(whole[offset...].prefix(bytesMax)))
    }
}

/// What must outlive the process.
public protocol StorePort: Sendable {
    /// A piece of what a worker may pull, from `offset` on and of `bytesMax` at most; nil when the digest is unknown or the
    /// offset is outside. Throws when it should be there and cannot be read, or is not what it was: the run must not go on then.
    func piece(of digest: Digest, at offset: Int, bytesMax: Int) throws -> BlobPiece?
    /// Room for a gradient.
    func scratch() throws -> any ScratchBytes
    /// The digest of what was appended.
    func digest(of scratch: any ScratchBytes) throws -> Digest
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
