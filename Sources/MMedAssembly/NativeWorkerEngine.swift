import MMedAlgorithms
import MMedCore
import MMedEngine
import MMedLocks
import MMedProtocol
import MMedStore
import MMedTensor
import MMedWorker
import Synchronization

/// The native engine behind the worker's port.
final class NativeWorkerEngine: WorkerEngine {
    /// One version of an adapter, with its moments where this replica follows updates.
    struct Replica: Sendable {
        let reference: AdapterReference
        let adapter: Adapter
        var moments: (first: [Float], second: [Float])?
    }

    let model: LanguageModel
    let host: ModelHost
    let stopTokenIds: [Int32]
    let pool: ComputePool
    let thread = ComputeThread("mmed.engine")
    let tokens = Atomic<UInt64>(0)
    /// Most recently used last.
    private let replicas = Locked<[Replica]>([])
    /// Versions kept of each adapter: the newest, its frozen reference, and one that paths may still be sampled with.
    private static let versionsKept = 3
    // Proof: both are used only inside `thread.run`, whose queue is serial.
    nonisolated(unsafe) private let learner: Learner
    // Proof: as above.
    nonisolated(unsafe) let sampler: Sampler

    /// Loads the model's weights.
    init(host: ModelHost, threads: Int, concurrentPaths: Int) throws {
        self.host = host
        model = try LanguageModel(source: host.source)
        pool = ComputePool(threads: threads)
        stopTokenIds = try host.stopTokenIds()
        learner = Learner(model: model, pool: pool)
        sampler = Sampler(model: model, pool: pool, limits: Sampler.Limits(concurrentPaths: concurrentPaths))
    }

    var progress: UInt64 { tokens.load(ordering: .relaxed) }

    func replica(_ reference: AdapterReference) -> Replica? {
        replicas.withLock { all in
            guard let index = all.lastIndex(where: { $0.reference == reference }) else { return nil }
            let found = all.remove(at: index)
            all.append(found)
            return found
        }
    }

    func require(_ reference: AdapterReference) throws -> Adapter {
        guard let replica = replica(reference) else {
            throw MMedError(.internalError, "adapter \(reference.name) v\(reference.version) is not loaded")
        }
        return replica.adapter
    }

    func keep(_ replica: Replica) {
        replicas.withLock { all in
            all.removeAll { $0.reference == replica.reference }
            // Only the newest version is updated, so only it needs moments.
            for index in all.indices
            where all[index].reference.name == replica.reference.name
                && all[index].reference.version < replica.reference.version
            {
                all[index].moments = nil
            }
            all.append(replica)
            let same = all.indices.filter { all[$0].reference.name == replica.reference.name }
            if same.count > NativeWorkerEngine.versionsKept, let oldest = same.first { all.remove(at: oldest) }
        }
    }

    func holds(_ adapter: AdapterReference) -> Bool { replica(adapter) != nil }

    func load(_ reference: AdapterReference, content: [UInt8]) throws {
        let place = "adapter \(reference.name) v\(reference.version)"
        let (layout, weights) = try LittleEndian.adapter(content: content, shape: model.shape, place: place)
        keep(Replica(reference: reference, adapter: try Adapter(layout: layout, weights: weights), moments: nil))
    }

    func canary(_ ids: [Int32], adapter: AdapterReference?) async throws -> Double {
        try await thread.run {
            let weights = try adapter.map { try self.require($0) }
            let tree = PromptTree(
                prefixIds: [ids[0]], suffixIds: [[ids[1]]],
                paths: [TreePath(suffix: 0, completionIds: Array(ids[2...]))]
            )
            return try self.learner.score([tree], adapter: weights)[0][0].reduce(0) { $0 + Double($1) }
        }
    }

    // MARK: Learning

    func differentiate(
        _ lease: GradientLease, isCancelled: @escaping @Sendable () -> Bool
    ) async throws -> ShardGradient {
        try await thread.run { try self.computeGradient(lease, isCancelled: isCancelled) }
    }

    private func computeGradient(_ lease: GradientLease, isCancelled: () -> Bool) throws -> ShardGradient {
        let started = ContinuousClock.now
        let adapter = try require(lease.adapter)
        let reference = try lease.reference.map { try require($0) }
        let prox = try lease.prox.map { try require($0) }
        let gradient = FloatBuffer(count: adapter.layout.parameterCount)
        let temperature = Float(lease.temperature)
        var statistics = ShardStatistics()
        for microbatch in lease.microbatches {
            if isCancelled() { throw MMedError(.tryAgain, "the lease was revoked") }
            let trees = microbatch.map(\.tree)
            let frozen = try reference.map { try learner.score(trees, adapter: $0, temperature: temperature) }
            let start = try prox.map { try learner.score(trees, adapter: $0, temperature: temperature) }
            statistics.loss += try learner.addGradient(
                of: trees, adapter: adapter, temperature: temperature, to: gradient
            ) { tree, path, logprobs in
                let loss = try PathObjective.loss(
                    lease.objective, target: microbatch[tree].targets[path], new: logprobs,
                    reference: frozen?[tree][path], start: start?[tree][path], statistics: &statistics)
                return loss
            }
            let count = trees.reduce(0) { $0 + $1.tokenCount }
            statistics.computedTokens += count
            tokens.add(UInt64(count), ordering: .relaxed)
        }
        let elapsed = ContinuousClock.now - started
        statistics.computeMilliseconds = Int(elapsed / .milliseconds(1))
        let bytes = LittleEndian.bytes(of: gradient.array())
        return ShardGradient(bytes: bytes, digest: ContentDigest.of(bytes), statistics: statistics)
    }

    // MARK: Updates

    func canApply(_ update: UpdateAnnouncement) -> Bool {
        guard let replica = replica(update.base) else { return false }
        return replica.moments != nil || AdamWNumbers.isFirst(update.numbers)
    }

    func apply(_ update: UpdateAnnouncement, gradient: [UInt8]) async throws -> AdapterReference {
        try await thread.run {
            guard let replica = self.replica(update.base) else {
                throw MMedError(.internalError, "the base of an update is not loaded")
            }
            let weights = replica.adapter.weights
            let zero = [Float](repeating: 0, count: weights.count)
            let moments = AdamWNumbers.isFirst(update.numbers) ? (zero, zero) : replica.moments ?? (zero, zero)
            var state = try AdamWState(weights: weights, firstMoment: moments.0, secondMoment: moments.1)
            try state.apply(
                gradient: try LittleEndian.floats(of: gradient[...], place: "gradient"),
                step: AdamWNumbers.step(update.numbers), pool: self.pool)
            let adapter = try replica.adapter.replacingWeights(state.weights)
            let content = AdapterContent.bytes(adapter.layout, state.weights)
            let reached = AdapterReference(
                name: update.result.name, version: update.result.version, digest: ContentDigest.of(content))
            if reached == update.result {
                self.keep(
                    Replica(
                        reference: reached, adapter: adapter, moments: (state.firstMoment, state.secondMoment)))
            }
            return reached
        }
    }

    func loadMoments(_ reference: AdapterReference, content: [UInt8]) throws {
        guard var replica = replica(reference) else { return }
        let values = try LittleEndian.floats(of: content[...], place: "moments")
        let count = replica.adapter.weights.count
        guard values.count == 2 * count else {
            throw MMedError(.badData, at: "moments", "\(values.count) numbers, expected \(2 * count)")
        }
        replica.moments = (Array(values[..<count]), Array(values[count...]))
        keep(replica)
    }
}
