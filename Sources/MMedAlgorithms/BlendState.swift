/// The estimate behind baseline `auto`, one for each adapter and part of its checkpoint. It keeps moving averages (0.9) of
/// the noise of a guideline's mean, s^2 / n, and of the variance V between the guidelines' means, both over past steps.
///
/// With tau^2 = max(0, V - s^2/n) the variance of the baseline is least at lambda = (s^2/n) / (s^2/n + tau^2): the means
/// of guidelines that do not differ are pooled, those that do are kept apart. Both averages start at 0 and need no
/// correction for it, because lambda is their ratio.
public struct BlendState: Hashable, Sendable {
    /// The weight of the past in the moving averages.
    public static let decay = 0.9

    /// The moving average of s^2 / n, in squared rewards.
    public var noise: Double
    /// The moving average of the variance between guideline means, in squared rewards.
    public var spread: Double

    /// The state before the first step, or one from a checkpoint.
    public init(noise: Double = 0, spread: Double = 0) {
        self.noise = noise
        self.spread = spread
    }

    /// lambda for the next step; 1 before the first step and while both averages are 0.
    public var lambda: Double {
        let separation = max(0, spread - noise)
        return noise + separation > 0 ? noise / (noise + separation) : 1
    }

    /// The state after a step with these questions, given in the order of their ids.
    ///
    /// A question counts when two guidelines are present and one of them has two valid samples; the step's figures are
    /// the means over those questions, and a step without one leaves the state as it is.
    public func updated(with questions: [GroupStatistics]) -> BlendState {
        var (noiseSum, spreadSum, count) = (0.0, 0.0, 0)
        for question in questions {
            guard let terms = BlendState.terms(of: question) else { continue }
            noiseSum += terms.noise
            spreadSum += terms.spread
            count += 1
        }
        guard count > 0 else { return self }
        let fresh = 1 - BlendState.decay
        return BlendState(
            noise: BlendState.decay * noise + fresh * (noiseSum / Double(count)),
            spread: BlendState.decay * spread + fresh * (spreadSum / Double(count)))
    }

    /// s^2 / (harmonic mean of n_g), s^2 pooled with N - K degrees, and the K - 1 variance of the guideline means.
    private static func terms(of question: GroupStatistics) -> (noise: Double, spread: Double)? {
        let present = question.guidelines.filter { $0.validCount > 0 }
        let freedom = question.validCount - present.count
        guard present.count >= 2, freedom > 0 else { return nil }
        let guidelineCount = Double(present.count)
        var (deviations, reciprocals, meanSum) = (0.0, 0.0, 0.0)
        for guideline in present {
            deviations += guideline.squaredDeviations
            reciprocals += 1 / Double(guideline.validCount)
            meanSum += guideline.mean
        }
        let grandMean = meanSum / guidelineCount
        var spread = 0.0
        for guideline in present { spread += (guideline.mean - grandMean) * (guideline.mean - grandMean) }
        let pooledVariance = deviations / Double(freedom)
        return (pooledVariance * reciprocals / guidelineCount, spread / (guidelineCount - 1))
    }
}
