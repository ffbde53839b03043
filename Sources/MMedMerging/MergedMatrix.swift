internal import MMedCore
internal import MMedTensor

/// One matrix of the merged adapter, and what the report needs of it.
struct MergedMatrix: Sendable {
    /// A `[rank, input]`.
    let a: [Float]
    /// B `[output, rank]`.
    let b: [Float]
    let figures: MatrixFigures
}

/// Sums of one matrix; those of a layer or a model are their sums, taken in matrix order.
struct MatrixFigures: Sendable {
    /// ‖τ_k‖_F of each vector.
    var norms: [Double]
    /// Of each pair j < k in rows of j.
    var pairs: [PairFigures]
    /// Entries that at least two trimmed vectors keep, and those of them where signs differ.
    var shared: Int
    var conflicting: Int
    /// ‖X‖² and ‖X - merged‖² of each method's ΔW, in the order of `MergeMethod.allCases`.
    var squaredNorms: [Double]
    var squaredDifferences: [Double]
    /// ‖merged - B·A‖².
    var squaredResidual: Double
}

/// Two vectors at one matrix.
struct PairFigures: Sendable {
    var innerProduct = 0.0
    /// Entries that both keep after trimming, and those of them where the signs differ.
    var shared = 0
    var conflicting = 0
}

extension MergePlan {
    /// Merges one matrix: a pure function of the plan, to be called from any thread.
    /// Throws `internalError` when the decomposition does not converge.
    func mergeMatrix(_ index: Int) throws -> MergedMatrix {
        let pair = layout.pairs[index]
        let union = union(at: pair)
        let factors = try factored(union.combined.merged, pair, union.matrices)
        let rebuilt = matrixProduct(m: pair.output, n: pair.input, k: factors.rank, factors.b, factors.a)
        return MergedMatrix(
            a: factors.a, b: factors.b,
            figures: MatrixFigures(
                norms: union.matrices.map(\.norm), pairs: pairFigures(union.matrices, union.trimmed),
                shared: union.shared, conflicting: union.conflicting,
                squaredNorms: union.combined.measures.map(\.squaredNorm),
                squaredDifferences: union.combined.measures.map(\.squaredDifference),
                squaredResidual: addSquaredDistance(
                    union.combined.merged, rebuilt, length: rebuilt.count, to: 0)))
    }

    /// The vectors at a matrix and what became of them. The dense vectors end here: the decomposition needs the memory.
    private func union(at pair: AdapterLayout.Pair) -> Union {
        let matrices = taskMatrices(pair)
        let participants = trimmed(matrices)
        let trimmed = participants.map(\.trimmed)
        let (shared, conflicting) = signConflicts(trimmed)
        return Union(
            combined: combine(participants, count: pair.output * pair.input, settings: settings),
            matrices: matrices.map(\.sparse), trimmed: trimmed, shared: shared, conflicting: conflicting)
    }

    private struct Union {
        let combined: CombinedMatrix
        let matrices: [TaskMatrix]
        /// Of the vectors that are not zero.
        let trimmed: [TrimmedVector]
        let shared: Int
        let conflicting: Int
    }

    /// The merged matrix as B·A at the layout's rank: stacked for `linear`, else U·√S and √S·Vᵀ, zeros where the matrix
    /// has fewer dimensions than the rank.
    private func factored(
        _ merged: [Float], _ pair: AdapterLayout.Pair, _ matrices: [TaskMatrix]
    ) throws -> FactoredMatrix {
        if settings.method == .linear { return stackedFactors(pair, matrices) }
        let rank = layout.settings.rank
        let triples = try truncatedSVD(merged, rows: pair.output, columns: pair.input, rank: rank)
        var b = [Float](repeating: 0, count: pair.output * rank)
        var a = [Float](repeating: 0, count: rank * pair.input)
        let roots = triples.s.map { $0.squareRoot() }
        for row in 0..<pair.output {
            for place in 0..<triples.rank {
                b[row * rank + place] = triples.u[row * triples.rank + place] * roots[place]
            }
        }
        for place in 0..<triples.rank {
            for column in place * pair.input..<(place + 1) * pair.input {
                a[column] = triples.vt[column] * roots[place]
            }
        }
        return FactoredMatrix(output: pair.output, input: pair.input, rank: rank, b: b, a: a)
    }

    private func pairFigures(_ matrices: [TaskMatrix], _ trimmed: [TrimmedVector]) -> [PairFigures] {
        var trimmedByVector: [TrimmedVector?] = []
        var next = 0
        for matrix in matrices {
            trimmedByVector.append(matrix.isZero ? nil : trimmed[next])
            if !matrix.isZero { next += 1 }
        }
        var result: [PairFigures] = []
        for left in matrices.indices {
            for right in matrices.indices.dropFirst(left + 1) {
                var figures = PairFigures()
                if let one = trimmedByVector[left], let other = trimmedByVector[right],
                    let factors = matrices[left].factors, let otherFactors = matrices[right].factors
                {
                    figures.innerProduct = factors.innerProduct(otherFactors)
                    (figures.shared, figures.conflicting) = signConflicts([one, other])
                }
                result.append(figures)
            }
        }
        return result
    }
}

/// Entries that at least two of the vectors keep, and those of them where two signs differ.
func signConflicts(_ vectors: [TrimmedVector]) -> (shared: Int, conflicting: Int) {
    guard let wordCount = vectors.first?.positive.count else { return (0, 0) }
    var (shared, conflicting) = (0, 0)
    for word in 0..<wordCount {
        var (once, twice, up, down): (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        for vector in vectors {
            let kept = vector.positive[word] | vector.negative[word]
            twice |= once & kept
            once |= kept
            up |= vector.positive[word]
            down |= vector.negative[word]
        }
        shared += twice.nonzeroBitCount
        conflicting += (up & down).nonzeroBitCount
    }
    return (shared, conflicting)
}
