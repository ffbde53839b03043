import CKernels

/// What a row of logits says about the id that was picked from it, at one temperature.
public struct TokenScore: Sendable, Equatable {
    /// log softmax(logits / T) at the picked id, in nats.
    public var logProb: Float
    /// log of the sum of exp(logits / T), in nats.
    public var logSumExp: Float
    /// Entropy of softmax(logits / T), in nats; 0 unless it was asked for.
    public var entropy: Float

    /// Names the three.
    public init(logProb: Float, logSumExp: Float, entropy: Float) {
        self.logProb = logProb
        self.logSumExp = logSumExp
        self.entropy = entropy
    }
}

/// Scores the ids picked from logits [R, V] at temperature T = 1 / inverseTemperature, row by row.
///
/// Each row is reduced in one fixed order of its columns, so a score's bits do not depend on the other rows.
public func logSoftmaxPick(
    logits: Matrix, ids: [Int32], inverseTemperature: Float = 1, wantEntropy: Bool = false, pool: ComputePool
) -> [TokenScore] {
    checkPicks(logits, ids)
    let result = FloatBuffer(count: 3 * max(logits.rows, 1))
    let (start, stride, columns) = (Borrowed(logits.start), logits.rowStride, logits.columns)
    forEachRowBlock(logits.rows, width: columns, pool: pool) { first, count in
        for row in first..<first + count {
            mmed_log_softmax_pick(
                start.value + row * stride, columns, Int(ids[row]), inverseTemperature, wantEntropy ? 1 : 0,
                result.base + 3 * row)
        }
    }
    return (0..<logits.rows).map { row in
        TokenScore(logProb: result[3 * row], logSumExp: result[3 * row + 1], entropy: result[3 * row + 2])
    }
}

/// Replaces each row of logits [R, V] by coefficient · (softmax(logits / T) - onehot(id)) / T, the gradient of
/// -coefficient · log p(id) with respect to the row.
///
/// `scores` are those of `logSoftmaxPick` on the same rows, ids and temperature; `coefficients` has one number a row.
public func logSoftmaxGradient(
    logits: Matrix, ids: [Int32], scores: [TokenScore], coefficients: [Float], inverseTemperature: Float = 1,
    pool: ComputePool
) {
    checkPicks(logits, ids)
    precondition(scores.count == logits.rows && coefficients.count == logits.rows, "one score, one coefficient a row")
    let (start, stride, columns) = (Borrowed(logits.start), logits.rowStride, logits.columns)
    forEachRowBlock(logits.rows, width: columns, pool: pool) { first, count in
        for row in first..<first + count {
            mmed_log_softmax_gradient(
                start.value + row * stride, columns, Int(ids[row]), inverseTemperature, scores[row].logSumExp,
                coefficients[row])
        }
    }
}

/// The column of the largest logit of each row of [R, V]; the lowest of equals.
public func argmaxRows(_ logits: Matrix, pool: ComputePool) -> [Int32] {
    precondition(logits.columns > 0 && logits.columns <= Int(Int32.max), "argmax needs a column")
    var best = [Int32](repeating: 0, count: logits.rows)
    let (start, stride, columns) = (Borrowed(logits.start), logits.rowStride, logits.columns)
    best.withUnsafeMutableBufferPointer { target in
        let out = Borrowed(target.baseAddress)
        forEachRowBlock(logits.rows, width: columns, pool: pool) { first, count in
            guard let out = out.value else { return }
            for row in first..<first + count {
                out[row] = mmed_argmax(start.value + row * stride, columns)
            }
        }
    }
    return best
}

/// Draws one id from softmax(logits / T) for each row of [R, V] by inversion: the first column at which the running sum of
/// probabilities exceeds the row's uniform number in 0..<1.
///
/// The sum runs over blocks of 1,024 columns, then over the columns of one block, in rising order: a draw depends on its row,
/// its number and T alone.
public func sampleRows(
    _ logits: Matrix, uniforms: [Double], inverseTemperature: Float = 1, pool: ComputePool
) -> [Int32] {
    precondition(logits.columns > 0 && logits.columns <= Int(Int32.max), "a draw needs a column")
    precondition(uniforms.count == logits.rows, "one uniform number a row")
    var drawn = [Int32](repeating: 0, count: logits.rows)
    let (start, stride, columns) = (Borrowed(logits.start), logits.rowStride, logits.columns)
    drawn.withUnsafeMutableBufferPointer { target in
        let out = Borrowed(target.baseAddress)
        forEachRowBlock(logits.rows, width: columns, pool: pool) { first, count in
            guard let out = out.value else { return }
            for row in first..<first + count {
                out[row] = mmed_sample(start.value + row * stride, columns, inverseTemperature, uniforms[row])
            }
        }
    }
    return drawn
}

private func checkPicks(_ logits: Matrix, _ ids: [Int32]) {
    precondition(ids.count == logits.rows && logits.columns > 0, "one picked id for each row of logits")
    for id in ids { precondition(id >= 0 && Int(id) < logits.columns, "a picked id lies outside the vocabulary") }
}
