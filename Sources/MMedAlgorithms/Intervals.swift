/// A closed interval of an estimate.
public struct Interval: Hashable, Sendable {
    /// Lower end.
    public let low: Double
    /// Upper end.
    public let high: Double

    /// From low to high.
    public init(low: Double, high: Double) {
        self.low = low
        self.high = high
    }
}

/// The 97.5 % point of the normal distribution: the half-width of a 95 % interval in standard errors.
public let normalQuantile95 = 1.959963984540054

/// The score interval of a proportion (Wilson 1927), 95 % by default; 0...1 without trials.
///
/// - Parameters:
///   - successes: held within 0...trials.
///   - trials: independent trials.
///   - z: half-width in standard errors.
public func wilsonInterval(successes: Int, trials: Int, z: Double = normalQuantile95) -> Interval {
    wilsonInterval(share: trials > 0 ? Double(successes) / Double(trials) : 0, trials: trials, z: z)
}

/// The same for the mean of trials that may be won in part, like a question of which some of several paths are right. A trial in
/// 0...1 varies at most as one that is 0 or 1, so the interval is never too narrow.
///
/// - Parameters:
///   - share: mean of the trials, held within 0...1.
///   - trials: independent trials.
///   - z: half-width in standard errors.
public func wilsonInterval(share: Double, trials: Int, z: Double = normalQuantile95) -> Interval {
    guard trials > 0 else { return Interval(low: 0, high: 1) }
    let n = Double(trials)
    let p = min(max(share, 0), 1)
    let denominator = 1 + z * z / n
    let centre = (p + z * z / (2 * n)) / denominator
    let reach = z / denominator * (p * (1 - p) / n + z * z / (4 * n * n)).squareRoot()
    // At 0 and 1 the end is exactly 0 or 1; rounding must not move it.
    let low = p <= 0 ? 0 : max(0, centre - reach)
    let high = p >= 1 ? 1 : min(1, centre + reach)
    return Interval(low: low, high: high)
}

/// The mean of paired differences after - before, with its 95 % intervals.
public struct PairedDifference: Hashable, Sendable {
    /// Pairs.
    public let count: Int
    /// The mean of after - before.
    public let mean: Double
    /// The Bessel standard deviation of the differences over sqrt(count); 0 below two pairs.
    public let standardError: Double
    /// mean ± 1.96 standard errors.
    public let normalInterval: Interval
    /// The 2.5 % and 97.5 % points of the means of resampled pairs (Efron 1979).
    public let bootstrapInterval: Interval
}
