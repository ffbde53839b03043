import CKernels

/// Root mean square normalisation, row by row: y [M, D] = weight · x / sqrt(mean(x²) + epsilon).
///
/// `inverseRms[inverseRmsOffset + row]` receives 1 / sqrt(mean(x²) + epsilon) for the backward pass. `y` may be `x` itself.
/// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
public func rmsNormForward(
    x: Matrix, weight: FloatBuffer, weightOffset: Int = 0, epsilon: Float, y: Matrix, inverseRms: FloatBuffer,
    inverseRmsOffset: Int = 0, pool: ComputePool
) {
    precondition(x.rows == y.rows && x.columns == y.columns, "rmsNormForward: shapes do not fit")
    precondition(weightOffset >= 0 && weightOffset <= weight.count - x.columns, "rmsNormForward: weight too short")
    precondition(
        inverseRmsOffset >= 0 && inverseRmsOffset <= inverseRms.count - x.rows, "rmsNormForward: inverseRms too short")
    let job = Borrowed(
        mmed_norm(
            x: x.start, x_stride: x.rowStride, weight: weight.base + weightOffset, y: y.start, y_stride: y.rowStride,
            d: nil, d_stride: 0, inverse_rms: inverseRms.base + inverseRmsOffset, columns: x.columns, epsilon: epsilon,
            accumulate: 0))
    forEachRowBlock(x.rows, width: x.columns, pool: pool) { first, count in
        var job = job.value
        mmed_norm_forward(&job, first, count)
    }
}

/// The backward of `rmsNormForward` for x (the weight is frozen): dX from dY, the same x, weight and inverseRms.
///
/// dX = r · w · dY - x · r³ · mean(w · dY · x) with r the saved inverse; added to dX when `accumulate`. `dX` may be `dY`.
public func rmsNormBackward(
    dY: Matrix, x: Matrix, weight: FloatBuffer, weightOffset: Int = 0, inverseRms: FloatBuffer,
    inverseRmsOffset: Int = 0, dX: Matrix, accumulate: Bool = false, pool: ComputePool
) {
    precondition(x.rows == dY.rows && x.columns == dY.columns, "rmsNormBackward: shapes do not fit")
    precondition(x.rows == dX.rows && x.columns == dX.columns, "rmsNormBackward: shapes do not fit")
    precondition(weightOffset >= 0 && weightOffset <= weight.count - x.columns, "rmsNormBackward: weight too short")
    precondition(
        inverseRmsOffset >= 0 && inverseRmsOffset <= inverseRms.count - x.rows, "rmsNormBackward: inverseRms too short")
    let job = Borrowed(
        mmed_norm(
            x: x.start, x_stride: x.rowStride, weight: weight.base + weightOffset, y: dX.start, y_stride: dX.rowStride,
            d: dY.start, d_stride: dY.rowStride, inverse_rms: inverseRms.base + inverseRmsOffset, columns: x.columns,
            epsilon: 0, accumulate: accumulate ? 1 : 0))
    forEachRowBlock(x.rows, width: x.columns, pool: pool) { first, count in
        var job = job.value
        mmed_norm_backward(&job, first, count)
    }
}

/// Cuts rows into blocks of about 16,384 elements, whatever the number of threads, and runs `body(first, count)` on each.
func forEachRowBlock(_ rows: Int, width: Int, pool: ComputePool, _ body: @Sendable (Int, Int) -> Void) {
    guard rows > 0 else { return }
    let block = max(1, 16_384 / max(width, 1))
    if rows <= block {
        body(0, rows)
        return
    }
    pool.run(parts: (rows + block - 1) / block) { part in
        body(part * block, min(block, rows - part * block))
    }
}
