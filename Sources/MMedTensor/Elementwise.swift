import CKernels

/// y [M, D] += scale · x [M, D], the residual addition and its backward.
public func addRows(_ x: Matrix, into y: Matrix, scale: Float = 1, pool: ComputePool) {
    precondition(x.rows == y.rows && x.columns == y.columns, "addRows: shapes do not fit")
    let (source, target) = (Borrowed(x.start), Borrowed(y.start))
    let (xStride, yStride, columns) = (x.rowStride, y.rowStride, x.columns)
    forEachRowBlock(x.rows, width: columns, pool: pool) { first, count in
        for row in first..<first + count {
            mmed_add(source.value + row * xStride, target.value + row * yStride, columns, scale)
        }
    }
}

/// y [M, D] = x [M, D].
public func copyRows(_ x: Matrix, into y: Matrix) {
    precondition(x.rows == y.rows && x.columns == y.columns, "copyRows: shapes do not fit")
    for row in 0..<x.rows {
        (y.start + row * y.rowStride).update(from: x.start + row * x.rowStride, count: x.columns)
    }
}

/// into [ids.count, D] = the rows `ids` of table [V, D], the embedding look-up; every id must be a row of the table.
public func gatherRows(table: Matrix, ids: [Int32], into: Matrix) {
    precondition(into.rows == ids.count && into.columns == table.columns, "gatherRows: shapes do not fit")
    for (row, id) in ids.enumerated() {
        precondition(id >= 0 && Int(id) < table.rows, "gatherRows: id outside the table")
        (into.start + row * into.rowStride).update(
            from: table.start + Int(id) * table.rowStride, count: table.columns)
    }
}

/// y [M, D] = silu(gate) · up, element by element, silu(g) = g / (1 + e^-g). `y` may be `gate` or `up`.
///
/// Source: Shazeer, "GLU Variants Improve Transformer", 2020.
public func siluMulForward(gate: Matrix, up: Matrix, y: Matrix, pool: ComputePool) {
    precondition(gate.rows == up.rows && gate.columns == up.columns, "siluMulForward: shapes do not fit")
    precondition(gate.rows == y.rows && gate.columns == y.columns, "siluMulForward: shapes do not fit")
    let (g, u, out) = (Borrowed(gate.start), Borrowed(up.start), Borrowed(y.start))
    let (gStride, uStride, yStride, columns) = (gate.rowStride, up.rowStride, y.rowStride, gate.columns)
    forEachRowBlock(gate.rows, width: columns, pool: pool) { first, count in
        for row in first..<first + count {
            mmed_silu_mul(g.value + row * gStride, u.value + row * uStride, out.value + row * yStride, columns)
        }
    }
}

/// The backward of `siluMulForward`: dGate and dUp [M, D] from dY, the same gate and up. dGate may be `gate` or `dY`, dUp
/// may be `up` or `dY`, but the two must differ.
public func siluMulBackward(dY: Matrix, gate: Matrix, up: Matrix, dGate: Matrix, dUp: Matrix, pool: ComputePool) {
    for other in [up, dY, dGate, dUp] {
        precondition(gate.rows == other.rows && gate.columns == other.columns, "siluMulBackward: shapes do not fit")
    }
    let (g, u, d) = (Borrowed(gate.start), Borrowed(up.start), Borrowed(dY.start))
    let (dg, du) = (Borrowed(dGate.start), Borrowed(dUp.start))
    let (gStride, uStride, dStride) = (gate.rowStride, up.rowStride, dY.rowStride)
    let (dgStride, duStride, columns) = (dGate.rowStride, dUp.rowStride, gate.columns)
    forEachRowBlock(gate.rows, width: columns, pool: pool) { first, count in
        for row in first..<first + count {
            mmed_silu_mul_backward(
                d.value + row * dStride, g.value + row * gStride, u.value + row * uStride, dg.value + row * dgStride,
                du.value + row * duStride, columns)
        }
    }
}
