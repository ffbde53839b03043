import MMedTensor
import Testing

/// One element of a product, as the kernels promise it: a chain of fused multiply-adds in rising order.
func chain(_ count: Int, _ a: (Int) -> Float, _ b: (Int) -> Float) -> Float {
    var sum: Float = 0
    for step in 0..<count { sum = sum.addingProduct(a(step), b(step)) }
    return sum
}

/// y or 0, plus scale · x · wᵀ, each element rounded as promised.
func expectedProduct(_ x: Matrix, _ w: [Float], rows: Int, scale: Float, addedTo y: Matrix?) -> [Float] {
    (0..<x.rows).flatMap { m in
        (0..<rows).map { n in
            let sum = chain(x.columns, { x[m, $0] }, { w[n * x.columns + $0] })
            guard let y else { return scale * sum }
            return y[m, n].addingProduct(scale, sum)
        }
    }
}

@Suite struct ProductTests {
    let pools = [ComputePool(threads: 1), ComputePool(threads: 2)]

    @Test(arguments: [(1, 1), (8, 33), (16, 48), (24, 7), (48, 16), (49, 20), (64, 40), (100, 65), (160, 96)])
    func everyElementIsOneChain(rows: Int, columns: Int) {
        let seed = UInt64(rows * 1000 + columns)
        var numbers = Numbers(seed: seed)
        let w = numbers.floats(rows * columns)
        let packed = PackedMatrix(rowMajor: w, rows: rows, columns: columns)
        for m in [1, 2, 3, 7, 8, 9, 20] {
            let x = numbers.matrix(m, columns)
            for (scale, accumulate) in [(Float(1), false), (0.3, false), (1, true), (-1.7, true)] {
                for pool in pools {
                    let y = numbers.matrix(m, rows)
                    let expected = expectedProduct(x, w, rows: rows, scale: scale, addedTo: accumulate ? y : nil)
                    matmul(x: x, w: packed, y: y, scale: scale, accumulate: accumulate, pool: pool)
                    #expect(bits(y) == bits(expected), "seed \(seed), m \(m), scale \(scale), add \(accumulate)")
                }
            }
        }
    }

    @Test func rowsDoNotKnowTheirNeighbours() {
        var numbers = Numbers(seed: 11)
        let x = numbers.matrix(300, 120)
        let packed = PackedMatrix(rowMajor: numbers.floats(200 * 120), rows: 200, columns: 120)
        let whole = Matrix(rows: 300, columns: 200)
        matmul(x: x, w: packed, y: whole, pool: pools[1])
        for m in 1...40 {
            for first in [0, 3, 300 - m] {
                for pool in pools {
                    let y = Matrix(rows: m, columns: 200)
                    matmul(x: x.rows(first..<first + m), w: packed, y: y, pool: pool)
                    #expect(bits(y) == bits(whole.rows(first..<first + m)), "m \(m) from row \(first)")
                }
            }
        }
    }

    @Test(arguments: [(8, 60), (33, 8), (48, 48), (96, 50), (100, 17), (1600, 20)])
    func theTransposedProductUsesTheSamePanels(rows: Int, columns: Int) {
        let seed = UInt64(rows * 7 + columns)
        var numbers = Numbers(seed: seed)
        let w = numbers.floats(rows * columns)
        let packed = PackedMatrix(rowMajor: w, rows: rows, columns: columns)
        let turned = PackedMatrix(transposeOfRowMajor: w, rows: rows, columns: columns)
        for m in [1, 5, 8, 30] {
            let x = numbers.matrix(m, rows)
            for (scale, accumulate) in [(Float(1), false), (0.3, true)] {
                for pool in pools {
                    let start = numbers.matrix(m, columns)
                    let (y, z) = (copy(start), copy(start))
                    matmulTransposed(x: x, w: packed, y: y, scale: scale, accumulate: accumulate, pool: pool)
                    matmul(x: x, w: turned, y: z, scale: scale, accumulate: accumulate, pool: pool)
                    #expect(bits(y) == bits(z), "seed \(seed), m \(m), scale \(scale), add \(accumulate)")
                }
            }
        }
    }

    @Test func everyWayToPackIsTheSame() {
        var numbers = Numbers(seed: 5)
        for (rows, columns) in [(1, 3), (8, 20), (50, 9), (64, 33), (97, 40)] {
            let w = numbers.floats(rows * columns)
            let plain = PackedMatrix(rowMajor: w, rows: rows, columns: columns)
            let filled = PackedMatrix(rows: rows, columns: columns) { row, target in
                for c in 0..<columns { target[c] = w[row * columns + c] }
            }
            let byColumn = PackedMatrix(transposedRows: rows, columns: columns) { column, target in
                for r in 0..<rows { target[r] = w[r * columns + column] }
            }
            let again = PackedMatrix(rowMajor: numbers.floats(rows * columns), rows: rows, columns: columns)
            again.repack(from: FloatBuffer([0, 0] + w), offset: 2)
            for packed in [plain, filled, byColumn, again] {
                #expect((0..<rows).flatMap { packed.row($0) } == w)
            }
        }
    }

    @Test(arguments: [(8, 100, 30), (100, 8, 30), (16, 48, 1), (20, 20, 9), (64, 200, 70), (7, 130, 5), (130, 50, 40)])
    func outerProductsAddUpInRowOrder(n: Int, k: Int, m: Int) {
        var numbers = Numbers(seed: UInt64(n * 31 + k))
        let (d, x) = (numbers.matrix(m, n), numbers.matrix(m, k))
        let start = numbers.floats(n * k + 5)
        for (pool, scale) in [(pools[0], Float(1)), (pools[1], 1), (pools[1], 0.25)] {
            let gradient = FloatBuffer(start)
            outerAccumulate(dY: d, x: x, into: gradient, offset: 3, scale: scale, pool: pool)
            var expected = start
            for row in 0..<n {
                for column in 0..<k {
                    let sum = chain(m, { d[$0, row] }, { x[$0, column] })
                    expected[3 + row * k + column] = expected[3 + row * k + column].addingProduct(scale, sum)
                }
            }
            #expect(bits(gradient.array()) == bits(expected))
        }
    }

    @Test func productsAgreeWithDoublePrecision() {
        var numbers = Numbers(seed: 3)
        let (m, n, k) = (6, 60, 576)
        let x = numbers.matrix(m, k)
        let w = numbers.floats(n * k)
        let y = Matrix(rows: m, columns: n)
        matmul(x: x, w: PackedMatrix(rowMajor: w, rows: n, columns: k), y: y, pool: pools[0])
        let expected = (0..<m).flatMap { row in
            (0..<n).map { column in (0..<k).reduce(0) { $0 + Double(x[row, $1]) * Double(w[column * k + $1]) } }
        }
        #expect(largestError(y.array(), expected) < 1e-6)
    }

    @Test func nothingOutsideTheResultIsWritten() {
        var numbers = Numbers(seed: 9)
        let buffer = FloatBuffer([Float](repeating: 7, count: 500))
        let y = Matrix(buffer, offset: 10, rows: 5, columns: 50, rowStride: 60)
        let x = numbers.matrix(5, 12)
        matmul(x: x, w: PackedMatrix(rowMajor: numbers.floats(600), rows: 50, columns: 12), y: y, pool: pools[1])
        for index in 0..<500 {
            let inside = index >= 10 && (index - 10) / 60 < 5 && (index - 10) % 60 < 50
            #expect((buffer[index] == 7) == !inside, "element \(index)")
        }
    }
}
