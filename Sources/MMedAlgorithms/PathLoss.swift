public import MMedCore

/// The loss of one path and its derivative, weight included; what a learner backpropagates.
public struct PathLoss: Hashable, Sendable {
    /// The path's part of L.
    public var loss = 0.0
    /// dL / d log pi_theta of each completion token, shape [tokens]; 0 where masked, clipped or clamped.
    public var lossPerLogprob: [Double]
    /// Tokens in the loss.
    public var lossTokens = 0
    /// Tokens whose ratio is beyond the trust region on the side where the gradient is 0.
    public var clippedTokens = 0
    /// Tokens whose off-policy weight was cut to C.
    public var truncatedWeights = 0
    /// The sum of the divergence estimates over the loss tokens, in nats, without weight and coefficient.
    public var klSum = 0.0
    /// The sum of the ratios u over the loss tokens.
    public var ratioSum = 0.0
    /// The sum of the off-policy weights c over the loss tokens.
    public var offPolicyWeightSum = 0.0

    /// No loss, of a path of so many tokens.
    public init(tokenCount: Int) { lossPerLogprob = [Double](repeating: 0, count: tokenCount) }
}

/// The loss of one path (docs: Guideline-Based Advantages, section 1):
///
///     -weight * sum_t c_t min(u_t A, clip(u_t) A) + weight * beta * sum_t kl_t
///
/// where u = pi_new / pi_prox and c = stop_grad(min(pi_prox / pi_roll, C)). With `prox` roll, pi_prox = pi_roll and c = 1;
/// with `prox` step and one update a step, pi_prox = stop_grad(pi_new), so that u is 1 and its gradient that of log pi.
/// With importance `sequence` u is exp of the mean log-ratio over the loss tokens, for all of them. With target `stripped`
/// all arguments but `roll` are log-probs at the plain prompt, and c is per token, of the whole path, or 1.
/// Log-ratios inside u and c are held within ±20, without gradient beyond.
///
/// - Parameters:
///   - new: log pi_theta of each completion token, in nats, shape [tokens], like all arrays here.
///   - prox: log pi_prox; needed when `settings.needsProximalLogprobs`, else not read.
///   - roll: log-probs of the policy that sampled the path, at the prompt it was sampled from.
///   - reference: log pi_ref; needed when the KL coefficient is above 0, else not read.
///   - tokenMask: true for the tokens in the loss; nil is all.
///   - advantage: A.
///   - weight: the path's factor from `pathWeights`.
///   - settings: the loss.
/// - Throws: `badData` for unequal lengths, a missing array or a number that is not finite.
public func pathLoss(
    new: [Double], prox: [Double]? = nil, roll: [Double], reference: [Double]? = nil, tokenMask: [Bool]? = nil,
    advantage: Double, weight: Double, settings: LossSettings
) throws(MMedError) -> PathLoss {
    let anchor: [Double]
    switch settings.prox {
    case .roll: anchor = roll
    case .step where settings.updatesPerStep == 1: anchor = new
    case .step: anchor = try required(prox, "the log-probs at the start of the step", count: new.count)
    }
    let frozen = settings.klCoefficient > 0 ? try required(reference, "reference log-probs", count: new.count) : nil
    try requireFinite(new, "new log-probs", count: new.count)
    try requireFinite(roll, "rollout log-probs", count: new.count)
    guard tokenMask == nil || tokenMask?.count == new.count, advantage.isFinite, weight.isFinite, weight >= 0 else {
        throw MMedError(
            .badData, at: "path loss",
            "mask of \(tokenMask?.count ?? new.count) for \(new.count) tokens, advantage \(advantage), weight \(weight)",
            mend: "give one mask entry a token, a finite advantage and a finite weight of at least 0")
    }
    var result = PathLoss(tokenCount: new.count)
    let tokens = tokenMask.map { mask in new.indices.filter { mask[$0] } } ?? Array(new.indices)
    guard !tokens.isEmpty else { return result }
    result.lossTokens = tokens.count
    let offPolicy = offPolicyWeights(anchor: anchor, roll: roll, settings: settings)
    for token in tokens {
        result.offPolicyWeightSum += offPolicy.values[token]
        if offPolicy.isTruncated[token] { result.truncatedWeights += 1 }
    }
    switch settings.importance {
    case .token:
        for token in tokens {
            let part = clippedPart(logRatio: new[token] - anchor[token], advantage: advantage, settings: settings)
            result.loss -= weight * offPolicy.values[token] * part.value
            result.lossPerLogprob[token] = -weight * offPolicy.values[token] * part.slope
            result.ratioSum += part.ratio
            if part.isClipped { result.clippedTokens += 1 }
        }
    case .sequence:
        let mean = tokens.reduce(0) { $0 + (new[$1] - anchor[$1]) } / Double(tokens.count)
        let part = clippedPart(logRatio: mean, advantage: advantage, settings: settings)
        // Each token's objective holds the one ratio, and the ratio holds each token's log-prob over their number.
        result.loss = -weight * result.offPolicyWeightSum * part.value
        let slope = -weight * result.offPolicyWeightSum * part.slope / Double(tokens.count)
        for token in tokens { result.lossPerLogprob[token] = slope }
        result.ratioSum = part.ratio * Double(tokens.count)
        if part.isClipped { result.clippedTokens = tokens.count }
    }
    if let frozen {
        for token in tokens {
            let estimate = klEstimate(new: new[token], reference: frozen[token], estimator: settings.klEstimator)
            result.klSum += estimate.value
            result.loss += weight * settings.klCoefficient * estimate.value
            result.lossPerLogprob[token] += weight * settings.klCoefficient * estimate.slope
        }
    }
    return result
}

/// One token's estimate of the divergence of the new policy from the reference, and its derivative by log pi_new.
/// The exponent of k3 is held at 20, without gradient beyond; k1 and k2 hold no exponential and need no such limit.
public func klEstimate(
    new: Double, reference: Double, estimator: KLEstimator
) -> (value: Double, slope: Double) {
    let logRatio = new - reference
    switch estimator {
    case .k1: return (logRatio, 1)
    case .k2: return (0.5 * logRatio * logRatio, logRatio)
    case .k3:
        let exponent = -logRatio
        if exponent > LossSettings.logRatioMax {
            return (Elementary.exp(LossSettings.logRatioMax) - LossSettings.logRatioMax - 1, 0)
        }
        let ratio = Elementary.exp(exponent)
        return (ratio - exponent - 1, 1 - ratio)
    }
}

/// min(u A, clip(u) A), its derivative by the log-ratio, and u.
private func clippedPart(
    logRatio: Double, advantage: Double, settings: LossSettings
) -> (value: Double, slope: Double, ratio: Double, isClipped: Bool) {
    let limit = LossSettings.logRatioMax
    let ratio = Elementary.exp(min(max(logRatio, -limit), limit))
    let plain = ratio * advantage
    if let clip = settings.clip {
        let bounded = min(max(ratio, 1 - clip.low), 1 + clip.high) * advantage
        if bounded < plain { return (bounded, 0, ratio, true) }
    }
    return (plain, logRatio.magnitude > limit ? 0 : plain, ratio, false)
}

/// c of every token, and whether it was cut to C.
private func offPolicyWeights(
    anchor: [Double], roll: [Double], settings: LossSettings
) -> (values: [Double], isTruncated: [Bool]) {
    let limit = LossSettings.logRatioMax
    func weight(_ logRatio: Double) -> (value: Double, isTruncated: Bool) {
        let ratio = Elementary.exp(min(max(logRatio, -limit), limit))
        return (min(ratio, settings.truncation), ratio > settings.truncation)
    }
    let isStripped = settings.target == .stripped
    if settings.prox == .roll || (isStripped && settings.strippedWeights == .none) {
        return ([Double](repeating: 1, count: roll.count), [Bool](repeating: false, count: roll.count))
    }
    if isStripped && settings.strippedWeights == .sequence {
        // The weight of a path is that of all its tokens, also of those out of the loss.
        let whole = weight(zip(anchor, roll).reduce(0) { $0 + ($1.0 - $1.1) })
        return (
            [Double](repeating: whole.value, count: roll.count),
            [Bool](repeating: whole.isTruncated, count: roll.count)
        )
    }
    let each = zip(anchor, roll).map { weight($0 - $1) }
    return (each.map(\.value), each.map(\.isTruncated))
}

private func required(_ logprobs: [Double]?, _ what: String, count: Int) throws(MMedError) -> [Double] {
    guard let logprobs else {
        throw MMedError(.badData, at: "path loss", "\(what) are missing", mend: "compute them before the loss")
    }
    try requireFinite(logprobs, what, count: count)
    return logprobs
}

func requireFinite(_ numbers: [Double], _ what: String, count: Int) throws(MMedError) {
    guard numbers.count == count else {
        throw MMedError(
            .badData, at: "path loss", "\(what): \(numbers.count) numbers for \(count) tokens",
            mend: "give one number for each completion token")
    }
    for (index, number) in numbers.enumerated() where !number.isFinite {
        throw MMedError(
            .badData, at: "path loss", "\(what): \(number) at token \(index) is not finite",
            mend: "look for an overflow in the forward pass or a sampled token of probability 0")
    }
}
