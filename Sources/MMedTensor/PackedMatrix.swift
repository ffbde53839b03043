import CKernels

/// A weight W [rows, columns] stored in panels of 48 rows, so that `matmul` streams it and never strides.
///
/// Proof: the panels change in `repack` alone, whose caller must be the only user of the matrix at that time; every product
/// reads them only.
public final class PackedMatrix: @unchecked Sendable {
    /// N: the width of the output of `matmul`.
    public let rows: Int
    /// K: the width of its input.
    public let columns: Int
    let panels: FloatBuffer

    private init(zeroRows rows: Int, columns: Int) {
        precondition(rows > 0 && columns > 0, "a weight has at least one row and one column")
        let (size, overflow) = ((rows + 15) / 16 * 16).multipliedReportingOverflow(by: columns)
        precondition(!overflow, "a weight too large to address")
        self.rows = rows
        self.columns = columns
        panels = FloatBuffer(count: size)
    }

    /// Packs W [rows, columns] given row by row without gaps.
    public convenience init(rowMajor values: [Float], rows: Int, columns: Int) {
        self.init(zeroRows: rows, columns: columns)
        precondition(values.count == rows * columns, "values must fill the weight")
        values.withUnsafeBufferPointer { source in
            if let start = source.baseAddress {
                mmed_pack(start, columns, 1, rows, columns, panels.base)
            }
        }
    }

    /// Packs W = `matrix`, or its transpose.
    public convenience init(_ matrix: Matrix, transposed: Bool = false) {
        self.init(
            zeroRows: transposed ? matrix.columns : matrix.rows, columns: transposed ? matrix.rows : matrix.columns)
        let (rowStep, columnStep) = transposed ? (1, matrix.rowStride) : (matrix.rowStride, 1)
        mmed_pack(matrix.start, rowStep, columnStep, rows, columns, panels.base)
    }

    /// Packs the transpose of `source` [N, K] given row by row: W [K, N].
    public convenience init(transposeOfRowMajor values: [Float], rows: Int, columns: Int) {
        self.init(Matrix(values, rows: rows, columns: columns), transposed: true)
    }

    /// Packs W [rows, columns]; `fillRow(r, &row)` writes row `r` into `row`, which has `columns` elements of any value.
    /// Rows are asked for once, in order.
    public convenience init(rows: Int, columns: Int, fillRow: (Int, inout [Float]) throws -> Void) rethrows {
        self.init(zeroRows: rows, columns: columns)
        var row = [Float](repeating: 0, count: columns)
        for index in 0..<rows {
            try fillRow(index, &row)
            precondition(row.count == columns, "a row keeps its length")
            row.withUnsafeBufferPointer { source in
                if let start = source.baseAddress { mmed_pack_row(start, index, rows, columns, panels.base) }
            }
        }
    }

    /// Packs the transpose of a source [columns, rows] that is filled row by row: `fillRow(k, &row)` writes the source's
    /// row `k`, of `rows` elements, which is column `k` of W.
    public convenience init(
        transposedRows rows: Int, columns: Int, fillRow: (Int, inout [Float]) throws -> Void
    ) rethrows {
        self.init(zeroRows: rows, columns: columns)
        var row = [Float](repeating: 0, count: rows)
        for index in 0..<columns {
            try fillRow(index, &row)
            precondition(row.count == rows, "a row keeps its length")
            row.withUnsafeBufferPointer { source in
                if let start = source.baseAddress { mmed_pack_column(start, index, rows, columns, panels.base) }
            }
        }
    }

    /// Replaces W by the `rows * columns` floats, row-major, at `offset` of a flat vector.
    public func repack(from flat: FloatBuffer, offset: Int) {
        precondition(offset >= 0 && offset <= flat.count - rows * columns, "the weight lies outside the flat vector")
        mmed_pack(flat.base + offset, columns, 1, rows, columns, panels.base)
    }

    /// Row `row` of W as it was before packing.
    public func row(_ row: Int) -> [Float] {
        precondition(row >= 0 && row < rows, "row outside the weight")
        var values = [Float](repeating: 0, count: columns)
        values.withUnsafeMutableBufferPointer { target in
            if let start = target.baseAddress { mmed_unpack_row(panels.base, row, rows, columns, start) }
        }
        return values
    }
}
