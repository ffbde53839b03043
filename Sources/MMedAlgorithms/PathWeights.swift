public import MMedCore

/// The factor of each path's token sum in the loss, the same for every sharding because Z is summed before any cut.
public struct PathWeights: Hashable, Sendable {
    /// Z.
    public let normaliser: Double
    /// For each group, for each of its samples in id order: w_g / n_g / Z, with `sequence` also divided by the length.
    /// 0 for a masked sample, one without tokens and, with `maskTruncated`, a truncated one.
    public let weights: [[Double]]
}

/// The weights of an update's paths.
///
/// Z is taken over all valid samples, before any is masked out of the loss: masking a path never makes another heavier.
///
/// - Parameters:
///   - groups: the questions of the update.
///   - settings: aggregation and masking.
///   - questionsPlanned: Q, the questions the update was planned with; at least those given.
///   - completionTokensMax: T_max, the longest completion allowed, in tokens.
/// - Throws: `badData` when Q or T_max do not fit the groups.
public func pathWeights(
    of groups: [GroupAdvantages], settings: LossSettings, questionsPlanned: Int, completionTokensMax: Int
) throws(MMedError) -> PathWeights {
    guard questionsPlanned >= max(1, groups.count), completionTokensMax >= 1 else {
        throw MMedError(
            .badData, at: "update of \(groups.count) questions",
            "\(questionsPlanned) questions and \(completionTokensMax) tokens are planned",
            mend: "plan at least the questions given and one token")
    }
    // Question by question in id order, so that the sum has the same bits whatever order the groups came in.
    let idOrder = groups.indices.sorted {
        groups[$0].question.utf8.lexicographicallyPrecedes(groups[$1].question.utf8)
    }
    let normaliser: Double
    switch settings.aggregation {
    case .constant: normaliser = Double(questionsPlanned) * Double(completionTokensMax)
    case .sequence: normaliser = Double(questionsPlanned)
    case .token: normaliser = idOrder.reduce(0) { $0 + weightedTokens(of: groups[$1]) }
    }
    let weights = groups.map { group in
        let shares = sampleShares(of: group.statistics)
        return zip(group.samples, shares).map { entry, share -> Double in
            let tokens = entry.sample.completionTokens
            let isLeftOut = entry.isMasked || tokens == 0 || (settings.maskTruncated && entry.sample.isTruncated)
            if isLeftOut || normaliser == 0 { return 0 }
            return settings.aggregation == .sequence ? share / Double(tokens) / normaliser : share / normaliser
        }
    }
    return PathWeights(normaliser: normaliser, weights: weights)
}

/// The sum of w_g / n_g times tokens over the valid samples of a question.
private func weightedTokens(of group: GroupAdvantages) -> Double {
    zip(group.samples, sampleShares(of: group.statistics)).reduce(0) { sum, pair in
        pair.0.sample.reward == nil ? sum : sum + pair.1 * Double(pair.0.sample.completionTokens)
    }
}

/// w_g / n_g for each sample, in id order.
private func sampleShares(of statistics: GroupStatistics) -> [Double] {
    statistics.guidelines.flatMap { guideline in
        [Double](
            repeating: guideline.validCount > 0 ? guideline.weight / Double(guideline.validCount) : 0,
            count: guideline.validCount + guideline.failedCount + guideline.abstainedCount)
    }
}
