import MMedTensor
import Testing

@Suite struct AttentionTests {
    let pools = [ComputePool(threads: 1), ComputePool(threads: 2)]

    static func shape(_ heads: Int, _ kvHeads: Int, _ headDim: Int) -> AttentionShape {
        AttentionShape(heads: heads, kvHeads: kvHeads, headDim: headDim, scale: 1 / Float(headDim).squareRoot())
    }

    private func reference(_ q: Matrix, _ chain: KeyChain, _ start: Int, _ shape: AttentionShape) -> AttentionReference
    {
        AttentionReference(
            shape: shape, keys: chain.keyArray().map(Double.init), values: chain.valueArray().map(Double.init),
            q: doubles(q), startPosition: start)
    }

    @Test(arguments: [
        (9, 3, 64, 60, 130), (4, 2, 8, 5, 0), (2, 1, 40, 1, 47), (3, 3, 16, 1, 300), (64, 1, 24, 3, 50),
        (6, 2, 20, 50, 1), (2, 2, 7, 20, 30), (4, 4, 128, 17, 96),
    ])
    func forwardAndBackwardFollowTheFormula(heads: Int, kvHeads: Int, headDim: Int, queries: Int, start: Int) {
        let shape = Self.shape(heads, kvHeads, headDim)
        let seed = UInt64(heads * 1000 + headDim)
        var numbers = Numbers(seed: seed)
        let q = numbers.matrix(queries, heads * headDim, 2)
        let dOut = numbers.matrix(queries, heads * headDim)
        let chain = numbers.recut(KeyChain([numbers.segment(start + queries + 3, shape)]), shape)
        let plain = reference(q, chain, start, shape)
        let expected = plain.backward(dOut: doubles(dOut))
        for pool in pools {
            let out = numbers.matrix(queries, heads * headDim)
            attentionForward(
                runs: [AttentionRun(q: q, chain: chain, startPosition: start, out: out)], shape: shape, pool: pool)
            #expect(largestError(out.array(), plain.forward()) < 2e-6, "seed \(seed)")
            let dQ = numbers.matrix(queries, heads * headDim)
            let gradient = chain.zeros()
            let run = AttentionGradientRun(
                q: q, dOut: dOut, dQ: dQ, chain: chain, gradient: gradient, startPosition: start)
            attentionBackward(runs: [run], shape: shape, pool: pool)
            #expect(largestError(dQ.array(), expected.dQ) < 5e-6, "seed \(seed)")
            #expect(largestError(gradient.keyArray(), expected.dKeys) < 5e-6, "seed \(seed)")
            #expect(largestError(gradient.valueArray(), expected.dValues) < 5e-6, "seed \(seed)")
        }
    }

    @Test func theReferenceGradientIsTheSlope() {
        let shape = Self.shape(4, 2, 6)
        var numbers = Numbers(seed: 31)
        let plain = AttentionReference(
            shape: shape, keys: numbers.floats(7 * 12).map(Double.init),
            values: numbers.floats(7 * 12).map(Double.init),
            q: numbers.floats(3 * 24).map(Double.init), startPosition: 4)
        let slopes = numbers.floats(3 * 24).map(Double.init)
        let expected = plain.backward(dOut: slopes)
        func loss(_ change: (inout AttentionReference) -> Void) -> Double {
            var moved = plain
            change(&moved)
            return dot(moved.forward(), slopes)
        }
        let dQ = numericalGradient(plain.q) { point in loss { $0.q = point } }
        let dKeys = numericalGradient(plain.keys) { point in loss { $0.keys = point } }
        let dValues = numericalGradient(plain.values) { point in loss { $0.values = point } }
        for (slope, formula) in [(dQ, expected.dQ), (dKeys, expected.dKeys), (dValues, expected.dValues)] {
            #expect(zip(slope, formula).allSatisfy { ($0 - $1).magnitude < 1e-8 })
        }
    }

    /// A question, two suffixes and some paths below each, as one batch and as single queries on chains cut anew.
    @Test(arguments: [(9, 3, 64), (4, 2, 24)])
    func anOutputDependsOnItsOwnKeysAlone(heads: Int, kvHeads: Int, headDim: Int) {
        let shape = Self.shape(heads, kvHeads, headDim)
        for seed in UInt64(1)...4 {
            var numbers = Numbers(seed: seed)
            let question = numbers.segment(100 + numbers.below(100), shape)
            var runs: [AttentionRun] = []
            for _ in 0..<2 {
                let suffix = numbers.segment(1 + numbers.below(70), shape)
                for _ in 0..<5 {
                    let path = numbers.segment(1 + numbers.below(60), shape)
                    let queries = 1 + numbers.below(path.keys.rows)
                    let q = numbers.matrix(queries, heads * headDim, 2)
                    let chain = KeyChain([question, suffix, path])
                    runs.append(
                        AttentionRun(q: q, chain: chain, startPosition: chain.count - queries, out: copy(q)))
                }
            }
            attentionForward(runs: runs, shape: shape, pool: pools[1])
            for run in runs {
                let chain = numbers.recut(run.chain, shape)
                let alone = Matrix(rows: run.q.rows, columns: heads * headDim)
                for row in 0..<run.q.rows {
                    let single = AttentionRun(
                        q: run.q.rows(row..<row + 1), chain: chain, startPosition: run.startPosition + row,
                        out: alone.rows(row..<row + 1))
                    attentionForward(runs: [single], shape: shape, pool: pools[0])
                }
                #expect(bits(alone) == bits(run.out), "seed \(seed)")
            }
        }
    }

    @Test func keysBeyondAQueryDoNotReachIt() {
        let shape = Self.shape(3, 1, 16)
        var numbers = Numbers(seed: 3)
        let segment = numbers.segment(70, shape)
        let q = numbers.matrix(70, 48)
        let (before, after) = (copy(q), copy(q))
        let chain = KeyChain([segment])
        attentionForward(
            runs: [AttentionRun(q: q, chain: chain, startPosition: 0, out: before)], shape: shape, pool: pools[0])
        for row in 40..<70 {
            for column in 0..<16 {
                segment.keys[row, column] = .nan
                segment.values[row, column] = .infinity
            }
        }
        attentionForward(
            runs: [AttentionRun(q: q, chain: chain, startPosition: 0, out: after)], shape: shape, pool: pools[0])
        #expect(bits(before.rows(0..<40)) == bits(after.rows(0..<40)))
    }

    @Test func sharedKeysReceiveTheSumOfTheirQueries() {
        let shape = Self.shape(9, 3, 64)
        var numbers = Numbers(seed: 12)
        let prefix = numbers.segment(150, shape)
        let chains = (0..<4).map { _ in KeyChain([prefix, numbers.segment(90, shape)]) }
        let q = chains.map { _ in numbers.matrix(60, 576, 2) }
        let dOut = chains.map { _ in numbers.matrix(60, 576) }
        var results: [[UInt32]] = []
        for pool in pools {
            let zeros = chains[0].zeros().segments[0]
            let gradients = chains.map { KeyChain([zeros, $0.zeros().segments[1]]) }
            let dQ = q.map(copy)
            attentionBackward(
                runs: chains.indices.map {
                    AttentionGradientRun(
                        q: q[$0], dOut: dOut[$0], dQ: dQ[$0], chain: chains[$0], gradient: gradients[$0],
                        startPosition: 180)
                }, shape: shape, pool: pool)
            var expected = [Double](repeating: 0, count: 150 * 192)
            for index in chains.indices {
                let plain = reference(q[index], chains[index], 180, shape).backward(dOut: doubles(dOut[index]))
                for i in expected.indices { expected[i] += plain.dKeys[i] }
                #expect(largestError(dQ[index].array(), plain.dQ) < 5e-6)
                let own = Array(plain.dValues[(150 * 192)...])
                #expect(largestError(gradients[index].segments[1].values.array(), own) < 5e-6)
            }
            #expect(largestError(zeros.keys.array(), expected) < 5e-6)
            results.append(bits(zeros.keys) + bits(zeros.values) + dQ.flatMap(bits))
        }
        #expect(results[0] == results[1])
    }
}
