import MMedCore
import MMedTensor
import Testing

/// Uniform in (-1, 1), a function of the seed alone.
private func randomMatrix(_ rows: Int, _ columns: Int, seed: UInt64) -> [Float] {
    let random = CounterRandom(key: seed)
    return (0..<rows * columns).map { Float(random.uniform(UInt64($0)) * 2 - 1) }
}

/// The schoolbook product in fp64 of `[m, k]` and `[k, n]`.
private func naiveProduct(m: Int, n: Int, k: Int, _ a: [Float], _ b: [Float]) -> [Double] {
    var c = [Double](repeating: 0, count: m * n)
    for row in 0..<m {
        for inner in 0..<k {
            for column in 0..<n { c[row * n + column] += Double(a[row * k + inner]) * Double(b[inner * n + column]) }
        }
    }
    return c
}

private func transpose(_ a: [Float], _ rows: Int, _ columns: Int) -> [Float] {
    (0..<rows * columns).map { a[($0 % rows) * columns + $0 / rows] }
}

private func norm(_ values: some Sequence<Double>) -> Double {
    values.reduce(0) { $0 + $1 * $1 }.squareRoot()
}

private func norm(_ values: [Float]) -> Double { norm(values.map(Double.init)) }

private func distance(_ left: [Float], _ right: [Double]) -> Double {
    #expect(left.count == right.count)
    return norm(zip(left, right).map { Double($0) - $1 })
}

/// U·diag(s)·Vᵀ in fp64.
private func rebuilt(_ triples: SingularValues, rows: Int, columns: Int) -> [Double] {
    var scaled = triples.u
    for index in scaled.indices { scaled[index] *= triples.s[index % triples.rank] }
    return naiveProduct(m: rows, n: columns, k: triples.rank, scaled, triples.vt)
}

/// Largest deviation of the columns of `[rows, columns]` from orthonormality.
private func orthonormalityFault(_ q: [Float], rows: Int, columns: Int) -> Double {
    let gram = naiveProduct(m: columns, n: columns, k: rows, transpose(q, rows, columns), q)
    return gram.indices.map { abs(gram[$0] - ($0 / columns == $0 % columns ? 1 : 0)) }.max() ?? 0
}

@Suite struct LinearAlgebraTests {
    @Test(arguments: [(1, 1, 1), (3, 5, 7), (17, 33, 65), (64, 16, 128)])
    func productMatchesTheSchoolbook(m: Int, n: Int, k: Int) {
        let seed = UInt64(m * 10_000 + n * 100 + k)
        let (a, b) = (randomMatrix(m, k, seed: seed), randomMatrix(k, n, seed: seed + 1))
        let expected = naiveProduct(m: m, n: n, k: k, a, b)
        for (flipA, flipB) in [(false, false), (true, false), (false, true), (true, true)] {
            let product = matrixProduct(
                m: m, n: n, k: k, flipA ? transpose(a, m, k) : a, transposeA: flipA, flipB ? transpose(b, k, n) : b,
                transposeB: flipB)
            #expect(distance(product, expected) <= 1e-6 * Double(k) * norm(expected), "seed \(seed) \(flipA) \(flipB)")
        }
    }

    @Test func productAddsWithBothFactors() {
        let (a, b, start) = (randomMatrix(4, 3, seed: 1), randomMatrix(3, 5, seed: 2), randomMatrix(4, 5, seed: 3))
        var c = start
        var span = c.mutableSpan
        gemm(m: 4, n: 5, k: 3, alpha: 0.5, a: a.span, b: b.span, beta: 2, c: &span)
        let product = naiveProduct(m: 4, n: 5, k: 3, a, b)
        let expected = zip(product, start).map { $0 * 0.5 + Double($1) * 2 }
        #expect(distance(c, expected) < 1e-6)
    }

    @Test func productOverNothingClearsTheResult() {
        var c: [Float] = [.nan, .nan]
        var span = c.mutableSpan
        let none: [Float] = []
        gemm(m: 1, n: 2, k: 0, a: none.span, b: none.span, c: &span)
        #expect(c == [0, 0])
    }

    @Test(arguments: [(5, 5), (40, 7), (300, 33)])
    func thinQRIsOrthonormalAndRebuilds(rows: Int, columns: Int) throws {
        let a = randomMatrix(rows, columns, seed: UInt64(rows))
        let factors = try thinQR(a, rows: rows, columns: columns)
        #expect(orthonormalityFault(factors.q, rows: rows, columns: columns) < 1e-5)
        let product = naiveProduct(m: rows, n: columns, k: columns, factors.q, factors.r)
        #expect(distance(a, product) < 1e-5 * norm(a))
        for row in 0..<columns { for column in 0..<row { #expect(factors.r[row * columns + column] == 0) } }
    }

    @Test(arguments: [(6, 6), (50, 20), (20, 50)])
    func fullSVDIsOrthonormalAndRebuilds(rows: Int, columns: Int) throws {
        let a = randomMatrix(rows, columns, seed: UInt64(rows * columns))
        let triples = try singularValues(a, rows: rows, columns: columns)
        let rank = min(rows, columns)
        #expect(triples.rank == rank)
        #expect(orthonormalityFault(triples.u, rows: rows, columns: rank) < 1e-5)
        #expect(orthonormalityFault(transpose(triples.vt, rank, columns), rows: columns, columns: rank) < 1e-5)
        #expect(zip(triples.s, triples.s.dropFirst()).allSatisfy { $0 >= $1 })
        #expect(distance(a, rebuilt(triples, rows: rows, columns: columns)) < 1e-5 * norm(a))
    }

    @Test func singularValuesOfAKnownMatrix() throws {
        // Rows (3, 0) and (4, 5): AᵀA has the eigenvalues 45 and 5.
        let triples = try singularValues([3, 0, 4, 5], rows: 2, columns: 2)
        #expect(abs(Double(triples.s[0]) - 45.0.squareRoot()) < 1e-5)
        #expect(abs(Double(triples.s[1]) - 5.0.squareRoot()) < 1e-5)
    }

    /// The best residual of rank k is the root of the sum of the squared values after the first k (Eckart, Young 1936).
    /// The Gram way reaches it to rounding; the randomised way to 1 % on this slowly falling spectrum, its worst case.
    @Test(arguments: [(60, 40), (40, 60), (130, 130)])
    func truncationLeavesTheTail(rows: Int, columns: Int) throws {
        let a = randomMatrix(rows, columns, seed: UInt64(rows + 1))
        let all = try singularValues(a, rows: rows, columns: columns).s.map(Double.init)
        for rank in [1, 8, 39] {
            let tail = norm(all[rank...])
            for (method, slack) in [(TruncationMethod.gram, 2e-5), (.randomised(powerIterations: 6), 1e-2)] {
                let triples = try truncatedSVD(a, rows: rows, columns: columns, rank: rank, method: method)
                let residual = distance(a, rebuilt(triples, rows: rows, columns: columns))
                #expect(residual > tail * (1 - 2e-5) - 1e-5 * all[0], "\(method) rank \(rank)")
                #expect(residual < tail * (1 + slack) + 1e-5 * all[0], "\(method) rank \(rank)")
                #expect(orthonormalityFault(triples.u, rows: rows, columns: rank) < 1e-4)
                #expect(abs(Double(triples.s[0]) - all[0]) < 2e-3 * all[0])
            }
        }
    }

    @Test(arguments: [TruncationMethod.gram, .randomised(powerIterations: 2)])
    func truncationAboveTheTrueRankIsExact(method: TruncationMethod) throws {
        let (rows, columns, trueRank) = (96, 160, 5)
        let b = randomMatrix(rows, trueRank, seed: 11)
        let a = matrixProduct(m: rows, n: columns, k: trueRank, b, randomMatrix(trueRank, columns, seed: 12))
        let triples = try truncatedSVD(a, rows: rows, columns: columns, rank: 64, method: method)
        #expect(triples.rank == 64 && triples.s.filter { $0 > 1e-5 * triples.s[0] }.count == trueRank)
        #expect(distance(a, rebuilt(triples, rows: rows, columns: columns)) < 2e-6 * norm(a))
    }

    @Test func truncationOfNothingIsNothing() throws {
        let triples = try truncatedSVD([Float](repeating: 0, count: 12), rows: 3, columns: 4, rank: 9)
        #expect(triples.rank == 3)
        #expect(triples.s == [0, 0, 0] && triples.u.allSatisfy { $0 == 0 } && triples.vt.allSatisfy { $0 == 0 })
    }

    @Test func aNumberThatIsNotFiniteIsRefused() {
        #expect(throws: MMedError.self) { try truncatedSVD([1, .nan], rows: 1, columns: 2, rank: 1) }
        #expect(throws: MMedError.self) { try singularValues([.infinity, 0], rows: 2, columns: 1) }
    }
}
