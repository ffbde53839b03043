import Foundation

/// How the learning rate moves over a stage: linear warm-up, then one of three shapes.
public struct LearningRateSchedule: Hashable, Sendable {
    /// The shape after the warm-up.
    public enum Decay: String, CaseIterable, Sendable {
        /// Stays at the peak.
        case constant
        /// Falls in a line to the floor.
        case linear
        /// Falls along half a cosine to the floor (Loshchilov & Hutter 2017).
        case cosine
    }

    /// Highest rate.
    public var peak: Double
    /// Updates over which the rate rises in a line; the first update already has `peak / warmUpUpdates`.
    public var warmUpUpdates: Int
    /// Updates of the whole stage.
    public var totalUpdates: Int
    /// The shape after the warm-up.
    public var decay: Decay
    /// Lowest rate of the falling shapes, as a fraction of the peak.
    public var floorFraction: Double

    /// All values of one stage.
    public init(peak: Double, warmUpUpdates: Int, totalUpdates: Int, decay: Decay, floorFraction: Double = 0) {
        self.peak = peak
        self.warmUpUpdates = warmUpUpdates
        self.totalUpdates = totalUpdates
        self.decay = decay
        self.floorFraction = floorFraction
    }

    /// The rate of an update, counted from 0. Past the end it stays at the last value.
    public func rate(update: Int) -> Double {
        if update < warmUpUpdates { return peak * Double(update + 1) / Double(warmUpUpdates) }
        let span = totalUpdates - warmUpUpdates
        let progress = span > 0 ? min(1, Double(update - warmUpUpdates) / Double(span)) : 1
        let fraction: Double =
            switch decay {
            case .constant: 1
            case .linear: 1 - progress
            case .cosine: 0.5 * (1 + cos(Double.pi * progress))
            }
        return decay == .constant ? peak : peak * (floorFraction + (1 - floorFraction) * fraction)
    }
}
