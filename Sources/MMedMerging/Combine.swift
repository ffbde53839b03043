/// One vector that takes part: not zero at this matrix.
struct Participant {
    let stage: MergeStage
    let values: [Float]
    let norm: Double
    let trimmed: TrimmedVector
}

/// The dense results of all four methods at one matrix, entry by entry in fp64, vectors in the order given:
///
///     t_k = trim_d(τ_k/‖τ_k‖)      s = sign Σ t_k      u = sign Σ trim_d(τ_k)
///     caci = Σ_c λ_c · mean_{k∈c} ‖τ_k‖ · (Σ_{k∈c, sign t_k = s} t_k) / #{those k}
///     ties = (Σ_{sign t_k = u} λ_c(k) · trim_d(τ_k)) / #{those k}
///     taskArithmetic = Σ λ_c(k) · τ_k       linear = Σ_c λ_c · mean_{k∈c} τ_k
///
/// Where the signed sum is exactly 0 no sign is elected and the entry is 0.
///
/// Only the result of the settings' method is kept; the others are measured entry by entry as they come.
func combine(_ participants: [Participant], count: Int, settings: MergeSettings) -> CombinedMatrix {
    var merged = [Float](repeating: 0, count: count)
    let weights = ClassWeights(
        stages: participants.map(\.stage), norms: participants.map(\.norm), settings: settings)
    let place = MergeMethod.allCases.firstIndex(of: settings.method) ?? 0
    var measures = MergeMethod.allCases.map { _ in MethodMeasure() }
    var block = Block()
    // A run of entries of each method.
    var results = MergeMethod.allCases.map { _ in [Float](repeating: 0, count: Block.size) }
    for start in stride(from: 0, to: count, by: Block.size) {
        let length = min(Block.size, count - start)
        block.take(participants, from: start, length: length, weights)
        for (place, method) in MergeMethod.allCases.enumerated() {
            block.write(method, weights, length: length, to: &results[place])
        }
        merged.replaceSubrange(start..<start + length, with: results[place][..<length])
        for method in measures.indices {
            measures[method].add(results[method], against: results[place], length: length)
        }
    }
    return CombinedMatrix(merged: merged, measures: measures)
}

/// What became of the vectors at one matrix.
struct CombinedMatrix {
    /// The dense result of the settings' method.
    let merged: [Float]
    /// Of each method, in the order of `MergeMethod.allCases`.
    let measures: [MethodMeasure]
}

/// Norms of one method's result X, which is given in runs of entries, each but the last a multiple of 8 long.
struct MethodMeasure {
    private var norm = RunningNorm()
    /// ‖X - merged‖².
    private(set) var squaredDifference = 0.0

    /// ‖X‖².
    var squaredNorm: Double {
        let root = norm.squares.squareRoot()
        return root * root
    }

    mutating func add(_ values: [Float], against merged: [Float], length: Int) {
        norm.add(values, length: length)
        squaredDifference = addSquaredDistance(values, merged, length: length, to: squaredDifference)
    }
}

/// The factors of the classes at one matrix; counts and mean norms run over the vectors that take part.
struct ClassWeights {
    /// λ of each vector's class.
    let lambda: [Double]
    /// λ over the number in its class, for each vector.
    let mean: [Double]
    /// λ_SFT times the mean norm of the SFT vectors, 0 without any.
    let supervisedFactor: Double
    /// The same of the RL vectors.
    let reinforcedFactor: Double

    init(stages: [MergeStage], norms: [Double], settings: MergeSettings) {
        func count(_ stage: MergeStage) -> Double { Double(stages.count { $0 == stage }) }
        func factor(_ stage: MergeStage) -> Double {
            var sum = 0.0
            for (place, norm) in norms.enumerated() where stages[place] == stage { sum += norm }
            return count(stage) == 0 ? 0 : settings.lambda(of: stage) * sum / count(stage)
        }
        lambda = stages.map { settings.lambda(of: $0) }
        mean = stages.map { settings.lambda(of: $0) / count($0) }
        supervisedFactor = factor(.sft)
        reinforcedFactor = factor(.rl)
    }
}

/// Scratch sums over a run of entries short enough for the first-level cache.
private struct Block {
    static let size = 256
    var signed = [Double](repeating: 0, count: size)
    var raw = [Double](repeating: 0, count: size)
    var arithmetic = [Double](repeating: 0, count: size)
    var linear = [Double](repeating: 0, count: size)
    /// Agreeing entries of each class, SFT then RL: their sums and how many.
    var classSums = [[Double]](repeating: [Double](repeating: 0, count: size), count: 2)
    var classCounts = [[Double]](repeating: [Double](repeating: 0, count: size), count: 2)
    var tiesSums = [Double](repeating: 0, count: size)
    var tiesCounts = [Double](repeating: 0, count: size)
    /// A vector's entries, trimmed.
    var trimmed = [Float](repeating: 0, count: size)

    /// Takes all vectors' entries of a run.
    mutating func take(_ participants: [Participant], from start: Int, length: Int, _ weights: ClassWeights) {
        clear()
        for (place, one) in participants.enumerated() {
            addSums(one, from: start, length: length, lambda: weights.lambda[place], mean: weights.mean[place])
        }
        for (place, one) in participants.enumerated() {
            addAgreeing(one, from: start, length: length, lambda: weights.lambda[place])
        }
    }

    /// What a method makes of them.
    func write(_ method: MergeMethod, _ weights: ClassWeights, length: Int, to result: inout [Float]) {
        switch method {
        case .linear: for index in 0..<length { result[index] = Float(linear[index]) }
        case .taskArithmetic: for index in 0..<length { result[index] = Float(arithmetic[index]) }
        case .ties: for index in 0..<length { result[index] = Float(tiesMean(index)) }
        case .caci:
            for index in 0..<length {
                result[index] = Float(
                    weights.supervisedFactor * classMean(.sft, index)
                        + weights.reinforcedFactor * classMean(.rl, index))
            }
        }
    }

    mutating func clear() {
        for half in 0..<2 {
            zero(&classSums[half])
            zero(&classCounts[half])
        }
        zero(&signed)
        zero(&raw)
        zero(&arithmetic)
        zero(&linear)
        zero(&tiesSums)
        zero(&tiesCounts)
    }

    /// What the election and the plain sums need.
    mutating func addSums(_ one: Participant, from start: Int, length: Int, lambda: Double, mean: Double) {
        let inverse = 1 / one.norm
        one.trimmed.write(one.values, from: start, length: length, to: &trimmed)
        add(trimmed, 0, length, to: &signed) { $0 * inverse }
        add(trimmed, 0, length, to: &raw) { $0 }
        add(one.values, start, length, to: &arithmetic) { lambda * $0 }
        add(one.values, start, length, to: &linear) { mean * $0 }
    }

    /// The entries whose sign is the elected one.
    mutating func addAgreeing(_ one: Participant, from start: Int, length: Int, lambda: Double) {
        let half = one.stage == .sft ? 0 : 1
        one.trimmed.write(one.values, from: start, length: length, to: &trimmed)
        addWhereAgreeing(
            trimmed, length, with: signed, factor: 1 / one.norm, &classSums[half], &classCounts[half])
        addWhereAgreeing(trimmed, length, with: raw, factor: lambda, &tiesSums, &tiesCounts)
    }

    /// The mean of a class's agreeing entries, 0 of none.
    func classMean(_ stage: MergeStage, _ index: Int) -> Double {
        let half = stage == .sft ? 0 : 1
        return classCounts[half][index] > 0 ? classSums[half][index] / classCounts[half][index] : 0
    }

    func tiesMean(_ index: Int) -> Double { tiesCounts[index] > 0 ? tiesSums[index] / tiesCounts[index] : 0 }
}

// The inner loops run on buffers, without a bounds check an entry, so that they vectorise; the callers' ranges lie in
// arrays of one length each.

@inline(__always)
private func add(
    _ values: [Float], _ start: Int, _ length: Int, to sums: inout [Double], _ weighed: (Double) -> Double
) {
    precondition(length <= sums.count && start + length <= values.count)
    values.withUnsafeBufferPointer { values in
        sums.withUnsafeMutableBufferPointer { sums in
            for index in 0..<length { sums[index] += weighed(Double(values[start &+ index])) }
        }
    }
}

private func addWhereAgreeing(
    _ values: [Float], _ length: Int, with elected: [Double], factor: Double, _ sums: inout [Double],
    _ counts: inout [Double]
) {
    precondition(length <= min(elected.count, sums.count, counts.count, values.count))
    values.withUnsafeBufferPointer { values in
        elected.withUnsafeBufferPointer { elected in
            sums.withUnsafeMutableBufferPointer { sums in
                counts.withUnsafeMutableBufferPointer { counts in
                    for index in 0..<length {
                        let value = Double(values[index])
                        let agrees = value * elected[index] > 0
                        sums[index] += agrees ? factor * value : 0
                        counts[index] += agrees ? 1 : 0
                    }
                }
            }
        }
    }
}

private func zero(_ sums: inout [Double]) {
    for index in sums.indices { sums[index] = 0 }
}
