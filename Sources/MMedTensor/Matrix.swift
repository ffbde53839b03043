/// A row-major view [rows, columns] into a buffer; element (r, c) is `buffer[offset + r * rowStride + c]`.
public struct Matrix: Sendable {
    /// The storage, shared with every other view of it.
    public let buffer: FloatBuffer
    /// Element (0, 0).
    public let offset: Int
    /// Number of rows.
    public let rows: Int
    /// Number of columns.
    public let columns: Int
    /// Floats from one row to the next; at least `columns`.
    public let rowStride: Int

    /// A view of `buffer`; traps when it does not lie within.
    public init(_ buffer: FloatBuffer, offset: Int = 0, rows: Int, columns: Int, rowStride: Int? = nil) {
        let stride = rowStride ?? columns
        precondition(offset >= 0 && rows >= 0 && columns >= 0 && stride >= columns, "a view has no negative extent")
        if rows > 0 {
            let (last, overflow) = (rows - 1).multipliedReportingOverflow(by: stride)
            let fits = !overflow && columns <= buffer.count && offset <= buffer.count - columns
            precondition(fits && last <= buffer.count - columns - offset, "a view must lie within its buffer")
        }
        self.buffer = buffer
        self.offset = offset
        self.rows = rows
        self.columns = columns
        self.rowStride = stride
    }

    /// A matrix [rows, columns] of zeros with storage of its own.
    public init(rows: Int, columns: Int) {
        let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
        precondition(!overflow, "a matrix too large to address")
        self.init(FloatBuffer(count: count), rows: rows, columns: columns)
    }

    /// A copy of `values`, row-major, with storage of its own.
    public init(_ values: [Float], rows: Int, columns: Int) {
        precondition(values.count == rows * columns, "values must fill the matrix")
        self.init(FloatBuffer(values), rows: rows, columns: columns)
    }

    /// The view of some consecutive rows.
    public func rows(_ range: Range<Int>) -> Matrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows outside the matrix")
        return Matrix(
            buffer, offset: offset + range.lowerBound * rowStride, rows: range.count, columns: columns,
            rowStride: rowStride)
    }

    /// The view of some consecutive columns of every row.
    public func columns(_ range: Range<Int>) -> Matrix {
        precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns outside the matrix")
        return Matrix(
            buffer, offset: offset + range.lowerBound, rows: rows, columns: range.count, rowStride: rowStride)
    }

    /// One element.
    public subscript(row: Int, column: Int) -> Float {
        get {
            precondition(row >= 0 && row < rows && column >= 0 && column < columns, "index outside the matrix")
            return buffer.base[offset + row * rowStride + column]
        }
        nonmutating set {
            precondition(row >= 0 && row < rows && column >= 0 && column < columns, "index outside the matrix")
            buffer.base[offset + row * rowStride + column] = newValue
        }
    }

    /// A copy of one row.
    public func row(_ row: Int) -> [Float] {
        precondition(row >= 0 && row < rows, "row outside the matrix")
        let start = offset + row * rowStride
        return buffer.array(start..<start + columns)
    }

    /// A copy of all elements, row-major without gaps.
    public func array() -> [Float] { (0..<rows).flatMap { row($0) } }

    /// Element (0, 0). The memory lives as long as `buffer`, which every caller keeps alive across the use.
    var start: UnsafeMutablePointer<Float> { buffer.base + offset }
}
