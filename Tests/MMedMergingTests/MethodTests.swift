import MMedCore
import MMedTensor
import Testing

@testable import MMedMerging

/// The methods against examples by hand and against the formulas written out plainly.
@Suite struct MethodTests {
    /// One row of five entries, d = 0.4: two stay of each vector.
    ///
    ///     τ_a = ( 4, -3,  1,  0, 2 )   keeps  4 -3  .  .  .
    ///     τ_b = (-1,  5,  2, -6, 0 )   keeps  .  5  . -6  .
    ///     τ_c = ( 2, -1, -7,  2, 3 )   keeps  .  . -7  .  3
    ///     sum                                 4  2 -7 -6  3
    @Test func tiesByHand() throws {
        let inputs = try handInputs(stages: [.sft, .sft, .sft])
        let plan = try MergePlan(inputs: inputs, settings: MergeSettings(method: .ties, density: 0.4))
        #expect(plan.mergedDelta(matrix: 0) == [4, 5, -7, -6, 3])
        let half = try MergePlan(
            inputs: inputs, settings: MergeSettings(method: .ties, density: 0.4, lambdaSFT: 0.5))
        #expect(half.mergedDelta(matrix: 0) == [2, 2.5, -3.5, -3, 1.5])
        // d = 1: sums (5, 1, -4, -4, 5), so (4, 2), (5), (-7), (-6) and (2, 3) agree.
        let whole = try MergePlan(inputs: inputs, settings: MergeSettings(method: .ties, density: 1))
        #expect(whole.mergedDelta(matrix: 0) == [3, 5, -7, -6, 2.5])
    }

    @Test func arithmeticAndLinearByHand() throws {
        let inputs = try handInputs(stages: [.sft, .sft, .rl])
        func delta(_ method: MergeMethod) throws -> [Float] {
            let settings = MergeSettings(method: method, lambdaSFT: 2, lambdaRL: 0.5)
            return try MergePlan(inputs: inputs, settings: settings).mergedDelta(matrix: 0)
        }
        #expect(try delta(.taskArithmetic) == [7, 3.5, 2.5, -11, 5.5])
        #expect(try delta(.linear) == [4, 1.5, -0.5, -5, 3.5])
    }

    /// Where opposite vectors cancel to exactly 0 no sign is elected.
    @Test(arguments: [MergeMethod.ties, .caci])
    func aTieElectsNobody(method: MergeMethod) throws {
        let values: [Float] = [3, -4, 0, 5, 1]
        let inputs = [
            MergeInput(name: try name("a"), stage: .sft, adapter: try exactAdapter(values, output: 1, input: 5)),
            MergeInput(
                name: try name("b"), stage: .sft, adapter: try exactAdapter(values.map { -$0 }, output: 1, input: 5)),
        ]
        let plan = try MergePlan(inputs: inputs, settings: MergeSettings(method: method, density: 1))
        #expect(plan.mergedDelta(matrix: 0) == [0, 0, 0, 0, 0])
    }

    @Test func caciMatchesItsFormula() throws {
        for seed in UInt64(0)..<24 {
            let random = CounterRandom(key: seed + 900)
            let (output, input) = (1 + Int(random.uniform(0) * 6), 2 + Int(random.uniform(1) * 9))
            let settings = MergeSettings(
                density: [0.1, 0.2, 0.5, 1][Int(random.uniform(2) * 4)], lambdaSFT: random.uniform(3) * 2,
                lambdaRL: random.uniform(4) * 2)
            var inputs: [MergeInput] = []
            var vectors: [(stage: MergeStage, values: [Float])] = []
            for place in 0..<1 + Int(random.uniform(5) * 4) {
                let base = randomValues(output * input, seed: seed * 100 + UInt64(place))
                let step = randomValues(output * input, seed: seed * 100 + UInt64(place) + 50).map { $0 * 0.03 }
                let moved = zip(base, step).map { $0 + $1 }
                inputs += MergeInput.specialty(
                    try name("s\(place)"), supervised: try exactAdapter(base, output: output, input: input),
                    reinforced: try exactAdapter(moved, output: output, input: input))
                vectors.append((.sft, base))
                vectors.append((.rl, zip(moved, base).map { $0 - $1 }))
            }
            let expected = naiveCACI(vectors, settings)
            let merged = try MergePlan(inputs: inputs, settings: settings).mergedDelta(matrix: 0)
            #expect(distance(merged, expected) < 1e-6 * norm(expected), "seed \(seed)")
        }
    }

    /// A class keeps its own size: RL vectors 1024 times as long vote as before and give an RL part 1024 times as long.
    @Test func aClassKeepsItsSize() throws {
        for seed in UInt64(1)...6 {
            let (supervised, moved) = (randomValues(60, seed: seed), randomValues(60, seed: seed + 70))
            func delta(factor: Float, lambdaSFT: Double, lambdaRL: Double) throws -> [Float] {
                let long = try exactAdapter(moved.map { factor * $0 }, output: 6, input: 10)
                let inputs = [
                    MergeInput(
                        name: try name("a"), stage: .sft, adapter: try exactAdapter(supervised, output: 6, input: 10)),
                    MergeInput(name: try name("a"), stage: .rl, adapter: long),
                ]
                let settings = MergeSettings(lambdaSFT: lambdaSFT, lambdaRL: lambdaRL)
                return try MergePlan(inputs: inputs, settings: settings).mergedDelta(matrix: 0)
            }
            let short = try delta(factor: 1, lambdaSFT: 0, lambdaRL: 1)
            #expect(try delta(factor: 1024, lambdaSFT: 0, lambdaRL: 1) == short.map { 1024 * $0 }, "seed \(seed)")
            #expect(
                try delta(factor: 1024, lambdaSFT: 1, lambdaRL: 0) == delta(factor: 1, lambdaSFT: 1, lambdaRL: 0),
                "seed \(seed)")
        }
    }

    /// Entries are taken in runs; however many there are, and whatever is left over in the last one, the result and what is
    /// measured of it are the bits of the plain loop.
    @Test(arguments: [1, 7, 255, 256, 257, 263, 515, 1_030])
    func runsOfEntriesAreThePlainLoop(count: Int) {
        let stages: [MergeStage] = [.sft, .rl, .sft]
        let participants = stages.enumerated().map { index, stage in
            let values = randomValues(count, seed: UInt64(index + 1)).map { Float(index + 1) * $0 }
            return Participant(
                stage: stage, values: values, norm: frobeniusNorm(values),
                trimmed: TrimmedVector(values, density: 0.6))
        }
        let trimmed = participants.map { one in
            var written = [Float](repeating: 0, count: count)
            one.trimmed.write(one.values, from: 0, length: count, to: &written)
            return written
        }
        let settings = MergeMethod.allCases.map {
            MergeSettings(method: $0, density: 0.6, lambdaSFT: 0.7, lambdaRL: 1.3)
        }
        let weights = ClassWeights(stages: stages, norms: participants.map(\.norm), settings: settings[0])
        let plain = MergeMethod.allCases.map { method in
            (0..<count).map { plainEntry(method, $0, participants, trimmed, weights) }
        }
        for (place, setting) in settings.enumerated() {
            let combined = combine(participants, count: count, settings: setting)
            #expect(combined.merged == plain[place], "\(setting.method)")
            for (other, measure) in combined.measures.enumerated() {
                let norm = frobeniusNorm(plain[other])
                #expect(measure.squaredNorm == norm * norm)
                let sum = zip(plain[other], plain[place]).reduce(0.0) { sum, pair in
                    sum + (Double(pair.0) - Double(pair.1)) * (Double(pair.0) - Double(pair.1))
                }
                #expect(measure.squaredDifference == sum)
            }
        }
    }

    /// One entry by the formulas at `combine`.
    private func plainEntry(
        _ method: MergeMethod, _ index: Int, _ participants: [Participant], _ trimmed: [[Float]],
        _ weights: ClassWeights
    ) -> Float {
        var (signed, raw, arithmetic, linear) = (0.0, 0.0, 0.0, 0.0)
        for (place, one) in participants.enumerated() {
            signed += Double(trimmed[place][index]) * (1 / one.norm)
            raw += Double(trimmed[place][index])
            arithmetic += weights.lambda[place] * Double(one.values[index])
            linear += weights.mean[place] * Double(one.values[index])
        }
        func mean(_ places: [Int], _ elected: Double, _ factor: (Int) -> Double) -> Double {
            let agreeing = places.filter { Double(trimmed[$0][index]) * elected > 0 }
            let sum = agreeing.reduce(0.0) { $0 + factor($1) * Double(trimmed[$1][index]) }
            return agreeing.isEmpty ? 0 : sum / Double(agreeing.count)
        }
        let all = Array(participants.indices)
        func classMean(_ stage: MergeStage) -> Double {
            mean(all.filter { participants[$0].stage == stage }, signed) { 1 / participants[$0].norm }
        }
        return switch method {
        case .linear: Float(linear)
        case .taskArithmetic: Float(arithmetic)
        case .ties: Float(mean(all, raw) { weights.lambda[$0] })
        case .caci:
            Float(weights.supervisedFactor * classMean(.sft) + weights.reinforcedFactor * classMean(.rl))
        }
    }

    /// Values of a coarse grid, so that many magnitudes tie at the edge.
    @Test func trimmingBreaksTiesByIndex() {
        for seed in UInt64(0)..<40 {
            let count = 1 + Int(seed) * 7
            let values = randomValues(count, seed: seed).map { ($0 * 3).rounded() / 2 }
            for density in [0.01, 0.2, 0.5, 0.93, 1] {
                let kept = min(count, max(1, Int((density * Double(count)).rounded())))
                let order = values.indices.sorted { (values[$1].magnitude, $0) < (values[$0].magnitude, $1) }
                var expected = [Float](repeating: 0, count: count)
                for index in order.prefix(kept) { expected[index] = values[index] }
                let trimmed = TrimmedVector(values, density: density)
                var written = [Float](repeating: .nan, count: count)
                trimmed.write(values, from: 0, length: count, to: &written)
                #expect(written == expected, "seed \(seed), density \(density)")
                if count > 64 {
                    trimmed.write(values, from: 64, length: count - 64, to: &written)
                    #expect(Array(written[..<(count - 64)]) == Array(expected[64...]))
                }
                for index in values.indices {
                    #expect(trimmed.positive[index / 64] >> UInt64(index % 64) & 1 == (expected[index] > 0 ? 1 : 0))
                    #expect(trimmed.negative[index / 64] >> UInt64(index % 64) & 1 == (expected[index] < 0 ? 1 : 0))
                }
            }
        }
    }

    private func handInputs(stages: [MergeStage]) throws -> [MergeInput] {
        let rows: [[Float]] = [[4, -3, 1, 0, 2], [-1, 5, 2, -6, 0], [2, -1, -7, 2, 3]]
        return try zip(["a", "b", "c"], zip(stages, rows)).map { text, vector in
            MergeInput(
                name: try name(text), stage: vector.0, adapter: try exactAdapter(vector.1, output: 1, input: 5))
        }
    }
}

/// Section 8's formula, one entry after the other, with a full sort for the trim.
private func naiveCACI(_ all: [(stage: MergeStage, values: [Float])], _ settings: MergeSettings) -> [Double] {
    let vectors = all.filter { norm($0.values) > 0 }
    let units = vectors.map { vector -> [Double] in
        let length = norm(vector.values)
        let scaled = vector.values.map { Double($0) / length }
        let kept = max(1, Int((settings.density * Double(scaled.count)).rounded()))
        let largest = Set(scaled.indices.sorted { abs(scaled[$0]) > abs(scaled[$1]) }.prefix(kept))
        return scaled.indices.map { largest.contains($0) ? scaled[$0] : 0 }
    }
    return (0..<vectors[0].values.count).map { entry in
        let sum = units.map { $0[entry] }.reduce(0, +)
        var merged = 0.0
        for stage in MergeStage.allCases {
            let places = vectors.indices.filter { vectors[$0].stage == stage }
            let agreeing = places.map { units[$0][entry] }.filter { $0 * sum > 0 }
            guard !agreeing.isEmpty else { continue }
            let length = places.map { norm(vectors[$0].values) }.reduce(0, +) / Double(places.count)
            let lambda = stage == .sft ? settings.lambdaSFT : settings.lambdaRL
            merged += lambda * length * agreeing.reduce(0, +) / Double(agreeing.count)
        }
        return merged
    }
}
