public import MMedCore

/// A checked merge: task vectors in the order of their sums, and the layout of the result. Immutable, so that its
/// matrices can be merged on several threads; the result does not depend on how many, or on the order of the inputs.
public struct MergePlan: Sendable {
    /// One task vector, adapters by their place in `adapters`.
    struct Vector: Sendable {
        let label: String
        let stage: MergeStage
        let adapter: Int
        let minus: Int?
    }

    /// How to merge.
    public let settings: MergeSettings
    /// Layout of the merged adapter: the targets of all adapters, alpha equal to the rank so that the scale is 1.
    public let layout: AdapterLayout
    /// In the order of (name, stage).
    let vectors: [Vector]
    /// The distinct adapters, in the order in which the vectors mention them.
    let adapters: [AdapterWeights]
    private let placeByModule: [String: Int]

    /// Throws `badConfig` for settings out of range, `badData` for no input, two of one name and stage, or adapters of
    /// models of different widths.
    public init(inputs: [MergeInput], settings: MergeSettings = MergeSettings()) throws {
        try settings.check()
        let sorted = inputs.sorted { ($0.name, $0.stage) < ($1.name, $1.stage) }
        guard let first = sorted.first else {
            throw MMedError(.badData, "there is no adapter to merge", mend: "name at least one")
        }
        for (left, right) in zip(sorted, sorted.dropFirst()) where left.label == right.label {
            throw MMedError(.badData, at: left.label, "two task vectors have this name", mend: "name each one once")
        }
        var adapters: [AdapterWeights] = []
        func place(_ adapter: AdapterWeights) -> Int {
            if let known = adapters.firstIndex(of: adapter) { return known }
            adapters.append(adapter)
            return adapters.count - 1
        }
        let shape = first.adapter.layout.shape
        vectors = try sorted.map { input in
            for adapter in [input.adapter, input.minus].compactMap({ $0 }) where adapter.layout.shape != shape {
                throw MMedError(
                    .badData, at: input.label, "its adapter fits another model: \(adapter.layout.shape), not \(shape)",
                    mend: "merge adapters of one base model")
            }
            return Vector(
                label: input.label, stage: input.stage, adapter: place(input.adapter), minus: input.minus.map(place))
        }
        let rank = settings.method == .linear ? adapters.reduce(0) { $0 + $1.layout.settings.rank } : settings.rank
        let targets = Projection.allCases.filter { target in
            adapters.contains { $0.layout.settings.targets.contains(target) }
        }
        let layout = AdapterLayout(
            settings: AdapterSettings(rank: rank, alpha: Double(rank), targets: targets), shape: shape)
        guard !layout.pairs.isEmpty else {
            throw MMedError(.badData, at: first.label, "its adapter adapts no matrix")
        }
        self.settings = settings
        self.layout = layout
        self.adapters = adapters
        placeByModule = Dictionary(
            uniqueKeysWithValues: layout.pairs.enumerated().map { ($1.modulePath + ".weight", $0) })
    }

    /// How many matrices there are to merge, in the order of `layout.pairs`.
    public var matrixCount: Int { layout.pairs.count }

    /// Place of the matrix of a checkpoint's tensor such as `model.layers.0.mlp.up_proj.weight`; nil where none is
    /// adapted.
    public func matrixIndex(ofTensor tensor: String) -> Int? { placeByModule[tensor] }

    /// ΔW of the method at one matrix, `[output, input]` row-major, before any truncation.
    public func mergedDelta(matrix index: Int) -> [Float] {
        let pair = layout.pairs[index]
        let participants = trimmed(taskMatrices(pair))
        return combine(participants, count: pair.output * pair.input, settings: settings).merged
    }

    /// All task vectors at one matrix, in order, zeros included.
    func taskMatrices(_ pair: AdapterLayout.Pair) -> [TaskMatrix] {
        vectors.map { vector in
            TaskMatrix(
                adapter: adapters[vector.adapter].factors(at: pair),
                minus: vector.minus.flatMap { adapters[$0].factors(at: pair) })
        }
    }

    /// Those that take part, trimmed.
    func trimmed(_ matrices: [TaskMatrix]) -> [Participant] {
        zip(vectors, matrices).compactMap { vector, matrix in
            guard !matrix.isZero else { return nil }
            return Participant(
                stage: vector.stage, values: matrix.values, norm: matrix.norm,
                trimmed: TrimmedVector(matrix.values, density: settings.density))
        }
    }

    /// `linear` as factors: every distinct adapter by the sum of what the vectors ask of it, stacked. Exact, of rank
    /// Σr.
    func stackedFactors(_ pair: AdapterLayout.Pair, _ matrices: [TaskMatrix]) -> FactoredMatrix {
        let taking = matrices.indices.filter { !matrices[$0].isZero }
        let weights = ClassWeights(
            stages: taking.map { vectors[$0].stage }, norms: taking.map { matrices[$0].norm }, settings: settings)
        var factorOfAdapter = [Double](repeating: 0, count: adapters.count)
        for (place, index) in taking.enumerated() {
            factorOfAdapter[vectors[index].adapter] += weights.mean[place]
            if let minus = vectors[index].minus { factorOfAdapter[minus] -= weights.mean[place] }
        }
        var stack = FactoredMatrix(output: pair.output, input: pair.input, rank: 0, b: [], a: [])
        for (adapter, factor) in zip(adapters, factorOfAdapter) {
            let rank = adapter.layout.settings.rank
            let nothing = FactoredMatrix(
                output: pair.output, input: pair.input, rank: rank,
                b: [Float](repeating: 0, count: pair.output * rank), a: [Float](repeating: 0, count: rank * pair.input))
            stack = stack.stacked(with: adapter.factors(at: pair)?.scaled(by: factor) ?? nothing)
        }
        return stack
    }
}

extension AdapterWeights {
    /// ΔW of the adapter at a layer and projection, which may be a pair of another layout; nil where it adapts nothing.
    func factors(at pair: AdapterLayout.Pair) -> FactoredMatrix? {
        guard let target = layout.settings.targets.firstIndex(of: pair.projection) else { return nil }
        return FactoredMatrix(self, layout.pairs[pair.layer * layout.settings.targets.count + target])
    }
}
