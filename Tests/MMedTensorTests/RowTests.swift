import MMedTensor
import Testing

@Suite struct RowTests {
    let pool = ComputePool(threads: 2)

    private func norm(_ x: [Double], _ weight: [Double], _ epsilon: Double) -> [Double] {
        let mean = x.reduce(0) { $0 + $1 * $1 } / Double(x.count)
        return zip(x, weight).map { $0 * $1 / (mean + epsilon).squareRoot() }
    }

    @Test(arguments: [1, 8, 16, 37, 576])
    func normalisationAndItsBackward(columns: Int) {
        var numbers = Numbers(seed: UInt64(columns))
        let rows = 45
        let (x, d) = (numbers.matrix(rows, columns, 2), numbers.matrix(rows, columns))
        let weight = FloatBuffer([0] + numbers.floats(columns))
        let y = Matrix(rows: rows, columns: columns)
        let dX = numbers.matrix(rows, columns)
        let before = doubles(dX)
        let inverse = FloatBuffer(count: rows + 1)
        rmsNormForward(
            x: x, weight: weight, weightOffset: 1, epsilon: 1e-5, y: y, inverseRms: inverse, inverseRmsOffset: 1,
            pool: pool)
        rmsNormBackward(
            dY: d, x: x, weight: weight, weightOffset: 1, inverseRms: inverse, inverseRmsOffset: 1, dX: dX,
            accumulate: true, pool: pool)
        let w = weight.array(1..<columns + 1).map(Double.init)
        for row in [0, 1, rows - 1] {
            let point = x.row(row).map(Double.init)
            #expect(largestError(y.row(row), norm(point, w, 1e-5)) < 1e-6)
            let slopes = d.row(row).map(Double.init)
            let gradient = numericalGradient(point) { dot(norm($0, w, 1e-5), slopes) }
            let expected = zip(gradient, before[row * columns..<(row + 1) * columns]).map { $0 + $1 }
            #expect(largestError(dX.row(row), expected) < 1e-5, "row \(row) of width \(columns)")
        }
    }

    @Test(arguments: [1, 16, 40, 700])
    func gatedActivationAndItsBackward(columns: Int) {
        var numbers = Numbers(seed: UInt64(columns) + 1)
        let (gate, up, d) = (
            numbers.matrix(30, columns, 6), numbers.matrix(30, columns, 2), numbers.matrix(30, columns)
        )
        let (y, dGate, dUp) = (copy(gate), copy(gate), copy(up))
        siluMulForward(gate: gate, up: up, y: y, pool: pool)
        siluMulBackward(dY: d, gate: gate, up: up, dGate: dGate, dUp: dUp, pool: pool)
        func value(_ g: Double, _ u: Double) -> Double { g / (1 + exponential(-g)) * u }
        let (g, u, slope) = (doubles(gate), doubles(up), doubles(d))
        #expect(largestError(y.array(), zip(g, u).map(value)) < 1e-6)
        let step = 1e-5
        let byGate = g.indices.map {
            slope[$0] * (value(g[$0] + step, u[$0]) - value(g[$0] - step, u[$0])) / (2 * step)
        }
        let byUp = g.indices.map { slope[$0] * value(g[$0], 1) }
        #expect(largestError(dGate.array(), byGate) < 1e-5)
        #expect(largestError(dUp.array(), byUp) < 1e-6)
    }

    @Test func rotationFollowsTheFormulaAndTurnsBack() {
        var numbers = Numbers(seed: 21)
        for headDim in [2, 8, 24, 64] {
            let table = RopeTable(headDim: headDim, theta: 10_000, positions: 3000)
            let x = numbers.matrix(20, 3 * headDim)
            let positions = (0..<20).map { Int32($0 == 0 ? 0 : numbers.below(3000)) }
            let turned = copy(x)
            ropeForward(x: turned, positions: positions, table: table, pool: pool)
            #expect(bits(turned.row(0)) == bits(x.row(0)), "position 0 stays")
            let half = headDim / 2
            var expected = doubles(x)
            for row in 0..<20 {
                for head in 0..<3 {
                    for i in 0..<half {
                        let angle = Double(positions[row]) * power(10_000, -2 * Double(i) / Double(headDim))
                        let (low, high) = (
                            row * 3 * headDim + head * headDim + i, row * 3 * headDim + head * headDim + half + i
                        )
                        let (a, b) = (expected[low], expected[high])
                        expected[low] = a * cosine(angle) - b * cosine(angle - .pi / 2)
                        expected[high] = b * cosine(angle) + a * cosine(angle - .pi / 2)
                    }
                }
            }
            #expect(largestError(turned.array(), expected) < 1e-6)
            ropeBackward(x: turned, positions: positions, table: table, pool: pool)
            #expect(largestError(turned.array(), doubles(x)) < 1e-6)
        }
    }

    @Test func rowsAreAddedCopiedAndGathered() {
        var numbers = Numbers(seed: 8)
        let (x, y) = (numbers.matrix(9, 50), numbers.matrix(9, 50))
        let expected = zip(y.array(), x.array()).map { $0.addingProduct(0.5, $1) }
        addRows(x, into: y, scale: 0.5, pool: pool)
        #expect(bits(y) == bits(expected))
        copyRows(x, into: y)
        #expect(bits(y) == bits(x))
        let ids: [Int32] = [8, 0, 3, 3]
        let picked = Matrix(rows: 4, columns: 50)
        gatherRows(table: x, ids: ids, into: picked)
        #expect(picked.array() == ids.flatMap { x.row(Int($0)) })
    }

    @Test func buffersKeepWhatTheyAreGiven() {
        let buffer = FloatBuffer([1, 2, 3, 4, 5])
        buffer.copy(from: [9, 8], at: 1)
        #expect(buffer.array() == [1, 9, 8, 4, 5])
        buffer.copy(from: buffer, at: 0, count: 3, to: 1)
        #expect(buffer.array() == [1, 1, 9, 8, 5])
        buffer.zero(3..<5)
        #expect(buffer.array(2..<5) == [9, 0, 0])
        #expect(FloatBuffer(count: 0).array().isEmpty)
        let matrix = Matrix(FloatBuffer((0..<12).map(Float.init)), rows: 3, columns: 4)
        #expect(matrix.rows(1..<3).columns(2..<4).array() == [6, 7, 10, 11])
    }
}
