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
    let numbers = Borrowed(
        mmed_adamw(
            learning_rate: step.learningRate, beta1: step.beta1, beta2: step.beta2, epsilon: step.epsilon,
            weight_decay: step.weightDecay, gradient_scale: step.gradientScale, correction1: step.biasCorrection1,
            correction2: step.biasCorrection2))
    forEachRowBlock(count, width: 1, pool: pool) { first, length in
        var numbers = numbers.value
        mmed_adamw_step(
            &numbers, gradient.base + first, parameters.base + first, firstMoment.base + first,
            secondMoment.base + first, length)
    }
}

/// The sum of the squares of `range` of a buffer in Double, in one fixed order: lanes by index mod 16 in blocks of 16,384
/// elements, then block by block.
public func sumOfSquares(_ buffer: FloatBuffer, range: Range<Int>? = nil) -> Double {
    let range = range ?? 0..<buffer.count
    precondition(range.lowerBound >= 0 && range.upperBound <= buffer.count, "range outside the buffer")
    var sum = 0.0
    var first = range.lowerBound
    while first < range.upperBound {
        let length = min(16_384, range.upperBound - first)
        sum += mmed_sum_of_squares(buffer.base + first, length)
        first += length
    }
    return sum
}
