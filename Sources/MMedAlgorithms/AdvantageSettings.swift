public import MMedCore

/// What a sample's reward is compared with: the lambda of the blend between its guideline's mean (0) and the pooled mean (1).
public enum Baseline: Hashable, Sendable {
    /// The mean of the sample's own guideline, lambda 0.
    case within
    /// The mean of all valid samples of the question, lambda 1.
    case pooled
    /// A fixed lambda in 0...1.
    case blend(lambda: Double)
    /// The variance-minimising lambda estimated from past steps (`BlendState`).
    case auto

    /// The names of a configuration, default first.
    public static let names = ["within", "pooled", "blend", "auto"]

    /// The name of a configuration.
    public var name: String {
        switch self {
        case .within: "within"
        case .pooled: "pooled"
        case .blend: "blend"
        case .auto: "auto"
        }
    }

    /// The baseline of that name; `lambda` is needed by `blend` and refused by the others.
    /// - Throws: `badConfig` naming `section.baseline` or `section.lambda`.
    public init(name: String, lambda: Double?, section: String = "advantages") throws(MMedError) {
        switch name {
        case "within": self = .within
        case "pooled": self = .pooled
        case "auto": self = .auto
        case "blend":
            guard let lambda else {
                throw MMedError(
                    .badConfig, at: "\(section).lambda", "baseline blend needs a lambda in 0...1",
                    mend: "add lambda, or choose within (0), pooled (1) or auto")
            }
            self = .blend(lambda: lambda)
        default:
            throw MMedError(
                .badConfig, at: "\(section).baseline",
                "\"\(name)\" is not one of \(Baseline.names.joined(separator: ", "))", mend: "use one of these")
        }
        if lambda != nil && name != "blend" {
            throw MMedError(
                .badConfig, at: "\(section).lambda", "only baseline blend takes a lambda, not \(name)",
                mend: "remove lambda or set baseline to blend")
        }
    }
}

/// The divisor S of the advantages.
public enum AdvantageScale: String, CaseIterable, Sendable {
    /// S = 1.
    case none
    /// The Bessel standard deviation of the question's valid rewards.
    case question
    /// The Bessel standard deviation of all valid rewards of the step.
    case batch
    /// The Bessel standard deviation of the guideline's valid rewards.
    case guideline
}

/// The weights w_g of the guidelines in the loss, renormalised over the guidelines that have a valid sample.
public enum GuidelineWeights: Hashable, Sendable {
    /// The same for each.
    case uniform
    /// In proportion to the valid samples: every sample of the question weighs the same.
    case count
    /// One positive number for each guideline, in the order of the guidelines.
    case list([Double])
}

/// How rewards become advantages (docs: Guideline-Based Advantages, section 1; this project's own definition).
public struct AdvantageSettings: Hashable, Sendable {
    /// What a reward is compared with.
    public var baseline: Baseline
    /// Leave the sample itself out of both means, which keeps the gradient unbiased whatever the counts.
    public var leaveOneOut: Bool
    /// The divisor S.
    public var scale: AdvantageScale
    /// The weights w_g.
    public var weights: GuidelineWeights

    /// The defaults are those of GBA.
    public init(
        baseline: Baseline = .within, leaveOneOut: Bool = true, scale: AdvantageScale = .none,
        weights: GuidelineWeights = .uniform
    ) {
        self.baseline = baseline
        self.leaveOneOut = leaveOneOut
        self.scale = scale
        self.weights = weights
    }

    /// Checks every number; `guidelineCount` is the number of configured guidelines where it is known.
    /// - Throws: `badConfig` naming the key under `section`.
    public func validate(guidelineCount: Int? = nil, section: String = "advantages") throws(MMedError) {
        if case .blend(let lambda) = baseline, !(0...1).contains(lambda) {
            throw MMedError(
                .badConfig, at: "\(section).lambda", "\(lambda) is not in 0...1",
                mend: "0 compares within a guideline, 1 with all samples of the question")
        }
        guard case .list(let list) = weights else { return }
        for (index, weight) in list.enumerated() where !(weight > 0 && weight <= 1e100) {
            throw MMedError(
                .badConfig, at: "\(section).weights[\(index)]", "\(weight) is not above 0 and at most 1e100",
                mend: "give each guideline a positive weight; they are renormalised")
        }
        if list.isEmpty || (guidelineCount != nil && list.count != guidelineCount) {
            let expected = guidelineCount.map { "one for each of the \($0) guidelines" } ?? "at least one"
            throw MMedError(
                .badConfig, at: "\(section).weights", "\(list.count) weights are given, expected \(expected)",
                mend: "list the weights in the order of the guidelines, or use uniform or count")
        }
    }
}
