internal import COpenBLAS

/// OpenBLAS is always called on one thread: its own split over threads changes the order of sums, and with it the bits.
/// Callers run several products side by side instead. Reading this constant makes the setting, once.
let singleThreadedBLAS: Bool = {
    openblas_set_num_threads(1)
    return true
}()

/// `C ← alpha·op(A)·op(B) + beta·C` in fp32 on dense row-major matrices: op(A) `[m, k]`, op(B) `[k, n]`, C `[m, n]`.
/// A transposed operand is stored the other way round: A `[k, m]`, B `[n, k]`. With `beta` 0 the old C is not read.
/// Each of the spans must hold at least its matrix. Same shapes and same numbers give the same bits on one machine, on
/// any thread; another `m` may give other bits, so forward products that promise batch invariance must not use it.
public func gemm(
    m: Int, n: Int, k: Int, alpha: Float = 1, a: Span<Float>, transposeA: Bool = false, b: Span<Float>,
    transposeB: Bool = false, beta: Float = 0, c: inout MutableSpan<Float>
) {
    checkProduct(m: m, n: n, k: k, counts: (a.count, b.count, c.count))
    guard m > 0, n > 0 else { return }
    precondition(singleThreadedBLAS)
    a.withUnsafeBufferPointer { a in
        b.withUnsafeBufferPointer { b in
            c.withUnsafeMutableBufferPointer { c in
                cblas_sgemm(
                    CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans,
                    Int32(m), Int32(n), Int32(k), alpha, a.baseAddress, Int32(max(1, transposeA ? m : k)),
                    b.baseAddress, Int32(max(1, transposeB ? k : n)), beta, c.baseAddress, Int32(n))
            }
        }
    }
}

/// The same product in fp64.
public func gemm(
    m: Int, n: Int, k: Int, alpha: Double = 1, a: Span<Double>, transposeA: Bool = false, b: Span<Double>,
    transposeB: Bool = false, beta: Double = 0, c: inout MutableSpan<Double>
) {
    checkProduct(m: m, n: n, k: k, counts: (a.count, b.count, c.count))
    guard m > 0, n > 0 else { return }
    precondition(singleThreadedBLAS)
    a.withUnsafeBufferPointer { a in
        b.withUnsafeBufferPointer { b in
            c.withUnsafeMutableBufferPointer { c in
                cblas_dgemm(
                    CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans,
                    Int32(m), Int32(n), Int32(k), alpha, a.baseAddress, Int32(max(1, transposeA ? m : k)),
                    b.baseAddress, Int32(max(1, transposeB ? k : n)), beta, c.baseAddress, Int32(n))
            }
        }
    }
}

/// `op(A)·op(B)` as a new array `[m, n]`, row-major; see `gemm` for the shapes of the operands.
public func matrixProduct(
    m: Int, n: Int, k: Int, _ a: [Float], transposeA: Bool = false, _ b: [Float], transposeB: Bool = false
) -> [Float] {
    var product = [Float](repeating: 0, count: m * n)
    var span = product.mutableSpan
    gemm(m: m, n: n, k: k, a: a.span, transposeA: transposeA, b: b.span, transposeB: transposeB, c: &span)
    return product
}

/// The same product in fp64.
public func matrixProduct(
    m: Int, n: Int, k: Int, _ a: [Double], transposeA: Bool = false, _ b: [Double], transposeB: Bool = false
) -> [Double] {
    var product = [Double](repeating: 0, count: m * n)
    var span = product.mutableSpan
    gemm(m: m, n: n, k: k, a: a.span, transposeA: transposeA, b: b.span, transposeB: transposeB, c: &span)
    return product
}

/// Traps on sizes that the caller got wrong: reading past a span would be worse.
private func checkProduct(m: Int, n: Int, k: Int, counts: (a: Int, b: Int, c: Int)) {
    precondition(m >= 0 && n >= 0 && k >= 0, "negative size of a matrix product")
    precondition(max(m, n, k) <= Int(Int32.max), "a matrix side exceeds 32 bits, the integers of OpenBLAS")
    precondition(
        counts.a >= m * k && counts.b >= k * n && counts.c >= m * n,
        "a span of \(counts.a), \(counts.b) or \(counts.c) elements is too short for \(m)x\(k)·\(k)x\(n)")
}
