import MMedTensor
import Testing

/// Every operation once on each instruction set this processor has, from the same numbers.
@Suite(.serialized) struct PathTests {
    private func everything(_ pool: ComputePool) -> [(String, [UInt32])] {
        products(pool) + rows(pool) + attention(pool)
    }

    private func products(_ pool: ComputePool) -> [(String, [UInt32])] {
        var numbers = Numbers(seed: 1234)
        let x = numbers.matrix(21, 130)
        let w = PackedMatrix(rowMajor: numbers.floats(75 * 130), rows: 75, columns: 130)
        let y = numbers.matrix(21, 75)
        matmul(x: x, w: w, y: y, scale: 0.7, accumulate: true, pool: pool)
        let back = numbers.matrix(21, 130)
        matmulTransposed(x: y, w: w, y: back, pool: pool)
        let (wide, tall) = (FloatBuffer(count: 75 * 130), FloatBuffer(count: 75 * 130))
        outerAccumulate(dY: y, x: x, into: wide, offset: 0, scale: 0.5, pool: pool)
        outerAccumulate(dY: x, x: y, into: tall, offset: 0, pool: pool)
        return [
            ("matmul", bits(y)), ("transposed", bits(back)), ("outer", bits(wide.array())),
            ("outer, turned", bits(tall.array())),
        ]
    }

    private func rows(_ pool: ComputePool) -> [(String, [UInt32])] {
        var numbers = Numbers(seed: 99)
        let (x, d, y, z) = (
            numbers.matrix(9, 72, 5), numbers.matrix(9, 72), numbers.matrix(9, 72), numbers.matrix(9, 72)
        )
        var results: [(String, [UInt32])] = []
        let weight = FloatBuffer(numbers.floats(72))
        let inverse = FloatBuffer(count: 9)
        rmsNormForward(x: x, weight: weight, epsilon: 1e-5, y: y, inverseRms: inverse, pool: pool)
        rmsNormBackward(dY: d, x: x, weight: weight, inverseRms: inverse, dX: z, pool: pool)
        results += [("norm", bits(y)), ("norm backward", bits(z))]
        siluMulForward(gate: x, up: d, y: y, pool: pool)
        siluMulBackward(dY: d, gate: x, up: y, dGate: z, dUp: y, pool: pool)
        results += [("silu gate", bits(z)), ("silu up", bits(y))]
        let positions = (0..<9).map { Int32($0 * 37) }
        ropeForward(x: z, positions: positions, table: RopeTable(headDim: 24, theta: 1e4, positions: 300), pool: pool)
        addRows(z, into: y, scale: 0.3, pool: pool)
        results += [("rope", bits(z)), ("add", bits(y))]
        let ids = (0..<9).map { Int32($0 * 7) }
        let scores = logSoftmaxPick(logits: x, ids: ids, inverseTemperature: 1.3, wantEntropy: true, pool: pool)
        results.append(("scores", bits(scores.flatMap { [$0.logProb, $0.logSumExp, $0.entropy] })))
        results.append(("argmax", argmaxRows(x, pool: pool).map { UInt32(bitPattern: $0) }))
        let drawn = sampleRows(x, uniforms: (0..<9).map { Double($0) / 9 }, pool: pool)
        results.append(("draws", drawn.map { UInt32(bitPattern: $0) }))
        let slopes = copy(x)
        logSoftmaxGradient(logits: slopes, ids: ids, scores: scores, coefficients: d.row(0).dropLast(63), pool: pool)
        results.append(("softmax gradient", bits(slopes)))
        let (p, m, v) = (FloatBuffer(x.row(1)), FloatBuffer(count: 72), FloatBuffer(count: 72))
        let step = AdamWStep(
            learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1, gradientScale: 0.3,
            biasCorrection1: 0.1, biasCorrection2: 0.01)
        adamW(
            parameters: p, firstMoment: m, secondMoment: v, gradient: FloatBuffer(d.row(0)), step: step, pool: pool)
        results.append(("adamW", bits(p.array() + m.array() + v.array())))
        let squares = sumOfSquares(p).bitPattern
        results.append(("squares", [UInt32(truncatingIfNeeded: squares), UInt32(squares >> 32)]))
        return results
    }

    private func attention(_ pool: ComputePool) -> [(String, [UInt32])] {
        let shape = AttentionTests.shape(6, 2, 24)
        var numbers = Numbers(seed: 55)
        let prefix = numbers.segment(100, shape)
        let chains = (0..<3).map { _ in KeyChain([prefix, numbers.segment(20, shape)]) }
        let zeros = chains[0].zeros().segments[0]
        let gradients = chains.map { KeyChain([zeros, $0.zeros().segments[1]]) }
        let q = chains.map { _ in numbers.matrix(10, 144, 2) }
        let out = q.map(copy)
        let dQ = q.map(copy)
        attentionForward(
            runs: chains.indices.map {
                AttentionRun(q: q[$0], chain: chains[$0], startPosition: 110, out: out[$0])
            }, shape: shape, pool: pool)
        attentionBackward(
            runs: chains.indices.map {
                AttentionGradientRun(
                    q: q[$0], dOut: out[$0], dQ: dQ[$0], chain: chains[$0], gradient: gradients[$0], startPosition: 110)
            }, shape: shape, pool: pool)
        return [
            ("attention", out.flatMap { bits($0) }), ("dQ", dQ.flatMap { bits($0) }),
            ("dK", gradients.flatMap { bits($0.keyArray()) }), ("dV", gradients.flatMap { bits($0.valueArray()) }),
        ]
    }

    @Test func everyInstructionSetGivesTheSameBits() {
        let usual = KernelPath.current
        defer { KernelPath.force(usual) }
        let pool = ComputePool(threads: 2)
        let expected = everything(pool)
        for path in KernelPath.allCases where path.isSupported {
            #expect(KernelPath.force(path))
            for ((name, result), (_, wanted)) in zip(everything(pool), expected) {
                #expect(result == wanted, "\(name) on \(path)")
            }
        }
    }

    @Test func aPathTheProcessorLacksIsRefused() {
        for path in KernelPath.allCases where !path.isSupported {
            let before = KernelPath.current
            #expect(!KernelPath.force(path))
            #expect(KernelPath.current == before)
        }
        #expect(KernelPath.portable.isSupported)
    }
}
