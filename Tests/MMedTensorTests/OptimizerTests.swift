import MMedTensor
import Testing

@Suite struct OptimizerTests {
    let pools = [ComputePool(threads: 1), ComputePool(threads: 2)]

    @Test func stepsFollowTheFormulaOnAnyThreads() {
        var numbers = Numbers(seed: 2)
        let count = 40_003
        let start = numbers.floats(count)
        let gradients = (0..<3).map { _ in numbers.floats(count, 0.1) }
        var results: [[UInt32]] = []
        for pool in pools {
            let (p, m, v) = (FloatBuffer(start), FloatBuffer(count: count), FloatBuffer(count: count))
            var (expectedP, expectedM, expectedV) = (
                start.map(Double.init), [Double](repeating: 0, count: count), [0.0]
            )
            expectedV = expectedM
            for (t, gradient) in gradients.enumerated() {
                let step = AdamWStep(
                    learningRate: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.01, gradientScale: 0.5,
                    biasCorrection1: Float(1 - power(0.9, Double(t + 1))),
                    biasCorrection2: Float(1 - power(0.99, Double(t + 1))))
                adamW(
                    parameters: p, firstMoment: m, secondMoment: v, gradient: FloatBuffer(gradient), step: step,
                    pool: pool)
                for i in 0..<count {
                    let g = Double(gradient[i]) * 0.5
                    expectedM[i] = 0.9 * expectedM[i] + 0.1 * g
                    expectedV[i] = 0.99 * expectedV[i] + 0.01 * g * g
                    let root = (expectedV[i] / (1 - power(0.99, Double(t + 1)))).squareRoot() + 1e-8
                    let move = expectedM[i] / (1 - power(0.9, Double(t + 1))) / root + 0.01 * expectedP[i]
                    expectedP[i] -= 1e-3 * move
                }
            }
            #expect(largestError(p.array(), expectedP) < 1e-6)
            #expect(largestError(m.array(), expectedM) < 1e-6)
            #expect(largestError(v.array(), expectedV, floor: 1e-6) < 1e-5)
            results.append(bits(p.array() + m.array() + v.array()))
        }
        #expect(results[0] == results[1])
    }

    @Test func theSquareSumIsThatOfDoubles() {
        var numbers = Numbers(seed: 6)
        for count in [0, 1, 15, 16, 17, 16_384, 50_001] {
            let values = numbers.floats(count + 2)
            let sum = sumOfSquares(FloatBuffer(values), range: 1..<count + 1)
            let expected = values[1..<count + 1].reduce(0.0) { $0 + Double($1) * Double($1) }
            #expect((sum - expected).magnitude <= 1e-12 * max(expected, 1))
        }
    }
}
