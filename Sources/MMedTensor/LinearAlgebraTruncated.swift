internal import COpenBLAS
internal import MMedCore

/// How the leading singular triples are found.
public enum TruncationMethod: Sendable {
    /// Eigenvectors of the smaller Gram matrix in fp64: exact down to 1e-7 of the largest value, cubic in the shorter
    /// side.
    case gram
    /// Randomised subspace iteration (Halko, Martinsson, Tropp 2011, algorithms 4.4 and 5.1) with the given number of
    /// power iterations and 16 spare directions: near-optimal, linear in each side.
    case randomised(powerIterations: Int)

    /// `gram` up to a shorter side of 1,024, where it is the faster one too; `randomised` with 6 iterations above.
    public static func suited(rows: Int, columns: Int) -> TruncationMethod {
        min(rows, columns) <= 1024 ? .gram : .randomised(powerIterations: 6)
    }
}

/// The `rank` leading singular triples (fewer when a side is shorter) of a row-major `[rows, columns]` matrix. Triples
/// below 1e-7 of the largest value are given as zeros. Deterministic: the random directions are a function of the shape
/// alone. Throws `badData` for a number that is not finite, `internalError` when LAPACK does not converge.
public func truncatedSVD(
    _ matrix: [Float], rows: Int, columns: Int, rank: Int, method: TruncationMethod? = nil
) throws -> SingularValues {
    precondition(rows > 0 && columns > 0 && rank > 0 && matrix.count == rows * columns)
    guard matrix.allSatisfy(\.isFinite) else { throw notFinite }
    let kept = min(rank, rows, columns)
    switch method ?? .suited(rows: rows, columns: columns) {
    case .gram: return try gramSVD(matrix, rows: rows, columns: columns, rank: kept)
    case .randomised(let iterations):
        return try randomisedSVD(matrix, rows: rows, columns: columns, rank: kept, powerIterations: iterations)
    }
}

/// Triples below this part of the largest singular value are rounding noise of fp32 and of a squared spectrum in fp64.
private let relativeFloor = 1e-7

private func gramSVD(_ matrix: [Float], rows: Int, columns: Int, rank: Int) throws -> SingularValues {
    precondition(singleThreadedBLAS)
    let isTall = rows >= columns
    let (order, depth) = (min(rows, columns), max(rows, columns))
    let wide = matrix.map(Double.init)
    var gram = [Double](repeating: 0, count: order * order)
    cblas_dsyrk(
        CblasRowMajor, CblasUpper, isTall ? CblasTrans : CblasNoTrans, Int32(order), Int32(depth), 1, wide,
        Int32(columns), 0, &gram, Int32(order))
    let (values, vectors) = try largestEigenpairs(gram, order: order, count: rank)
    let floor = max(0, values[0]).squareRoot() * relativeFloor
    let s = values.map { value in
        let root = max(0, value).squareRoot()
        return root > floor ? root : 0
    }
    // The other side's vectors are W·v/σ (or Wᵀ·u/σ), with rows of `vectors` as v (or u).
    var near = vectors
    var far = matrixProduct(m: rank, n: depth, k: order, near, wide, transposeB: isTall)
    for place in 0..<rank {
        let inverse = s[place] > 0 ? 1 / s[place] : 0
        for index in place * depth..<(place + 1) * depth { far[index] *= inverse }
        if s[place] == 0 { for index in place * order..<(place + 1) * order { near[index] = 0 } }
    }
    let (left, right) = isTall ? (far, near) : (near, far)
    return SingularValues(
        rank: rank, u: transposed(left.map(Float.init), rows: rank, columns: rows), s: s.map(Float.init),
        vt: right.map(Float.init))
}

private func randomisedSVD(
    _ matrix: [Float], rows: Int, columns: Int, rank: Int, powerIterations: Int
) throws -> SingularValues {
    let width = min(rank + 16, rows, columns)
    let random = CounterRandom(key: UInt64(rows) << 32 ^ UInt64(columns))
    let directions = (0..<columns * width).map { Float(random.uniform(UInt64($0)) * 2 - 1) }
    var sketch = matrixProduct(m: rows, n: width, k: columns, matrix, directions)
    var basis = try thinQR(sketch, rows: rows, columns: width).q
    for _ in 0..<powerIterations {
        let back = matrixProduct(m: columns, n: width, k: rows, matrix, transposeA: true, basis)
        let turned = try thinQR(back, rows: columns, columns: width).q
        sketch = matrixProduct(m: rows, n: width, k: columns, matrix, turned)
        basis = try thinQR(sketch, rows: rows, columns: width).q
    }
    let small = matrixProduct(m: width, n: columns, k: rows, basis, transposeA: true, matrix)
    let inner = try singularValues(small, rows: width, columns: columns)
    let u = matrixProduct(m: rows, n: inner.rank, k: width, basis, inner.u)
    let floor = inner.s[0] * Float(relativeFloor)
    var s = Array(inner.s[..<rank])
    var left = [Float](repeating: 0, count: rows * rank)
    var vt = Array(inner.vt[..<(rank * columns)])
    for place in 0..<rank {
        guard s[place] > floor else {
            s[place] = 0
            for index in place * columns..<(place + 1) * columns { vt[index] = 0 }
            continue
        }
        for row in 0..<rows { left[row * rank + place] = u[row * inner.rank + place] }
    }
    return SingularValues(rank: rank, u: left, s: s, vt: vt)
}
