import CKernels

/// The numbers of one AdamW step, the same on every replica.
///
/// Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
public struct AdamWStep: Sendable, Equatable {
    /// Learning rate of this step.
    public var learningRate: Float
    /// Decay of the first moment.
    public var beta1: Float
    /// Decay of the second moment.
    public var beta2: Float
    /// Added to the root of the second moment.
    public var epsilon: Float
    /// Decoupled decay: p -= learningRate · weightDecay · p.
    public var weightDecay: Float
    /// Multiplies the gradient first: the clip factor of the global norm, 1 when nothing is clipped.
    public var gradientScale: Float
    /// 1 - beta1^t.
    public var biasCorrection1: Float
    /// 1 - beta2^t.
    public var biasCorrection2: Float

    /// Names the eight.
    public init(
        learningRate: Float, beta1: Float, beta2: Float, epsilon: Float, weightDecay: Float, gradientScale: Float,
        biasCorrection1: Float, biasCorrection2: Float
    ) {
        self.learningRate = learningRate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weightDecay = weightDecay
        self.gradientScale = gradientScale
        self.biasCorrection1 = biasCorrection1
        self.biasCorrection2 = biasCorrection2
    }
}

/// One AdamW step on flat vectors of equal length, element by element in fp32, so replicas that start equal stay equal:
/// g' = gradientScale · g; m = beta1 m + (1 - beta1) g'; v = beta2 v + (1 - beta2) g'²;
/// p -= learningRate (m / biasCorrection1 / (sqrt(v / biasCorrection2) + epsilon) + weightDecay p).
public func adamW(
    parameters: FloatBuffer, firstMoment: FloatBuffer, secondMoment: FloatBuffer, gradient: FloatBuffer,
    step: AdamWStep, pool: ComputePool
) {
    let count = parameters.count
    precondition(
        firstMoment.count == count && secondMoment.count == count && gradient.count == count,
        "adamW: vectors of one length")
    adamW(parameters.base, firstMoment.base, secondMoment.base, gradient.base, count: count, step, pool)
}

/// The same step on a piece of the vectors in place, from element `offset` on, by as many elements as the gradient's piece has.
public func adamW(
    parameters: inout [Float], firstMoment: inout [Float], secondMoment: inout [Float], gradient: [Float],
    at offset: Int, step: AdamWStep, pool: ComputePool
) {
    let (count, length) = (parameters.count, gradient.count)
    precondition(
        firstMoment.count == count && secondMoment.count == count && offset >= 0 && offset <= count - length,
        "adamW: a piece inside vectors of one length")
    parameters.withUnsafeMutableBufferPointer { parameters in
        firstMoment.withUnsafeMutableBufferPointer { first in
            secondMoment.withUnsafeMutableBufferPointer { second in
                gradient.withUnsafeBufferPointer { gradient in
                    guard let p = parameters.baseAddress, let m = first.baseAddress, let v = second.baseAddress,
                        let g = gradient.baseAddress
                    else { return }
                    adamW(p + offset, m + offset, v + offset, g, count: length, step, pool)
                }
            }
        }
    }
}

private func adamW(
    _ parameters: UnsafeMutablePointer<Float>, _ firstMoment: UnsafeMutablePointer<Float>,
    _ secondMoment: UnsafeMutablePointer<Float>, _ gradient: UnsafePointer<Float>, count: Int, _ step: AdamWStep,
    _ pool: ComputePool
) {
    let numbers = mmed_adamw(
        learning_rate: step.learningRate, beta1: step.beta1, beta2: step.beta2, epsilon: step.epsilon,
        weight_decay: step.weightDecay, gradient_scale: step.gradientScale, correction1: step.biasCorrection1,
        correction2: step.biasCorrection2)
    let job = Borrowed((numbers, parameters, firstMoment, secondMoment, gradient))
    forEachRowBlock(count, width: 1, pool: pool) { start, length in
        var (numbers, parameters, first, second, gradient) = job.value
        mmed_adamw_step(&numbers, gradient + start, parameters + start, first + start, second + start, length)
    }
}

/// Adds the squares of `values` to `sum` in Double, in the order of `sumOfSquares`. A vector may be given in pieces, each but the
/// last a multiple of `squaresBlock` long: the sum is the same to the bit.
public func addSquares(of values: [Float], to sum: inout Double) {
    values.withUnsafeBufferPointer { values in
        guard let base = values.baseAddress else { return }
        addSquares(base, values.count, to: &sum)
    }
}

/// Elements that a sum of squares takes at a time.
public let squaresBlock = 16_384

private func addSquares(_ base: UnsafePointer<Float>, _ count: Int, to sum: inout Double) {
    var first = 0
    while first < count {
        let length = min(squaresBlock, count - first)
        sum += mmed_sum_of_squares(base + first, length)
        first += length
    }
}

/// The sum of the squares of `range` of a buffer in Double, in one fixed order: lanes by index mod 16 in blocks of `squaresBlock`
/// elements, then block by block.
public func sumOfSquares(_ buffer: FloatBuffer, range: Range<Int>? = nil) -> Double {
    let range = range ?? 0..<buffer.count
    precondition(range.lowerBound >= 0 && range.upperBound <= buffer.count, "range outside the buffer")
    var sum = 0.0
    addSquares(buffer.base + range.lowerBound, range.count, to: &sum)
    return sum
}
