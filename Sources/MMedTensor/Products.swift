import CKernels

/// y [M, N] = scale · x [M, K] · wᵀ, or added to y when `accumulate`.
///
/// Batch-invariant: each element is one chain of fused multiply-adds over k in rising order, so its bits depend on its row of
/// x and its row of w alone, never on M, the row's place, the number of threads or the processor's vector width. `y` must not
/// overlap `x`.
public func matmul(
    x: Matrix, w: PackedMatrix, y: Matrix, scale: Float = 1, accumulate: Bool = false, pool: ComputePool
) {
    precondition(x.columns == w.columns && y.columns == w.rows && x.rows == y.rows, "matmul: shapes do not fit")
    guard x.rows > 0 else { return }
    let job = mmed_product(
        x: UnsafePointer(x.start), x_stride: x.rowStride, w: UnsafePointer(w.panels.base), y: y.start,
        y_stride: y.rowStride, m: x.rows, n: w.rows, k: w.columns, scale: scale, accumulate: accumulate ? 1 : 0)
    let transfer = Borrowed(job)
    pool.run(parts: mmed_product_parts(job)) { part in
        var job = transfer.value
        mmed_product_part(&job, part)
    }
}

/// y [M, K] = scale · x [M, N] · w, or added to y when `accumulate`: the backward product dX = dY · W on the panels of the
/// forward one, so no second copy of the weight is needed.
///
/// Each element is one chain of fused multiply-adds over n in rising order, batch-invariant as `matmul` is. The panels are
/// turned on the fly, which costs a few percent from 64 rows on. `y` must not overlap `x`.
public func matmulTransposed(
    x: Matrix, w: PackedMatrix, y: Matrix, scale: Float = 1, accumulate: Bool = false, pool: ComputePool
) {
    precondition(
        x.columns == w.rows && y.columns == w.columns && x.rows == y.rows, "matmulTransposed: shapes do not fit")
    guard x.rows > 0 else { return }
    let job = mmed_product(
        x: UnsafePointer(x.start), x_stride: x.rowStride, w: UnsafePointer(w.panels.base), y: y.start,
        y_stride: y.rowStride, m: x.rows, n: w.rows, k: w.columns, scale: scale, accumulate: accumulate ? 1 : 0)
    let transfer = Borrowed(job)
    pool.run(parts: mmed_product_transposed_parts(job)) { part in
        var job = transfer.value
        mmed_product_transposed_part(&job, part)
    }
}

/// G [N, K] += scale · dYᵀ · x, the gradient of a weight: dY [M, N], x [M, K], G row-major at `offset` of `buffer`.
///
/// Each element is one chain over the rows m = 0, 1, ... and is then added once, so its bits do not depend on the threads. Made
/// for the small N or K of a LoRA matrix.
public func outerAccumulate(
    dY: Matrix, x: Matrix, into buffer: FloatBuffer, offset: Int, scale: Float = 1, pool: ComputePool
) {
    precondition(dY.rows == x.rows, "outerAccumulate: dY and x must have the same rows")
    precondition(
        offset >= 0 && offset <= buffer.count - dY.columns * x.columns, "outerAccumulate: G lies outside the buffer")
    guard x.rows > 0, dY.columns > 0, x.columns > 0 else { return }
    let job = mmed_outer(
        d: UnsafePointer(dY.start), d_stride: dY.rowStride, x: UnsafePointer(x.start), x_stride: x.rowStride,
        g: buffer.base + offset, m: x.rows, n: dY.columns, k: x.columns, scale: scale)
    let transfer = Borrowed(job)
    pool.run(parts: mmed_outer_parts(job)) { part in
        var job = transfer.value
        mmed_outer_part(&job, part)
    }
}

/// A description of a job with raw addresses, carried into the parts of one pool dispatch.
// Proof: it lives only during a dispatch that the owner of the memory waits for; the parts copy it and write disjoint elements.
struct Borrowed<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
