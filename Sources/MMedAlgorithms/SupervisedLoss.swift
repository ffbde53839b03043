public import MMedCore

/// The negative log-likelihood of a target completion and its derivative: what DSA trains with, through the same path.
///
/// L = -sum_t weight_t log pi_t. Weights that sum to 1 over an update (`supervisedTokenWeight`) make it the mean per token.
///
/// - Parameters:
///   - new: log pi_theta of each target token, in nats, shape [tokens].
///   - tokenWeights: the weight of each token, shape [tokens]; 0 leaves it out.
/// - Throws: `badData` for unequal lengths or a number that is not finite.
public func supervisedLoss(new: [Double], tokenWeights: [Double]) throws(MMedError) -> PathLoss {
    try requireFinite(new, "new log-probs", count: new.count)
    try requireFinite(tokenWeights, "token weights", count: new.count)
    var result = PathLoss(tokenCount: new.count)
    for (token, weight) in tokenWeights.enumerated() where weight != 0 {
        result.loss -= weight * new[token]
        result.lossPerLogprob[token] = -weight
        result.lossTokens += 1
    }
    return result
}

/// 1 / the target tokens of an update: the weight of each of its tokens, whatever shard it falls into; 0 without tokens.
public func supervisedTokenWeight(updateTokens: Int) -> Double { updateTokens > 0 ? 1 / Double(updateTokens) : 0 }
