import MMedAlgorithms
import MMedCore
import MMedLocks
import MMedProtocol
import MMedScheduling

@testable import MMedCoordinator

/// What workers compute, as pure functions of what they were asked.
enum FakeWork {
    static let gradientBytes = 40

    static func path(_ slot: SlotID, _ work: QuestionWork, seed: UInt64) -> Trajectory {
        let random = CounterRandom(key: slot.randomKey(seed: seed) ^ UInt64(work.adapter?.digest.bytes[0] ?? 0))
        let count = 1 + Int(random.block(0).0) % work.sampling.maxTokens
        var path = Trajectory(
            slot: slot, version: work.adapter?.version ?? -1, adapterDigest: work.adapter?.digest,
            completionIds: (0..<count).map { Int32(random.block(UInt64($0 + 1)).0 % 1_000) },
            logprobs: Array(repeating: -1, count: count), stop: .endToken, choiceLogprobs: [], reward: 0)
        path.reward = judge(path, work.reward).total
        return path
    }

    static func judge(_ path: Trajectory, _ task: RewardTask) -> RewardParts {
        let option = Int(path.completionIds.reduce(0) { $0 &+ $1 }) % task.options.count
        let isRight = option == task.answerIndex
        return RewardParts(
            strictOption: option, lenientOption: option, isStrictCorrect: isRight, isLenientCorrect: isRight,
            total: isRight ? 1 : 0)
    }

    /// It depends on the shard and the adapter, not on the lease or the worker.
    static func gradient(_ lease: GradientLease) -> [UInt8] {
        let text = "\(lease.shard) \(lease.adapter.digest) \(lease.microbatches)"
        return (0..<gradientBytes).map { UInt8(truncatingIfNeeded: stableHash(Array("\($0) \(text)".utf8))) & 0x7F }
    }

    static func chunks(_ lease: GradientLease, _ bytes: [UInt8], size: Int = 16) -> [GradientChunk] {
        stride(from: 0, to: bytes.count, by: size).map { offset in
            GradientChunk(
                lease: lease.lease, shard: lease.shard, offset: offset, totalBytes: bytes.count,
                digest: digest(of: bytes), bytes: Array(bytes[offset..<min(bytes.count, offset + size)]),
                statistics: ShardStatistics())
        }
    }

    static func digest(of bytes: [UInt8]) -> Digest {
        let hash = stableHash(bytes)
        return Digest(bytes: (0..<32).map { UInt8(truncatingIfNeeded: hash >> UInt64($0 % 8 * 8)) })!
    }
}

final class FakeStore: StorePort {
    let saved = Mailbag<RunState>()
    let blobs = Locked<[Digest: [UInt8]]>([:])
    /// Thrown by the save of this number and by all after it.
    private let failsFrom: Int

    init(failsFrom: Int = .max) { self.failsFrom = failsFrom }

    func put(_ bytes: [UInt8]) -> Digest {
        let digest = FakeWork.digest(of: bytes)
        blobs.withLock { $0[digest] = bytes }
        return digest
    }

    /// Blobs whose reading fails.
    let unreadable = Locked<Set<Digest>>([])

    func piece(of digest: Digest, at offset: Int, bytesMax: Int) throws -> BlobPiece? {
        if unreadable.withLock({ $0.contains(digest) }) {
            throw MMedError(.tryAgain, at: "blobs/\(digest.short)", "Input/output error", mend: "look after the disk")
        }
        return blobs.withLock { $0[digest] }.flatMap { BlobPiece(of: $0, at: offset, bytesMax: bytesMax) }
    }
    /// Room for gradients is left.
    let hasRoom = Locked(true)

    func scratch() throws -> any ScratchBytes {
        guard hasRoom.withLock({ $0 }) else {
            throw MMedError(.tryAgain, at: "blobs", "there is no room for a gradient", mend: "make room, then resume")
        }
        return MemoryScratch()
    }
    func digest(of scratch: any ScratchBytes) throws -> Digest { FakeWork.digest(of: try scratch.allBytes()) }

    func save(_ state: RunState) throws {
        if saved.values.count >= failsFrom {
            throw MMedError(.tryAgain, at: "checkpoint", "no space left on the disk", mend: "make room, then resume")
        }
        saved.add(state)
    }
}

/// A journal in memory, whose disk can be made to wait or to fail.
final class FakeJournal: JournalPort {
    /// Groups that are on the disk.
    let groups = Mailbag<[JournalRecord]>()
    /// Groups that have come, written or not.
    let arrivals = Mailbag<[JournalRecord]>()
    private let failsFrom: Int
    private struct Gate {
        var isShut = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private let gate = Locked(Gate())

    init(failsFrom: Int = .max) { self.failsFrom = failsFrom }

    var records: [JournalRecord] { groups.values.flatMap { $0 } }

    /// From now on nothing is written until `open`.
    func shut() { gate.withLock { $0.isShut = true } }

    func open() {
        let waiting = gate.withLock { gate in
            defer { gate = Gate() }
            return gate.waiting
        }
        for waiter in waiting { waiter.resume() }
    }

    func append(_ records: [JournalRecord]) async throws {
        arrivals.add(records)
        await withCheckedContinuation { waiter in
            let mustWait = gate.withLock { gate in
                if gate.isShut { gate.waiting.append(waiter) }
                return gate.isShut
            }
            if !mustWait { waiter.resume() }
        }
        if failsFrom <= groups.values.count {
            throw MMedError(.tryAgain, at: "journal", "no space left on the disk", mend: "make room, then resume")
        }
        groups.add(records)
    }
}

struct FakeOptimizer: OptimizerPort {
    let store: FakeStore
    /// Thrown instead of an update.
    var failure: (any Error)?
    let orders = Mailbag<UpdateOrder>()

    func apply(_ order: UpdateOrder, gradients: [any ScratchBytes]) async throws -> AppliedUpdate {
        orders.add(order)
        if let failure { throw failure }
        let sum = try gradients.reduce([]) { try $0 + $1.allBytes() }
        let content = order.base.reference.digest.bytes + sum
        let moments = store.put(content + [1])
        let head = AdapterHead(
            reference: AdapterReference(
                name: order.base.reference.name, version: order.base.reference.version + 1, digest: store.put(content)),
            momentsDigest: moments, optimizerSteps: order.base.optimizerSteps + 1)
        return AppliedUpdate(
            result: UpdateResult(
                head: head,
                numbers: UpdateNumbers(
                    learningRate: order.learningRate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0,
                    biasCorrection1: 1, biasCorrection2: 1, clipFactor: 1),
                gradientDigest: FakeWork.digest(of: sum), gradientNorm: 1), gradient: MemoryScratch(sum))
    }

    func gradientBytes(of adapter: Name) -> Int? { FakeWork.gradientBytes }
    /// A byte with its upper bit set stands for infinity.
    func isFinite(_ gradient: any ScratchBytes) throws -> Bool { try gradient.allBytes().allSatisfy { $0 < 0x80 } }
}

struct FakeJudge: RewardPort {
    func judge(_ trajectory: Trajectory, task: RewardTask) throws -> RewardParts {
        if let foreign = trajectory.completionIds.first(where: { $0 >= 1_000 }) {
            throw MMedError(.badData, at: "slot \(trajectory.slot)", "token \(foreign) is not in the vocabulary")
        }
        return FakeWork.judge(trajectory, task)
    }
}

struct FakeMerge: MergePort {
    let store: FakeStore

    func merge(_ order: MergeOrder) async throws -> AdapterReference {
        let bytes = order.inputs.flatMap { ($0.reinforced ?? $0.supervised)?.digest.bytes ?? [] }
        return AdapterReference(name: Name("merged")!, version: 0, digest: store.put(bytes))
    }
}

final class FakeTelemetry: TelemetryPort {
    let entries = Mailbag<LogEntry>()
    func log(_ entry: LogEntry) { entries.add(entry) }
    func metric(_ entry: LogEntry) {}

    /// The next line of this event.
    func line(_ event: String) async throws -> LogEntry {
        try await entries.next("line \(event)") { $0.event == event ? $0 : nil }
    }

    func count(_ event: String) -> Int { entries.values.count { $0.event == event } }
}

/// A gradient's room in memory.
final class MemoryScratch: ScratchBytes {
    private let content: Locked<[UInt8]>

    init(_ bytes: [UInt8] = []) { content = Locked(bytes) }

    var count: Int { content.withLock { $0.count } }
    func append(_ bytes: [UInt8]) { content.withLock { $0 += bytes } }
    func bytes(at offset: Int, count: Int) -> [UInt8] { content.withLock { Array($0[offset..<offset + count]) } }
}
