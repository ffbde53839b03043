public import MMedCore

/// Compares paired scores of the same items before and after, as one must when both were measured on the same questions.
///
/// - Parameters:
///   - before: one score an item.
///   - after: the scores of the same items in the same order.
///   - seed: names the bootstrap's draws; the same seed gives the same interval on every machine.
///   - resamples: bootstrap rounds, 1...1,000,000.
/// - Throws: `badData` for unequal or empty lists, scores that are not finite or an impossible number of rounds.
public func pairedDifference(
    before: [Double], after: [Double], seed: UInt64, resamples: Int = 2000
) throws(MMedError) -> PairedDifference {
    guard !before.isEmpty, before.count == after.count, (1...1_000_000).contains(resamples) else {
        throw MMedError(
            .badData, at: "paired difference",
            "\(before.count) scores before, \(after.count) after, \(resamples) resamples",
            mend: "give the same items twice and 1 to 1,000,000 resamples")
    }
    let differences = zip(after, before).map { $0 - $1 }
    guard differences.allSatisfy(\.isFinite) else {
        throw MMedError(
            .badData, at: "paired difference", "a score is not finite", mend: "leave failed items out of both lists")
    }
    let moments = Moments(differences)
    let standardError = moments.besselDeviation / Double(differences.count).squareRoot()
    let reach = normalQuantile95 * standardError
    return PairedDifference(
        count: differences.count, mean: moments.mean, standardError: standardError,
        normalInterval: Interval(low: moments.mean - reach, high: moments.mean + reach),
        bootstrapInterval: bootstrapInterval(differences, seed: seed, resamples: resamples))
}

/// Draw (round, item) is the uniform number at that counter, so no draw depends on another.
private func bootstrapInterval(_ values: [Double], seed: UInt64, resamples: Int) -> Interval {
    let random = CounterRandom(key: seed)
    var means: [Double] = []
    means.reserveCapacity(resamples)
    for round in 0..<resamples {
        var sum = 0.0
        for item in values.indices {
            sum += values[Int(random.uniform(UInt64(item), UInt64(round)) * Double(values.count))]
        }
        means.append(sum / Double(values.count))
    }
    means.sort()
    return Interval(low: quantile(means, 0.025), high: quantile(means, 0.975))
}

/// Linear interpolation between order statistics.
private func quantile(_ sorted: [Double], _ probability: Double) -> Double {
    let place = probability * Double(sorted.count - 1)
    let below = Int(place.rounded(.down))
    let above = min(below + 1, sorted.count - 1)
    return sorted[below] + (place - Double(below)) * (sorted[above] - sorted[below])
}

/// The exact two-sided test of McNemar for paired right/wrong answers: among the pairs that changed, gains and losses are
/// equally likely under the null hypothesis.
public struct McNemarTest: Hashable, Sendable {
    /// Wrong before, right after.
    public let gains: Int
    /// Right before, wrong after.
    public let losses: Int
    /// The probability of a split at least as uneven, in 0...1; 1 when nothing changed.
    public let pValue: Double

    /// Counts the pairs that changed.
    /// - Throws: `badData` for lists of unequal length.
    public init(before: [Bool], after: [Bool]) throws(MMedError) {
        guard before.count == after.count else {
            throw MMedError(
                .badData, at: "McNemar test", "\(before.count) answers before, \(after.count) after",
                mend: "give the same items twice")
        }
        var (gains, losses) = (0, 0)
        for (old, new) in zip(before, after) where old != new {
            if new { gains += 1 } else { losses += 1 }
        }
        self.init(gains: gains, losses: losses)
    }

    /// From the two counts, both at least 0.
    public init(gains: Int, losses: Int) {
        (self.gains, self.losses) = (max(0, gains), max(0, losses))
        let changed = self.gains + self.losses
        // Binomial terms relative to the middle one, so that 2^-changed never underflows.
        let middle = changed / 2
        var terms = [Double](repeating: 1, count: middle + 1)
        for k in stride(from: middle - 1, through: 0, by: -1) {
            terms[k] = terms[k + 1] * Double(k + 1) / Double(changed - k)
        }
        let lower = min(self.gains, self.losses)
        let tail = terms[...lower].reduce(0, +)
        let whole = 2 * terms.reduce(0, +) - (changed % 2 == 0 ? 1 : 0)
        pValue = min(1, 2 * tail / whole)
    }
}
