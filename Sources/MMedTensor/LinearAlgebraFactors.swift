internal import COpenBLAS
internal import MMedCore

/// Q `[rows, columns]` with orthonormal columns and upper triangular R `[columns, columns]`, row-major.
public struct ThinQR: Sendable {
    /// Orthonormal columns.
    public let q: [Float]
    /// Upper triangular.
    public let r: [Float]
}

/// The leading singular triples of a matrix, in falling order of the singular values.
public struct SingularValues: Sendable {
    /// How many triples.
    public let rank: Int
    /// Left vectors `[rows, rank]`, row-major.
    public let u: [Float]
    /// Singular values.
    public let s: [Float]
    /// Right vectors `[rank, columns]`, row-major.
    public let vt: [Float]
}

/// A = Q·R for a tall row-major `[rows, columns]` matrix (rows ≥ columns), by Householder reflections.
/// Throws `internalError` when LAPACK refuses the matrix.
public func thinQR(_ matrix: [Float], rows: Int, columns: Int) throws -> ThinQR {
    precondition(rows >= columns && columns > 0, "thin QR needs at least as many rows as columns")
    precondition(matrix.count == rows * columns && matrix.count <= Int(Int32.max))
    precondition(singleThreadedBLAS)
    var a = transposed(matrix, rows: rows, columns: columns)
    var tau = [Float](repeating: 0, count: columns)
    var (m, n, info) = (Int32(rows), Int32(columns), Int32(0))
    var workCount = Int32(columns * 64)
    var work = [Float](repeating: 0, count: Int(workCount))
    sgeqrf_(&m, &n, &a, &m, &tau, &work, &workCount, &info)
    try checkLAPACK("sgeqrf", info)
    var r = [Float](repeating: 0, count: columns * columns)
    for row in 0..<columns {
        for column in row..<columns { r[row * columns + column] = a[column * rows + row] }
    }
    sorgqr_(&m, &n, &n, &a, &m, &tau, &work, &workCount, &info)
    try checkLAPACK("sorgqr", info)
    return ThinQR(q: transposed(a, rows: columns, columns: rows), r: r)
}

/// All min(rows, columns) singular triples of a row-major matrix, by divide and conquer.
/// Throws `badData` for a number that is not finite and `internalError` when LAPACK does not converge.
public func singularValues(_ matrix: [Float], rows: Int, columns: Int) throws -> SingularValues {
    precondition(rows > 0 && columns > 0 && matrix.count == rows * columns && matrix.count <= Int(Int32.max))
    precondition(singleThreadedBLAS)
    guard matrix.allSatisfy(\.isFinite) else { throw notFinite }
    let rank = min(rows, columns)
    // The row-major matrix is its own transpose in column-major eyes, so LAPACK's U and Vᵀ change places.
    var a = matrix
    var s = [Float](repeating: 0, count: rank)
    var vt = [Float](repeating: 0, count: rank * columns)
    var u = [Float](repeating: 0, count: rows * rank)
    var (m, n, k, info) = (Int32(columns), Int32(rows), Int32(rank), Int32(0))
    var integerWork = [Int32](repeating: 0, count: 8 * rank)
    var job = CChar(UInt8(ascii: "S"))
    var work: [Float] = [0]
    var workCount: Int32 = -1
    sgesdd_(&job, &m, &n, &a, &m, &s, &vt, &m, &u, &k, &work, &workCount, &integerWork, &info, 1)
    try checkLAPACK("sgesdd", info)
    // The size comes back as fp32, which may round a large count down.
    workCount = Int32(work[0] * 1.01) + 64
    work = [Float](repeating: 0, count: Int(workCount))
    sgesdd_(&job, &m, &n, &a, &m, &s, &vt, &m, &u, &k, &work, &workCount, &integerWork, &info, 1)
    try checkLAPACK("sgesdd", info)
    return SingularValues(rank: rank, u: u, s: s, vt: vt)
}

/// The `count` largest eigenvalues, falling, of a symmetric `[order, order]` fp64 matrix, and their vectors as the rows
/// of `[count, order]`. Only the upper triangle (row-major) is read.
func largestEigenpairs(
    _ symmetric: [Double], order: Int, count: Int
) throws -> (values: [Double], vectors: [Double]) {
    precondition(count > 0 && count <= order && symmetric.count == order * order)
    precondition(singleThreadedBLAS)
    var a = symmetric
    var (n, first, last, found, info) = (Int32(order), Int32(order - count + 1), Int32(order), Int32(0), Int32(0))
    var (job, range) = (CChar(UInt8(ascii: "V")), CChar(UInt8(ascii: count == order ? "A" : "I")))
    // The row-major upper triangle is the column-major lower one.
    var triangle = CChar(UInt8(ascii: "L"))
    var none = 0.0
    var values = [Double](repeating: 0, count: order)
    var rising = [Double](repeating: 0, count: order * count)
    var support = [Int32](repeating: 0, count: 2 * order)
    var workCount = Int32(64 * order)
    var work = [Double](repeating: 0, count: Int(workCount))
    var integerWorkCount = Int32(10 * order)
    var integerWork = [Int32](repeating: 0, count: Int(integerWorkCount))
    dsyevr_(
        &job, &range, &triangle, &n, &a, &n, &none, &none, &first, &last, &none, &found, &values, &rising, &n, &support,
        &work, &workCount, &integerWork, &integerWorkCount, &info, 1, 1, 1)
    try checkLAPACK("dsyevr", info)
    guard Int(found) == count else {
        throw MMedError(.internalError, at: "dsyevr", "found \(found) of \(count) eigenvalues")
    }
    var vectors: [Double] = []
    vectors.reserveCapacity(count * order)
    for place in (0..<count).reversed() { vectors += rising[place * order..<(place + 1) * order] }
    return (values[..<count].reversed(), vectors)
}

let notFinite = MMedError(
    .badData, "a matrix to decompose holds a number that is not finite", mend: "check the adapters it came from")

/// The transpose of a row-major `[rows, columns]` matrix.
func transposed(_ matrix: [Float], rows: Int, columns: Int) -> [Float] {
    var result = [Float](repeating: 0, count: rows * columns)
    for row in 0..<rows {
        for column in 0..<columns { result[column * rows + row] = matrix[row * columns + column] }
    }
    return result
}

private func checkLAPACK(_ routine: String, _ info: Int32) throws {
    guard info == 0 else {
        throw MMedError(.internalError, at: routine, "LAPACK answered \(info) instead of 0")
    }
}
