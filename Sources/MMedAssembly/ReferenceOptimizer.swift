import MMedConfig
import MMedCoordinator
import MMedCore
import MMedEngine
import MMedLocks
import MMedProtocol
import MMedScheduling
import MMedStore
import MMedTensor

/// The coordinator's own copy of every adapter: it applies the same AdamW step as the learners, so losing them loses nothing.
/// In memory are the adapters and their moments; gradients are summed and applied piece by piece, whatever their size.
final class ReferenceOptimizer: OptimizerPort {
    private let layouts: [Name: AdapterLayout]
    private let settings: OptimizerConfig
    private let store: RunStore
    private let pool: ComputePool
    private let thread = ComputeThread("mmed.optimizer")
    /// The newest state of each adapter, to spare a read from the disk.
    private let newest = Locked<[Name: (digest: Digest, state: AdamWState)]>([:])
    /// Numbers of a piece: whole blocks of the norm.
    private static let pieceCount = 16 * squaresBlock

    init(layouts: [Name: AdapterLayout], settings: OptimizerConfig, store: RunStore, threads: Int) {
        self.layouts = layouts
        self.settings = settings
        self.store = store
        pool = ComputePool(threads: threads)
    }

    func gradientBytes(of adapter: Name) -> Int? { layouts[adapter].map { 4 * $0.parameterCount } }

    func isFinite(_ gradient: any ScratchBytes) throws -> Bool {
        for range in ReferenceOptimizer.pieces(gradient.count / 4) {
            let bytes = try gradient.bytes(at: 4 * range.lowerBound, count: 4 * range.count)
            let isFinite = bytes.withUnsafeBytes { source in
                range.indices.allSatisfy {
                    source.loadUnaligned(fromByteOffset: 4 * ($0 - range.lowerBound), as: Float.self).isFinite
                }
            }
            guard isFinite else { return false }
        }
        return true
    }

    /// What is in memory of adapters that no update follows is given back.
    func release() { newest.withLock { $0 = [:] } }

    func apply(_ order: UpdateOrder, gradients: [any ScratchBytes]) async throws -> AppliedUpdate {
        try await thread.run { try self.applyNow(order, gradients) }
    }

    private func applyNow(_ order: UpdateOrder, _ gradients: [any ScratchBytes]) throws -> AppliedUpdate {
        let name = order.base.reference.name
        guard let layout = layouts[name] else { throw MMedError(.internalError, "no adapter \(name) in this run") }
        let (sum, norm) = try summed(gradients, count: layout.parameterCount)
        guard norm.isFinite else { throw NonFiniteUpdate("the gradient's norm is \(norm)") }
        let numbers = numbers(order, norm: norm)
        var state = try takeState(order.base, layout)
        for range in ReferenceOptimizer.pieces(layout.parameterCount) {
            let piece = try LittleEndian.floats(
                of: sum.bytes(at: 4 * range.lowerBound, count: 4 * range.count)[...], place: "gradient")
            state.apply(piece: piece, at: range.lowerBound, step: AdamWNumbers.step(numbers), pool: pool)
        }
        guard state.weights.allSatisfy({ $0.isFinite }) else {
            throw NonFiniteUpdate("it would make adapter \(name) non-finite")
        }
        let weightsDigest = try store.put(AdapterContent.parts(layout, state.weights), of: name)
        let momentsDigest = try store.put([.floats(state.firstMoment), .floats(state.secondMoment)], of: name)
        let kept = state
        newest.withLock { $0[name] = (weightsDigest, kept) }
        let reference = AdapterReference(
            name: name, version: order.base.reference.version + 1, digest: weightsDigest)
        let head = AdapterHead(
            reference: reference, momentsDigest: momentsDigest, optimizerSteps: order.base.optimizerSteps + 1)
        let result = UpdateResult(
            head: head, numbers: numbers, gradientDigest: try store.digest(of: sum), gradientNorm: norm)
        return AppliedUpdate(result: result, gradient: sum)
    }

    /// The sum of the shards' gradients in the order given, which is part of the definition (fp32 sums in another order have
    /// other bits), and its norm.
    private func summed(_ gradients: [any ScratchBytes], count: Int) throws -> (sum: any ScratchBytes, norm: Double) {
        guard gradients.allSatisfy({ $0.count == 4 * count }) else {
            throw MMedError(.internalError, "a gradient has another length than its adapter's \(count) numbers")
        }
        let sum = try store.scratch()
        var squares = 0.0
        for range in ReferenceOptimizer.pieces(count) {
            var piece = [Float](repeating: 0, count: range.count)
            for gradient in gradients {
                LittleEndian.add(try gradient.bytes(at: 4 * range.lowerBound, count: 4 * range.count), to: &piece)
            }
            addSquares(of: piece, to: &squares)
            try sum.append(LittleEndian.bytes(of: piece))
        }
        return (sum, squares.squareRoot())
    }

    private func numbers(_ order: UpdateOrder, norm: Double) -> UpdateNumbers {
        let count = order.base.optimizerSteps + 1
        return UpdateNumbers(
            learningRate: order.learningRate, beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon,
            weightDecay: settings.weightDecay,
            biasCorrection1: Double(UpdateMath.biasCorrection(beta: settings.beta1, step: count)),
            biasCorrection2: Double(UpdateMath.biasCorrection(beta: settings.beta2, step: count)),
            clipFactor: Double(UpdateMath.clipFactor(norm: norm, limit: settings.gradientClipNorm)))
    }

    /// The state that an update begins with. It is taken out of what is kept, since changing it would copy it there; after an
    /// update that fails it is found on the disk.
    private func takeState(_ base: AdapterHead, _ layout: AdapterLayout) throws -> AdamWState {
        let held = newest.withLock { $0.removeValue(forKey: base.reference.name) }
        if let held, held.digest == base.reference.digest {
            return base.momentsDigest == nil ? AdamWState(weights: held.state.weights) : held.state
        }
        let place = "adapter \(base.reference.name) v\(base.reference.version)"
        let weights = try LittleEndian.weights(
            in: try store.requireFile(base.reference.digest), layout: layout, place: place)
        guard let moments = base.momentsDigest else { return AdamWState(weights: weights) }
        let file = try store.requireFile(moments)
        guard file.count == 8 * weights.count else {
            throw MMedError(.internalError, at: place, "its moments have \(file.count) bytes")
        }
        return try AdamWState(
            weights: weights, firstMoment: file.floats(at: 0, count: weights.count),
            secondMoment: file.floats(at: 4 * weights.count, count: weights.count))
    }

    private static func pieces(_ count: Int) -> [Range<Int>] {
        stride(from: 0, to: count, by: pieceCount).map { $0..<min(count, $0 + pieceCount) }
    }
}
