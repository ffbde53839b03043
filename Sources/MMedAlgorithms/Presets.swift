public import MMedCore

/// Everything that turns rewards into a gradient.
public struct AlgorithmSettings: Hashable, Sendable {
    /// Rewards to advantages.
    public var advantages: AdvantageSettings
    /// Advantages to a loss.
    public var loss: LossSettings
    /// Greatest number of further rounds for a question whose samples are all correct or all wrong; 0 is none.
    public var resamplingRounds: Int

    /// The defaults are those of GBA.
    public init(
        advantages: AdvantageSettings = AdvantageSettings(), loss: LossSettings = LossSettings(),
        resamplingRounds: Int = 0
    ) {
        self.advantages = advantages
        self.loss = loss
        self.resamplingRounds = resamplingRounds
    }

    /// Checks every number and the combinations.
    /// - Throws: `badConfig` naming the key under `section`.
    public func validate(guidelineCount: Int? = nil, section: String = "advantages") throws(MMedError) {
        try advantages.validate(guidelineCount: guidelineCount, section: section)
        try loss.validate(section: section)
        guard (0...64).contains(resamplingRounds) else {
            throw MMedError(
                .badConfig, at: "\(section).resamplingRounds", "\(resamplingRounds) is not in 0...64",
                mend: "0 is no resampling")
        }
    }
}

/// Named points of the one loss; all but `gba` are published algorithms and weigh every sample alike.
public enum Preset: String, CaseIterable, Sendable {
    /// Guideline-based advantages, this project's definition.
    case gba
    /// Shao et al. 2024, arXiv 2402.03300.
    case grpo
    /// Liu et al. 2025, arXiv 2503.20783.
    case drGrpo = "dr-grpo"
    /// Yu et al. 2025, arXiv 2503.14476.
    case dapo
    /// Zheng et al. 2025, arXiv 2507.18071.
    case gspo
    /// Ahmadian et al. 2024, arXiv 2402.14740.
    case rloo

    /// The settings of that name.
    public var settings: AlgorithmSettings {
        switch self {
        case .gba: AlgorithmSettings()
        case .grpo:
            pooled(
                scale: .question,
                LossSettings(
                    aggregation: .sequence, prox: .roll, clip: ClipRange(low: 0.2, high: 0.2), klCoefficient: 0.04,
                    klEstimator: .k3))
        case .drGrpo:
            pooled(
                scale: .none,
                LossSettings(aggregation: .constant, prox: .roll, clip: ClipRange(low: 0.2, high: 0.2)))
        case .dapo:
            pooled(
                scale: .question,
                LossSettings(aggregation: .token, prox: .roll, clip: ClipRange(low: 0.2, high: 0.28)),
                resamplingRounds: 3)
        case .gspo:
            pooled(
                scale: .question,
                LossSettings(
                    importance: .sequence, aggregation: .sequence, prox: .roll, clip: ClipRange(low: 3e-4, high: 4e-4)))
        case .rloo:
            pooled(
                leaveOneOut: true, scale: .none, LossSettings(aggregation: .constant, prox: .roll, clip: nil))
        }
    }

    private func pooled(
        leaveOneOut: Bool = false, scale: AdvantageScale, _ loss: LossSettings, resamplingRounds: Int = 0
    ) -> AlgorithmSettings {
        AlgorithmSettings(
            advantages: AdvantageSettings(
                baseline: .pooled, leaveOneOut: leaveOneOut, scale: scale, weights: .count),
            loss: loss, resamplingRounds: resamplingRounds)
    }
}
