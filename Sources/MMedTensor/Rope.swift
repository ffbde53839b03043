import CKernels

/// Cosines and sines of the rotary position embedding for positions 0..<positions.
///
/// Source: Su et al., "RoFormer", 2021, in the half-split layout of Hugging Face Llama: element i of a head turns together with
/// element i + headDim/2.
public final class RopeTable: Sendable {
    /// Width of a head; even.
    public let headDim: Int
    /// Positions the table covers.
    public let positions: Int
    /// [positions, headDim]: the headDim/2 cosines, then the headDim/2 sines.
    let table: FloatBuffer

    /// Frequencies theta^(-2i/headDim), the usual choice.
    public convenience init(headDim: Int, theta: Double, positions: Int) {
        precondition(headDim > 0 && headDim % 2 == 0, "rotary heads have an even width")
        self.init(
            inverseFrequencies: (0..<headDim / 2).map { mmed_power(theta, -2 * Double($0) / Double(headDim)) },
            positions: positions)
    }

    /// Frequencies given one by one (radians a position), for models that scale them.
    public init(inverseFrequencies: [Double], positions: Int) {
        precondition(!inverseFrequencies.isEmpty && positions >= 0, "a rotary table has a frequency")
        headDim = 2 * inverseFrequencies.count
        self.positions = positions
        table = FloatBuffer(count: positions * headDim)
        inverseFrequencies.withUnsafeBufferPointer { source in
            if let start = source.baseAddress {
                mmed_rope_table(start, inverseFrequencies.count, positions, table.base)
            }
        }
    }
}

/// Turns every head of x [T, heads · headDim] in place by its row's position.
public func ropeForward(x: Matrix, positions: [Int32], table: RopeTable, pool: ComputePool) {
    rope(x: x, positions: positions, table: table, sign: 1, pool: pool)
}

/// The inverse turn, which is also the backward: dX in place.
public func ropeBackward(x: Matrix, positions: [Int32], table: RopeTable, pool: ComputePool) {
    rope(x: x, positions: positions, table: table, sign: -1, pool: pool)
}

private func rope(x: Matrix, positions: [Int32], table: RopeTable, sign: Float, pool: ComputePool) {
    precondition(positions.count == x.rows, "rope: one position for each row")
    precondition(x.columns % table.headDim == 0, "rope: columns must be whole heads")
    for position in positions {
        precondition(position >= 0 && Int(position) < table.positions, "rope: position outside the table")
    }
    let (start, stride, columns, headDim) = (Borrowed(x.start), x.rowStride, x.columns, table.headDim)
    forEachRowBlock(x.rows, width: columns, pool: pool) { first, count in
        for row in first..<first + count {
            mmed_rope(
                start.value + row * stride, columns / headDim, headDim,
                table.table.base + Int(positions[row]) * headDim, sign)
        }
    }
}
