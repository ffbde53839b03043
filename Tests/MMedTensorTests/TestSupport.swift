import MMedTensor
import Testing

/// SplitMix64: the same numbers everywhere from one seed.
struct Numbers {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// In 0..<bound.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    /// Uniform in 0..<1.
    mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Uniform in -size...size.
    mutating func float(_ size: Float = 1) -> Float { (Float(unit()) * 2 - 1) * size }

    mutating func floats(_ count: Int, _ size: Float = 1) -> [Float] { (0..<count).map { _ in float(size) } }

    /// A view with gaps between the rows and before the first, filled at random.
    mutating func matrix(_ rows: Int, _ columns: Int, _ size: Float = 1) -> Matrix {
        let stride = columns + below(5)
        let offset = below(4)
        let buffer = FloatBuffer(floats(offset + max(rows, 1) * stride + 3, size))
        return Matrix(buffer, offset: offset, rows: rows, columns: columns, rowStride: stride)
    }
}

func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

func bits(_ matrix: Matrix) -> [UInt32] { bits(matrix.array()) }

/// A copy with storage of its own.
func copy(_ matrix: Matrix) -> Matrix { Matrix(matrix.array(), rows: matrix.rows, columns: matrix.columns) }

func doubles(_ matrix: Matrix) -> [Double] { matrix.array().map(Double.init) }

/// The largest difference, relative to the largest magnitude of what was expected (at least `floor`).
func largestError(_ actual: [Float], _ expected: [Double], floor: Double = 1e-3) -> Double {
    precondition(actual.count == expected.count)
    var size = floor
    var difference = 0.0
    for (a, e) in zip(actual, expected) {
        size = max(size, e.magnitude)
        let d = (Double(a) - e).magnitude
        difference = d.isNaN ? .infinity : max(difference, d)
    }
    return difference / size
}

/// Central differences of `loss` with respect to each element of `at`.
func numericalGradient(_ at: [Double], step: Double = 1e-5, _ loss: ([Double]) -> Double) -> [Double] {
    var point = at
    return at.indices.map { index in
        let kept = point[index]
        point[index] = kept + step
        let above = loss(point)
        point[index] = kept - step
        let below = loss(point)
        point[index] = kept
        return (above - below) / (2 * step)
    }
}

/// sum of a · b.
func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
