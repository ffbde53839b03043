import MMedConfig
import MMedCoordinator
import MMedCore
import MMedEngine
import MMedProtocol
import MMedScheduling
import MMedStore
import MMedTensor

/// The coordinator's own copy of every adapter: it applies the same AdamW step as the learners, so losing them loses nothing.
actor ReferenceOptimizer: OptimizerPort {
    private let layouts: [Name: AdapterLayout]
    private let settings: OptimizerConfig
    private let store: RunStore
    private let pool: ComputePool
    private let thread = ComputeThread("mmed.optimizer")
    /// The newest state of each adapter, to spare a read from the disk.
    private var newest: [Name: (digest: Digest, state: AdamWState)] = [:]

    init(layouts: [Name: AdapterLayout], settings: OptimizerConfig, store: RunStore, threads: Int) {
        self.layouts = layouts
        self.settings = settings
        self.store = store
        pool = ComputePool(threads: threads)
    }

    nonisolated func gradientBytes(of adapter: Name) -> Int? { layouts[adapter].map { 4 * $0.parameterCount } }

    nonisolated func isFinite(_ gradient: [UInt8]) -> Bool {
        gradient.withUnsafeBytes { $0.bindMemory(to: Float.self).allSatisfy(\.isFinite) }
    }

    func apply(_ order: UpdateOrder, gradients: [[UInt8]]) async throws -> AppliedUpdate {
        let name = order.base.reference.name
        guard let layout = layouts[name] else { throw MMedError(.internalError, "no adapter \(name) in this run") }
        let held = newest[name].flatMap { $0.digest == order.base.reference.digest ? $0.state : nil }
        let (settings, store, pool) = (settings, store, pool)
        let (update, state) = try await thread.run {
            var state = try held ?? ReferenceOptimizer.load(order.base, layout, store)
            if order.base.momentsDigest == nil { state = AdamWState(weights: state.weights) }
            return try ReferenceOptimizer.step(
                order, &state, gradients, layout: layout, settings: settings, store: store, pool: pool)
        }
        newest[name] = (update.result.head.reference.digest, state)
        return update
    }

    private static func load(_ head: AdapterHead, _ layout: AdapterLayout, _ store: RunStore) throws -> AdamWState {
        let place = "adapter \(head.reference.name) v\(head.reference.version)"
        let weights = try LittleEndian.weights(
            content: try store.requireBlob(head.reference.digest), layout: layout, place: place)
        guard let moments = head.momentsDigest else { return AdamWState(weights: weights) }
        let values = try LittleEndian.floats(of: try store.requireBlob(moments)[...], place: place)
        guard values.count == 2 * weights.count else {
            throw MMedError(.internalError, at: place, "its moments have \(values.count) numbers")
        }
        return try AdamWState(
            weights: weights, firstMoment: Array(values[..<weights.count]),
            secondMoment: Array(values[weights.count...]))
    }

    private static func step(
        _ order: UpdateOrder, _ state: inout AdamWState, _ gradients: [[UInt8]], layout: AdapterLayout,
        settings: OptimizerConfig, store: RunStore, pool: ComputePool
    ) throws -> (AppliedUpdate, AdamWState) {
        var sum = [Float](repeating: 0, count: layout.parameterCount)
        for bytes in gradients {
            let part = try LittleEndian.floats(of: bytes[...], place: "gradient")
            // Shard order is part of the definition: fp32 sums in another order have other bits.
            for index in sum.indices { sum[index] += part[index] }
        }
        let norm = UpdateMath.globalNorm(sum)
        guard norm.isFinite else { throw NonFiniteUpdate("the gradient's norm is \(norm)") }
        let count = order.base.optimizerSteps + 1
        let numbers = UpdateNumbers(
            learningRate: order.learningRate, beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon,
            weightDecay: settings.weightDecay,
            biasCorrection1: Double(UpdateMath.biasCorrection(beta: settings.beta1, step: count)),
            biasCorrection2: Double(UpdateMath.biasCorrection(beta: settings.beta2, step: count)),
            clipFactor: Double(UpdateMath.clipFactor(norm: norm, limit: settings.gradientClipNorm)))
        try state.apply(gradient: sum, step: AdamWNumbers.step(numbers), pool: pool)
        guard state.weights.allSatisfy(\.isFinite) else {
            throw NonFiniteUpdate("it would make adapter \(order.base.reference.name) non-finite")
        }
        let weightsDigest = try store.put(
            AdapterContent.bytes(layout, state.weights), of: order.base.reference.name)
        let momentsDigest = try store.put(
            LittleEndian.bytes(of: state.firstMoment) + LittleEndian.bytes(of: state.secondMoment),
            of: order.base.reference.name)
        let gradient = LittleEndian.bytes(of: sum)
        let reference = AdapterReference(
            name: order.base.reference.name, version: order.base.reference.version + 1, digest: weightsDigest)
        let head = AdapterHead(reference: reference, momentsDigest: momentsDigest, optimizerSteps: count)
        let result = UpdateResult(
            head: head, numbers: numbers, gradientDigest: ContentDigest.of(gradient), gradientNorm: norm)
        return (AppliedUpdate(result: result, gradient: gradient), state)
    }
}
