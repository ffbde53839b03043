import MMedCore
import MMedFormats
import MMedTensor

/// The last norm and the vocabulary product, in row chunks so that no tokens x vocabulary buffer exists.
struct OutputHead {
    /// Rows of logits that are alive at once in scoring and learning.
    static let chunkRows = 128

    let model: LanguageModel
    let pool: ComputePool

    private var width: Int { model.shape.hiddenSize }

    /// logits [R, vocabulary] of residual rows [R, hidden]; `normalised` and `inverseRms` are scratch.
    func logits(_ residual: Matrix, normalised: Matrix, inverseRms: FloatBuffer, into logits: Matrix) {
        rmsNormForward(
            x: residual, weight: model.finalNorm, epsilon: model.config.rmsEpsilon, y: normalised,
            inverseRms: inverseRms, pool: pool)
        matmul(x: normalised, w: model.head, y: logits, pool: pool)
    }

    /// Log-probabilities of `targets` under softmax(logits / temperature), one for each residual row [R, hidden].
    ///
    /// Where `unitGradient` [R, hidden] is given, its row r receives the gradient of +log p(target r) with respect to residual row
    /// r: it is linear in the loss's derivative, so that one pass over the vocabulary serves a loss whose derivative is known only
    /// after all log-probabilities of a path are.
    func logprobs(
        _ residual: Matrix, targets: [Int32], temperature: Float, unitGradient: Matrix?
    ) -> [Float] {
        let chunk = min(OutputHead.chunkRows, max(residual.rows, 1))
        let buffer = FloatBuffer(count: chunk * model.vocabularySize)
        let normalisedBuffer = FloatBuffer(count: chunk * width)
        let inverseRms = FloatBuffer(count: chunk)
        var result: [Float] = []
        result.reserveCapacity(residual.rows)
        for start in stride(from: 0, to: residual.rows, by: chunk) {
            let count = min(chunk, residual.rows - start)
            let rows = residual.rows(start..<start + count)
            let normalised = Matrix(normalisedBuffer, rows: count, columns: width)
            let logits = Matrix(buffer, rows: count, columns: model.vocabularySize)
            self.logits(rows, normalised: normalised, inverseRms: inverseRms, into: logits)
            let ids = Array(targets[start..<start + count])
            let scores = logSoftmaxPick(logits: logits, ids: ids, inverseTemperature: 1 / temperature, pool: pool)
            for score in scores { result.append(score.logProb) }
            guard let unitGradient else { continue }
            logSoftmaxGradient(
                logits: logits, ids: ids, scores: scores, coefficients: [Float](repeating: -1, count: count),
                inverseTemperature: 1 / temperature, pool: pool)
            matmulTransposed(x: logits, w: model.head, y: normalised, pool: pool)
            rmsNormBackward(
                dY: normalised, x: rows, weight: model.finalNorm, inverseRms: inverseRms,
                dX: unitGradient.rows(start..<start + count), pool: pool)
        }
        return result
    }
}
