public import MMedCore
public import MMedTensor

/// An adapter's weights with AdamW's moments, all flat in the order of its layout.
public struct AdamWState: Equatable, Sendable {
    /// The weights.
    public private(set) var weights: [Float]
    /// Running mean of the gradient.
    public private(set) var firstMoment: [Float]
    /// Running mean of its square.
    public private(set) var secondMoment: [Float]

    /// Fresh moments of zero.
    public init(weights: [Float]) {
        self.weights = weights
        firstMoment = [Float](repeating: 0, count: weights.count)
        secondMoment = firstMoment
    }

    /// A state taken up again; throws `badData` when the lengths differ.
    public init(weights: [Float], firstMoment: [Float], secondMoment: [Float]) throws(MMedError) {
        guard firstMoment.count == weights.count, secondMoment.count == weights.count else {
            throw MMedError(
                .badData,
                "moments of \(firstMoment.count) and \(secondMoment.count) numbers for \(weights.count) weights")
        }
        self.weights = weights
        self.firstMoment = firstMoment
        self.secondMoment = secondMoment
    }

    /// One AdamW step (Loshchilov & Hutter 2019): equal states, gradients and numbers give equal bits on every machine and with any
    /// number of threads. Throws `badData` when the gradient has another length.
    public mutating func apply(gradient: [Float], step: AdamWStep, pool: ComputePool) throws(MMedError) {
        guard gradient.count == weights.count else {
            throw MMedError(.badData, "a gradient of \(gradient.count) numbers for \(weights.count) weights")
        }
        apply(piece: gradient, at: 0, step: step, pool: pool)
    }

    /// The same of one piece of the gradient, whose first number belongs to the weight `offset`: a step is done when every weight
    /// has had its own once, in whatever pieces.
    public mutating func apply(piece gradient: [Float], at offset: Int, step: AdamWStep, pool: ComputePool) {
        adamW(
            parameters: &weights, firstMoment: &firstMoment, secondMoment: &secondMoment, gradient: gradient,
            at: offset, step: step, pool: pool)
    }
}

/// Pure numbers of a step.
public enum UpdateMath {
    /// Euclidean norm of a gradient, summed in Double in one fixed order.
    public static func globalNorm(_ gradient: [Float]) -> Double {
        var squares = 0.0
        addSquares(of: gradient, to: &squares)
        return squares.squareRoot()
    }

    /// What the gradient is multiplied by so that its norm does not exceed `limit`; 1 where it does not, or `limit` is 0 (off).
    public static func clipFactor(norm: Double, limit: Double) -> Float {
        limit > 0 && norm > limit ? Float(limit / norm) : 1
    }

    /// 1 - beta^step, for the step counted from 1.
    public static func biasCorrection(beta: Double, step: Int) -> Float {
        var power = 1.0
        for _ in 0..<step { power *= beta }
        return Float(1 - power)
    }
}
