import MMedTensor
import Testing

@Suite struct SoftmaxTests {
    let pool = ComputePool(threads: 2)

    private func logSoftmax(_ row: [Double], _ inverseTemperature: Double) -> [Double] {
        let scaled = row.map { $0 * inverseTemperature }
        let largest = scaled.max() ?? 0
        let sum = scaled.reduce(0) { $0 + exponential($1 - largest) }
        return scaled.map { $0 - largest - logarithm(sum) }
    }

    @Test(arguments: [1, 5, 16, 1000, 1024, 49_152])
    func scoresAndGradientsFollowTheFormula(columns: Int) {
        var numbers = Numbers(seed: UInt64(columns))
        let rows = 5
        let logits = numbers.matrix(rows, columns, 12)
        let ids = (0..<rows).map { _ in Int32(numbers.below(columns)) }
        let coefficients = numbers.floats(rows)
        for inverseTemperature in [Float(1), 1.25] {
            let gradient = copy(logits)
            let scores = logSoftmaxPick(
                logits: logits, ids: ids, inverseTemperature: inverseTemperature, wantEntropy: true, pool: pool)
            logSoftmaxGradient(
                logits: gradient, ids: ids, scores: scores, coefficients: coefficients,
                inverseTemperature: inverseTemperature, pool: pool)
            for row in 0..<rows {
                let t = Double(inverseTemperature)
                let expected = logSoftmax(logits.row(row).map(Double.init), t)
                let id = Int(ids[row])
                #expect((Double(scores[row].logProb) - expected[id]).magnitude < 4e-6)
                let entropy = -expected.reduce(0) { $0 + exponential($1) * $1 }
                #expect((Double(scores[row].entropy) - entropy).magnitude < 1e-5)
                let slopes = expected.enumerated().map { index, value in
                    Double(coefficients[row]) * t * (exponential(value) - (index == id ? 1 : 0))
                }
                #expect(largestError(gradient.row(row), slopes) < 4e-6)
            }
        }
    }

    @Test func aScoreDoesNotKnowTheOtherRows() {
        var numbers = Numbers(seed: 77)
        let logits = numbers.matrix(20, 3001, 9)
        let ids = (0..<20).map { _ in Int32(numbers.below(3001)) }
        let all = logSoftmaxPick(logits: logits, ids: ids, wantEntropy: true, pool: pool)
        for row in 0..<20 {
            let one = logSoftmaxPick(
                logits: copy(logits.rows(row..<row + 1)), ids: [ids[row]], wantEntropy: true,
                pool: ComputePool(threads: 1))
            #expect(one == [all[row]])
        }
    }

    @Test func theLargestLogitWinsAndTheLowestOfEquals() {
        var numbers = Numbers(seed: 4)
        let logits = numbers.matrix(50, 333)
        for row in 0..<50 {
            let value = numbers.float() + 2
            for _ in 0..<3 { logits[row, numbers.below(333)] = value }
        }
        let expected = (0..<50).map { row -> Int32 in
            let values = logits.row(row)
            let largest = values.max()
            return Int32(values.firstIndex { $0 == largest } ?? -1)
        }
        #expect(argmaxRows(logits, pool: pool) == expected)
    }

    @Test(arguments: [75, 3000]) func drawsInvertTheCumulativeDistribution(columns: Int) {
        var numbers = Numbers(seed: UInt64(columns))
        let rows = 400
        let one = numbers.floats(columns, 3)
        let logits = Matrix((0..<rows).flatMap { _ in one }, rows: rows, columns: columns)
        let uniforms = (0..<rows).map { (Double($0) + 0.5) / Double(rows) }
        let drawn = sampleRows(logits, uniforms: uniforms, inverseTemperature: 0.7, pool: pool)
        let probabilities = logSoftmax(one.map(Double.init), Double(Float(0.7))).map(exponential)
        for (row, id) in drawn.enumerated() {
            let below = probabilities[..<Int(id)].reduce(0, +)
            #expect(below - 1e-6 <= uniforms[row] && uniforms[row] <= below + probabilities[Int(id)] + 1e-6)
        }
        let edge = sampleRows(
            Matrix([-.infinity, 1, -.infinity, 1, -.infinity] + [1, 2, 3, 4, 5], rows: 2, columns: 5),
            uniforms: [0, 0.999_999_999_999], pool: pool)
        #expect(edge == [1, 4])
    }

    @Test func excludedIdsHaveNoWeight() {
        let logits = Matrix([0, -.infinity, 0, -.infinity], rows: 1, columns: 4)
        let score = logSoftmaxPick(logits: logits, ids: [2], wantEntropy: true, pool: pool)[0]
        #expect((score.logProb + 0.693_147_2).magnitude < 1e-6 && (score.entropy - 0.693_147_2).magnitude < 1e-6)
    }
}
