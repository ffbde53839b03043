public import MMedCore

/// The prompt under which the policy is trained.
public enum LossTarget: String, CaseIterable, Sendable {
    /// The prompt with the guideline that the path was sampled from.
    case conditioned
    /// The plain prompt: policy, ratio and KL are taken at the question without a guideline.
    case stripped
}

/// How a path sampled under a guideline prompt is weighed when the plain prompt is trained.
public enum StrippedWeights: String, CaseIterable, Sendable {
    /// One ratio for each token: biased, low variance.
    case token
    /// The ratio of the whole path: exact when the truncation is infinite, high variance.
    case sequence
    /// No weight.
    case none
}

/// What the importance ratio u of the clipped objective covers.
public enum Importance: String, CaseIterable, Sendable {
    /// One ratio for each token (Schulman et al. 2017, PPO).
    case token
    /// exp of the mean log-ratio of the path (Zheng et al. 2025, GSPO), clipped for the path.
    case sequence
}

/// The normaliser Z of the loss.
public enum Aggregation: String, CaseIterable, Sendable {
    /// Z = questions planned x the longest completion allowed (Liu et al. 2025, Dr. GRPO).
    case constant
    /// Each path is divided by its length, Z = questions planned (Shao et al. 2024, GRPO).
    case sequence
    /// Z = the weighted number of completion tokens of the step (Yu et al. 2025, DAPO).
    case token
}

/// The policy that the ratio u is taken against.
public enum ProximalPolicy: String, CaseIterable, Sendable {
    /// The policy at the start of the update step; staleness is carried by the truncated weight c.
    case step
    /// The policy that sampled the path; c = 1 (classic PPO and GRPO).
    case roll
}

/// The per-token estimate of the divergence from the reference policy (Schulman 2020, "Approximating KL divergence").
public enum KLEstimator: String, CaseIterable, Sendable {
    /// log(new/ref): as a loss its expected gradient is zero on policy, so that settings refuse it with a coefficient.
    case k1
    /// Half the squared log-ratio: on policy its gradient is that of KL(new || ref).
    case k2
    /// ref/new - 1 - log(ref/new): on policy its gradient is that of KL(ref || new).
    case k3
}

/// The trust region 1 - low ... 1 + high of the ratio u.
public struct ClipRange: Hashable, Sendable {
    /// Epsilon below 1.
    public var low: Double
    /// Epsilon above 1.
    public var high: Double

    /// Both epsilons.
    public init(low: Double, high: Double) {
        self.low = low
        self.high = high
    }
}

/// How advantages become a loss (docs: Guideline-Based Advantages, section 1).
public struct LossSettings: Hashable, Sendable {
    /// Log-ratios are held in this distance of 0 before they are exponentiated, without gradient beyond.
    public static let logRatioMax = 20.0

    /// The prompt that is trained.
    public var target: LossTarget
    /// Weights when the plain prompt is trained.
    public var strippedWeights: StrippedWeights
    /// What u covers.
    public var importance: Importance
    /// The normaliser.
    public var aggregation: Aggregation
    /// What u is taken against.
    public var prox: ProximalPolicy
    /// Successive updates that a step is cut into; 1 with `prox` step needs no extra forward and u is 1.
    public var updatesPerStep: Int
    /// The trust region; nil is no clipping.
    public var clip: ClipRange?
    /// Beta, the factor of the divergence from the reference.
    public var klCoefficient: Double
    /// The estimate of that divergence.
    public var klEstimator: KLEstimator
    /// C, the greatest off-policy weight, at least 1; infinity is no truncation.
    public var truncation: Double
    /// Leave paths that ended without an end token out of the loss; they stay in every baseline.
    public var maskTruncated: Bool

    /// The defaults are those of GBA.
    public init(
        target: LossTarget = .conditioned, strippedWeights: StrippedWeights = .token, importance: Importance = .token,
        aggregation: Aggregation = .constant, prox: ProximalPolicy = .step, updatesPerStep: Int = 1,
        clip: ClipRange? = ClipRange(low: 0.2, high: 0.28), klCoefficient: Double = 0, klEstimator: KLEstimator = .k2,
        truncation: Double = 2, maskTruncated: Bool = false
    ) {
        self.target = target
        self.strippedWeights = strippedWeights
        self.importance = importance
        self.aggregation = aggregation
        self.prox = prox
        self.updatesPerStep = updatesPerStep
        self.clip = clip
        self.klCoefficient = klCoefficient
        self.klEstimator = klEstimator
        self.truncation = truncation
        self.maskTruncated = maskTruncated
    }

    /// True when the learner must compute and keep the log-probs of the policy at the start of the step.
    public var needsProximalLogprobs: Bool { prox == .step && updatesPerStep > 1 }

    /// True when the learner must compute the log-probs of the reference policy.
    public var needsReferenceLogprobs: Bool { klCoefficient > 0 }

    /// Checks every number and the combinations.
    /// - Throws: `badConfig` naming the key under `section`.
    public func validate(section: String = "advantages") throws(MMedError) {
        func refuse(_ key: String, _ problem: String, _ mend: String) -> MMedError {
            MMedError(.badConfig, at: "\(section).\(key)", problem, mend: mend)
        }
        guard (1...1024).contains(updatesPerStep) else {
            throw refuse("updatesPerStep", "\(updatesPerStep) is not in 1...1024", "1 is on-policy")
        }
        if let clip {
            guard clip.low.isFinite, clip.low >= 0, clip.low <= 1 else {
                throw refuse("clipLow", "\(clip.low) is not in 0...1", "0.2 is usual")
            }
            guard clip.high.isFinite, clip.high >= 0 else {
                throw refuse("clipHigh", "\(clip.high) is not a finite number of at least 0", "0.2 to 0.28 is usual")
            }
        }
        guard klCoefficient.isFinite, klCoefficient >= 0 else {
            throw refuse("beta", "\(klCoefficient) is not a finite number of at least 0", "0 switches it off")
        }
        guard klCoefficient == 0 || klEstimator != .k1 else {
            throw refuse("kl", "k1 as a loss has zero expected gradient", "use k2 or k3")
        }
        // Below 1 it would shrink the paths of the current policy too.
        guard truncation >= 1 else {
            throw refuse("truncation", "\(truncation) is not at least 1", "2 is usual, infinity is no truncation")
        }
        guard target == .conditioned || prox == .step else {
            throw refuse("prox", "target stripped needs prox step, which carries its weights", "set prox to step")
        }
    }
}
