public import MMedAlgorithms

/// The policy loss of GBA, by the names of the table in `docs/GBA.md`.
public struct AdvantagesConfig: Equatable, Sendable {
    /// What a reward is compared with.
    public enum Baseline: String, CaseIterable, Sendable {
        /// The mean of the same guideline.
        case within
        /// The mean of the question.
        case pooled
        /// A mix of both, by `lambda`.
        case blend
        /// A mix by past variances.
        case auto
    }

    /// A published special case of the one loss.
    public enum PresetName: String, CaseIterable, Sendable {
        /// Shao et al. 2024.
        case grpo = "GRPO"
        /// Liu et al. 2025.
        case drGRPO = "DrGRPO"
        /// Yu et al. 2025; it also turns `gba.resample` on.
        case dapo = "DAPO"
        /// Zheng et al. 2025.
        case gspo = "GSPO"
        /// Ahmadian et al. 2024.
        case rloo = "RLOO"

        /// The same by the algorithms' own name.
        public var preset: Preset {
            switch self {
            case .grpo: .grpo
            case .drGRPO: .drGrpo
            case .dapo: .dapo
            case .gspo: .gspo
            case .rloo: .rloo
            }
        }
    }

    /// Sets all keys that are not written out beside it.
    public var preset: PresetName?
    /// What a reward is compared with.
    public var baseline = Baseline.within
    /// Share of the pooled baseline; `blend` needs it, the others refuse it.
    public var lambda: Double?
    /// Leave each path out of its own baseline.
    public var leaveOneOut = true
    /// What an advantage is divided by.
    public var scale = AdvantageScale.none
    /// How much each guideline counts.
    public var weights = GuidelineWeights.uniform
    /// Which prompt's policy is trained.
    public var target = LossTarget.conditioned
    /// Path weights of the stripped target.
    public var strippedWeights = StrippedWeights.token
    /// The unit of the importance ratio.
    public var importance = Importance.token
    /// What the loss is divided by.
    public var aggregation = Aggregation.constant
    /// The policy that clipping measures from.
    public var prox = ProximalPolicy.step
    /// Successive updates that one step is cut into.
    public var updatesPerStep = 1
    /// The ratio is clipped below 1 - clipLow; nil, with clipHigh, never clips.
    public var clipLow: Double? = 0.2
    /// The ratio is clipped above 1 + clipHigh; nil, with clipLow, never clips.
    public var clipHigh: Double? = 0.28
    /// Factor on the KL term.
    public var beta = 0.0
    /// The KL estimate.
    public var kl = KLEstimator.k2
    /// Bound C on the staleness weight; nil is no bound.
    public var truncation: Double? = 2
    /// Leave paths without an end token out of the loss; they stay in every baseline.
    public var maskTruncated = false

    /// The definition's defaults.
    public init() {}

    /// The values of a preset (`docs/GBA.md`, section 1).
    public init(preset name: PresetName) {
        let settings = name.preset.settings
        preset = name
        switch settings.advantages.baseline {
        case .within: baseline = .within
        case .pooled: baseline = .pooled
        case .auto: baseline = .auto
        case .blend(let lambda): (baseline, self.lambda) = (.blend, lambda)
        }
        leaveOneOut = settings.advantages.leaveOneOut
        scale = settings.advantages.scale
        weights = settings.advantages.weights
        target = settings.loss.target
        strippedWeights = settings.loss.strippedWeights
        importance = settings.loss.importance
        aggregation = settings.loss.aggregation
        prox = settings.loss.prox
        updatesPerStep = settings.loss.updatesPerStep
        clipLow = settings.loss.clip?.low
        clipHigh = settings.loss.clip?.high
        beta = settings.loss.klCoefficient
        kl = settings.loss.klEstimator
        truncation = settings.loss.truncation.isFinite ? settings.loss.truncation : nil
        maskTruncated = settings.loss.maskTruncated
    }

    /// Rewards to advantages. A `blend` without lambda, which no loaded file has, counts as lambda 0.
    public var advantageSettings: AdvantageSettings {
        let kind: MMedAlgorithms.Baseline =
            switch baseline {
            case .within: .within
            case .pooled: .pooled
            case .blend: .blend(lambda: lambda ?? 0)
            case .auto: .auto
            }
        return AdvantageSettings(baseline: kind, leaveOneOut: leaveOneOut, scale: scale, weights: weights)
    }

    /// Advantages to a loss. One missing side of the clip range, which no loaded file has, counts as no clipping.
    public var lossSettings: LossSettings {
        var clip: ClipRange?
        if let clipLow, let clipHigh { clip = ClipRange(low: clipLow, high: clipHigh) }
        return LossSettings(
            target: target, strippedWeights: strippedWeights, importance: importance, aggregation: aggregation,
            prox: prox, updatesPerStep: updatesPerStep, clip: clip, klCoefficient: beta, klEstimator: kl,
            truncation: truncation ?? .infinity, maskTruncated: maskTruncated)
    }
}
