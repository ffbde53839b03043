public import MMedCore

/// Which stage of training a task vector comes from; `caci` weighs the two classes apart.
public enum MergeStage: String, CaseIterable, Comparable, Codable, Sendable {
    /// Supervised fine-tuning: τ = ΔW of the DSA adapter.
    case sft
    /// Reinforcement: τ = ΔW of the GBA adapter - ΔW of the DSA adapter that it continued.
    case rl

    /// SFT first.
    public static func < (left: MergeStage, right: MergeStage) -> Bool { left == .sft && right == .rl }
}

/// An adapter's numbers in its layout: ΔW = scale·B·A for each pair.
public struct AdapterWeights: Hashable, Sendable {
    /// Rank, scale, targets and widths.
    public let layout: AdapterLayout
    /// The flat fp32 vector of the layout.
    public let values: [Float]

    /// Throws `badData` when the count is not the layout's or a number is not finite.
    public init(layout: AdapterLayout, values: [Float]) throws {
        guard layout.settings.rank > 0, layout.settings.scale.isFinite else {
            throw MMedError(.badData, "an adapter of rank \(layout.settings.rank) and alpha \(layout.settings.alpha)")
        }
        guard values.count == layout.parameterCount else {
            throw MMedError(
                .badData, "an adapter holds \(values.count) numbers, its layout \(layout.parameterCount)",
                mend: "the adapter's config and weights must be of one training run")
        }
        guard let bad = values.firstIndex(where: { !$0.isFinite }) else {
            self.layout = layout
            self.values = values
            return
        }
        throw MMedError(.badData, "number \(bad) of an adapter is not finite", mend: "merge an earlier version")
    }
}

/// One task vector of a merge.
public struct MergeInput: Sendable {
    /// The specialty; unique together with the stage. Sums run in the order of (name, stage), whatever the order given.
    public let name: Name
    /// SFT or RL.
    public let stage: MergeStage
    /// The adapter.
    public let adapter: AdapterWeights
    /// What is taken off: the DSA adapter under a GBA adapter. Rank, scale and targets may differ, the widths not.
    public let minus: AdapterWeights?

    /// τ = ΔW(adapter) - ΔW(minus).
    public init(name: Name, stage: MergeStage, adapter: AdapterWeights, minus: AdapterWeights? = nil) {
        self.name = name
        self.stage = stage
        self.adapter = adapter
        self.minus = minus
    }

    /// The two task vectors of one specialty: τ_SFT = ΔW_DSA and τ_RL = ΔW_GBA - ΔW_DSA.
    public static func specialty(_ name: Name, supervised: AdapterWeights, reinforced: AdapterWeights) -> [MergeInput] {
        [
            MergeInput(name: name, stage: .sft, adapter: supervised),
            MergeInput(name: name, stage: .rl, adapter: reinforced, minus: supervised),
        ]
    }

    /// `name/stage`, as reports print it.
    public var label: String { "\(name.text)/\(stage.rawValue)" }
}

/// How task vectors become one. In every method zero vectors are left out, matrix by matrix.
public enum MergeMethod: String, CaseIterable, Codable, Sendable {
    /// λ_SFT times the mean of the SFT vectors plus λ_RL times that of the RL vectors (Wortsman et al. 2022), exact:
    /// the factors of all distinct adapters are stacked and the rank is the sum of theirs.
    case linear
    /// Σ λ·τ (Ilharco et al. 2023).
    case taskArithmetic
    /// Trim, elect sign, disjoint mean (Yadav et al. 2023) on the vectors as they are; λ multiplies each vector of its
    /// class in the mean.
    case ties
    /// Conflict-aware: trim and elect on vectors of norm 1, disjoint mean within each class, each class at its mean
    /// norm.
    case caci
}

/// The knobs of a merge.
public struct MergeSettings: Hashable, Codable, Sendable {
    /// `caci` unless told.
    public var method: MergeMethod
    /// Part of each task vector's entries that trimming keeps, 0 < d ≤ 1.
    public var density: Double
    /// λ_SFT.
    public var lambdaSFT: Double
    /// λ_RL.
    public var lambdaRL: Double
    /// Rank of the merged adapter, but for `linear`.
    public var rank: Int

    /// The defaults are the project's: caci, d 0.2, λ 1 and 1, rank 64.
    public init(
        method: MergeMethod = .caci, density: Double = 0.2, lambdaSFT: Double = 1, lambdaRL: Double = 1, rank: Int = 64
    ) {
        self.method = method
        self.density = density
        self.lambdaSFT = lambdaSFT
        self.lambdaRL = lambdaRL
        self.rank = rank
    }

    /// Throws `badConfig` naming the key.
    public func check() throws {
        guard density > 0, density <= 1 else {
            throw MMedError(.badConfig, at: "merge.density", "\(density) is not in (0, 1]", mend: "0.2 is the default")
        }
        for (key, lambda) in [("lambdaSFT", lambdaSFT), ("lambdaRL", lambdaRL)] where !(abs(lambda) <= 1e6) {
            throw MMedError(.badConfig, at: "merge.\(key)", "\(lambda) is not a number from -1e6 to 1e6")
        }
        guard (1...65_536).contains(rank) else {
            throw MMedError(.badConfig, at: "merge.rank", "\(rank) is not from 1 to 65536", mend: "64 is the default")
        }
    }

    /// λ of a class.
    func lambda(of stage: MergeStage) -> Double { stage == .sft ? lambdaSFT : lambdaRL }
}
