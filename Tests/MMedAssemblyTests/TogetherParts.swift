import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling
import Synchronization

@testable import MMedCoordinator
@testable import MMedWorker

/// Contents are long enough for several pieces on the wire, and everything follows from what was asked.
enum TogetherContent {
    static let gradientBytes = 4 * Limits.gradientChunkBytes + 64
    static let adapterBytes = 2 * Limits.blobChunkBytes - 8

    static func bytes(_ count: Int, key: UInt64) -> [UInt8] {
        var state = key | 1
        let page = (0..<4_093).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 57)
        }
        var result: [UInt8] = []
        result.reserveCapacity(count + page.count)
        while result.count < count { result += page }
        return Array(result.prefix(count))
    }

    /// 32 bytes spread from a 64-bit hash (FNV-1a, here so that the compiler sees the whole loop): what stands for SHA-256.
    static func digest(of bytes: [UInt8]) -> Digest {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return Digest(bytes: (0..<32).map { UInt8(truncatingIfNeeded: hash >> UInt64($0 % 8 * 8)) })!
    }

    static func key(_ text: String) -> UInt64 { stableHash(Array(text.utf8)) }

    static func gradient(_ lease: GradientLease) -> [UInt8] {
        bytes(gradientBytes, key: key("\(lease.shard) \(lease.adapter.digest) \(lease.microbatches)"))
    }

    /// What an update makes of a version: weights and moments.
    static func step(_ base: AdapterReference, _ gradient: Digest) -> (
        weights: [UInt8], moments: [UInt8]
    ) {
        (
            bytes(adapterBytes, key: key("\(base.digest) \(gradient)")),
            bytes(adapterBytes, key: key("\(base.digest) \(gradient) moments"))
        )
    }

    static func judge(_ ids: [Int32], _ task: RewardTask) -> RewardParts {
        let option = Int(ids.reduce(0) { $0 &+ $1 }) % task.options.count
        let isRight = option == task.answerIndex
        return RewardParts(
            strictOption: option, lenientOption: option, isStrictCorrect: isRight,
            isLenientCorrect: isRight,
            total: isRight ? 1 : 0)
    }
}

/// The disk, the reference copies, the judge and the merge.
final class TogetherPorts: StorePort, OptimizerPort, RewardPort, MergePort, TelemetryPort {
    private let blobs = Mutex<[Digest: [UInt8]]>([:])
    private let saved = Mutex<RunState?>(nil)
    private let lines = Mutex<[LogEntry]>([])

    var state: RunState? { saved.withLock { $0 } }
    var log: [LogEntry] { lines.withLock { $0 } }
    func put(_ bytes: [UInt8]) -> Digest {
        let digest = TogetherContent.digest(of: bytes)
        blobs.withLock { $0[digest] = bytes }
        return digest
    }

    func blob(_ digest: Digest) -> [UInt8]? { blobs.withLock { $0[digest] } }
    func digest(of bytes: [UInt8]) -> Digest { TogetherContent.digest(of: bytes) }
    func save(_ state: RunState) throws { saved.withLock { $0 = state } }
    func gradientBytes(of adapter: Name) -> Int? { TogetherContent.gradientBytes }
    func isFinite(_ gradient: [UInt8]) -> Bool { true }
    func log(_ entry: LogEntry) { lines.withLock { $0.append(entry) } }
    func metric(_ entry: LogEntry) {}
    func judge(_ trajectory: Trajectory, task: RewardTask) throws -> RewardParts {
        TogetherContent.judge(trajectory.completionIds, task)
    }

    func apply(_ order: UpdateOrder, gradients: [[UInt8]]) async throws -> AppliedUpdate {
        await Task.yield()
        var sum = [UInt8](repeating: 0, count: TogetherContent.gradientBytes)
        for part in gradients { for index in stride(from: 0, to: sum.count, by: 4_096) { sum[index] &+= part[index] } }
        let gradient = TogetherContent.digest(of: sum)
        let (weights, moments) = TogetherContent.step(order.base.reference, gradient)
        let head = AdapterHead(
            reference: AdapterReference(
                name: order.base.reference.name, version: order.base.reference.version + 1,
                digest: put(weights)),
            momentsDigest: put(moments), optimizerSteps: order.base.optimizerSteps + 1)
        let numbers = UpdateNumbers(
            learningRate: order.learningRate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0,
            biasCorrection1: order.base.momentsDigest == nil ? 0.1 : 0.5, biasCorrection2: 1,
            clipFactor: 1)
        return AppliedUpdate(
            result: UpdateResult(head: head, numbers: numbers, gradientDigest: gradient, gradientNorm: 1),
            gradient: sum)
    }

    func merge(_ order: MergeOrder) async throws -> AdapterReference {
        let text = order.inputs.map { "\($0)" }.joined()
        return AdapterReference(
            name: Name("merged")!, version: 0,
            digest: put(
                TogetherContent.bytes(TogetherContent.adapterBytes, key: TogetherContent.key(text))))
    }
}

final class TogetherEngine: WorkerEngine {
    private let replicas = Mutex<[AdapterReference: Bool]>([:])
    private let tokens = Mutex<UInt64>(0)

    var progress: UInt64 { tokens.withLock { $0 } }
    func holds(_ adapter: AdapterReference) -> Bool { replicas.withLock { $0[adapter] != nil } }

    func load(_ adapter: AdapterReference, content: [UInt8]) throws {
        replicas.withLock { $0[adapter] = false }
    }
    func loadMoments(_ adapter: AdapterReference, content: [UInt8]) throws {
        replicas.withLock { $0[adapter] = true }
    }

    func sample(
        _ lease: RolloutLease, seed: UInt64, isCancelled: @escaping @Sendable () -> Bool,
        onFinished: @escaping @Sendable (Trajectory) -> Void
    ) async throws {
        for question in lease.questions {
            if let adapter = question.adapter, !holds(adapter) {
                throw MMedError(.internalError, "not loaded")
            }
            for slot in question.slots {
                await Task.yield()
                if isCancelled() { throw MMedError(.tryAgain, "the lease was revoked") }
                tokens.withLock { $0 += 1 }
                let random = CounterRandom(
                    key: slot.randomKey(seed: seed) ^ UInt64(question.adapter?.digest.bytes[0] ?? 0))
                let count = 1 + Int(random.block(0).0) % question.sampling.maxTokens
                let ids = (0..<count).map { Int32(random.block(UInt64($0 + 1)).0 % 1_000) }
                onFinished(
                    Trajectory(
                        slot: slot, version: question.adapter?.version ?? -1,
                        adapterDigest: question.adapter?.digest,
                        completionIds: ids, logprobs: Array(repeating: -1, count: count), stop: .endToken,
                        choiceLogprobs: [], reward: TogetherContent.judge(ids, question.reward).total))
            }
        }
    }

    func differentiate(_ lease: GradientLease, isCancelled: @escaping @Sendable () -> Bool)
        async throws
        -> ShardGradient
    {
        guard holds(lease.adapter) else { throw MMedError(.internalError, "not loaded") }
        await Task.yield()
        if isCancelled() { throw MMedError(.tryAgain, "the lease was revoked") }
        tokens.withLock { $0 += 1 }
        let bytes = TogetherContent.gradient(lease)
        return ShardGradient(
            bytes: bytes, digest: TogetherContent.digest(of: bytes), statistics: ShardStatistics())
    }

    func canApply(_ update: UpdateAnnouncement) -> Bool {
        guard let hasMoments = replicas.withLock({ $0[update.base] }) else { return false }
        return hasMoments || update.numbers.biasCorrection1 == 0.1
    }

    func apply(_ update: UpdateAnnouncement, gradient: [UInt8]) async throws -> AdapterReference {
        let (weights, _) = TogetherContent.step(update.base, TogetherContent.digest(of: gradient))
        var reached = update.result
        reached.digest = TogetherContent.digest(of: weights)
        replicas.withLock { $0[reached] = true }
        return reached
    }
}

struct TogetherLog: WorkerLog {
    func line(_ text: String) {}
}
