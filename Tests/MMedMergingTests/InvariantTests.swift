import MMedCore
import MMedMerging
import Testing

/// The invariants of the merge: order, gauge, identity, zero, scale.
@Suite struct InvariantTests {
    @Test(arguments: MergeMethod.allCases)
    func orderAndThreadsLeaveTheBitsAlone(method: MergeMethod) throws {
        let settings = MergeSettings(method: method, rank: 6)
        for seed in UInt64(1)...3 {
            let inputs = try specialties(["adult", "brain", "pediatrics"], seed: seed)
            let expected = try merge(inputs: inputs, settings: settings)
            let turned = Array(inputs.reversed())
            let shuffled = turned.indices.map { turned[($0 * 5 + Int(seed)) % turned.count] }
            for (order, threads) in [(turned, 1), (shuffled, 1), (inputs, 3), (shuffled, 3)] {
                let result = try merge(inputs: order, settings: settings, threads: threads)
                #expect(result.adapter.layout == expected.adapter.layout)
                #expect(result.adapter.values == expected.adapter.values, "seed \(seed), \(threads) threads")
                #expect(result.report == expected.report, "seed \(seed), \(threads) threads")
            }
        }
    }

    /// B·R and R⁻¹·A are the same ΔW in exact numbers, in fp32 to about 1e-7 times the condition of R, here below 10:
    /// hence 1e-5. At d < 1 two magnitudes within that of each other may change places at the edge of trimming, which
    /// would move one entry, about 1e-2 of the norm here; none does for these seeds.
    @Test(arguments: MergeMethod.allCases, [0.2, 1.0])
    func gaugeLeavesTheMergeAlone(method: MergeMethod, density: Double) throws {
        for seed in UInt64(1)...4 {
            let inputs = try specialties(["adult", "brain"], seed: seed)
            let turned = try inputs.enumerated().map { place, input in
                MergeInput(
                    name: input.name, stage: input.stage, adapter: try regauged(input.adapter, seed: UInt64(place)),
                    minus: try input.minus.map { try regauged($0, seed: UInt64(place) + 50) })
            }
            let settings = MergeSettings(method: method, density: density)
            let plan = try MergePlan(inputs: inputs, settings: settings)
            let other = try MergePlan(inputs: turned, settings: settings)
            for index in 0..<plan.matrixCount {
                let (one, two) = (plan.mergedDelta(matrix: index), other.mergedDelta(matrix: index))
                #expect(distance(one, two) < 1e-5 * norm(one), "seed \(seed), matrix \(index)")
            }
        }
    }

    @Test(arguments: MergeMethod.allCases, MergeStage.allCases)
    func oneVectorWholeIsItself(method: MergeMethod, stage: MergeStage) throws {
        for seed in UInt64(1)...4 {
            let adapter = try randomAdapter(seed: seed)
            let settings = MergeSettings(method: method, density: 1, rank: 8)
            let input = MergeInput(name: try name("adult"), stage: stage, adapter: adapter)
            let plan = try MergePlan(inputs: [input], settings: settings)
            let result = try merge(inputs: [input], settings: settings)
            for (index, pair) in plan.layout.pairs.enumerated() {
                let expected = naiveDelta(adapter, pair)
                #expect(distance(plan.mergedDelta(matrix: index), expected) < 1e-6 * norm(expected), "seed \(seed)")
                let stored = naiveDelta(result.adapter, pair).map(Float.init)
                #expect(distance(stored, expected) < 1e-6 * norm(expected), "seed \(seed), truncated")
            }
        }
    }

    /// Left out of every count, mean and election, so that not a bit changes.
    @Test(arguments: [MergeMethod.taskArithmetic, .ties, .caci])
    func aZeroVectorChangesNothing(method: MergeMethod) throws {
        let inputs = try specialties(["adult", "brain"], seed: 5)
        let layout = inputs[0].adapter.layout
        var values = inputs[0].adapter.values
        for pair in layout.pairs {
            for index in pair.offsetB..<pair.offsetB + pair.output * layout.settings.rank { values[index] = 0 }
        }
        let silent = try AdapterWeights(layout: layout, values: values)
        let still = MergeInput.specialty(try name("aaa"), supervised: silent, reinforced: silent)
        let unmoved = MergeInput(
            name: try name("same"), stage: .rl, adapter: inputs[0].adapter, minus: inputs[0].adapter)
        // The same ΔW in other factors: what is left of the difference is rounding, and must not vote.
        let turned = MergeInput(
            name: try name("turned"), stage: .rl, adapter: try regauged(inputs[0].adapter, seed: 9),
            minus: inputs[0].adapter)
        let settings = MergeSettings(method: method, rank: 6)
        let expected = try merge(inputs: inputs, settings: settings)
        let result = try merge(inputs: inputs + still + [unmoved, turned], settings: settings)
        #expect(result.adapter == expected.adapter)
        #expect(result.report.methods == expected.report.methods)
        #expect(result.report.vectors.map(\.zeroMatrices).filter { $0 > 0 } == [14, 14, 14, 14])
    }

    @Test func aZeroVectorDoesNotDiluteTheLinearMean() throws {
        let inputs = try specialties(["adult", "brain"], seed: 6)
        let silent = try AdapterWeights(
            layout: inputs[0].adapter.layout, values: inputs[0].adapter.values.map { _ in 0 })
        let more = inputs + [MergeInput(name: try name("silent"), stage: .sft, adapter: silent)]
        let settings = MergeSettings(method: .linear)
        let (one, two) = (
            try MergePlan(inputs: inputs, settings: settings), try MergePlan(inputs: more, settings: settings)
        )
        for index in 0..<one.matrixCount { #expect(one.mergedDelta(matrix: index) == two.mergedDelta(matrix: index)) }
    }

    @Test func nothingButZerosMergesToZeros() throws {
        let layout = AdapterLayout(settings: AdapterSettings(rank: 2, alpha: 4), shape: tinyShape)
        let silent = try AdapterWeights(layout: layout, values: [Float](repeating: 0, count: layout.parameterCount))
        let result = try merge(inputs: [MergeInput(name: try name("silent"), stage: .sft, adapter: silent)])
        #expect(result.adapter.values.allSatisfy { $0 == 0 })
        #expect(result.report.norm == 0 && result.report.relativeResidual == 0)
        #expect(
            result.report.signConflictRate == nil && result.report.methods.allSatisfy { $0.relativeDifference == nil })
    }

    /// Twice alpha is twice ΔW to the bit, and the merged adapter's own scale is 1.
    @Test(arguments: MergeMethod.allCases, [false, true])
    func theScaleIsAppliedOnce(method: MergeMethod, rankStabilised: Bool) throws {
        let settings = MergeSettings(method: method, density: 0.5)
        var deltas: [[Float]] = []
        for alpha in [6.0, 12.0] {
            let adapter = try randomAdapter(seed: 3, rank: 4, alpha: alpha, rankStabilised: rankStabilised)
            let input = MergeInput(name: try name("adult"), stage: .sft, adapter: adapter)
            let plan = try MergePlan(inputs: [input], settings: settings)
            deltas.append(plan.mergedDelta(matrix: 3))
            let result = try merge(inputs: [input], settings: MergeSettings(method: method, density: 1))
            #expect(result.adapter.layout.settings.scale == 1)
            let pair = plan.layout.pairs[3]
            let expected = naiveDelta(adapter, pair)
            #expect(distance(naiveDelta(result.adapter, pair).map(Float.init), expected) < 1e-6 * norm(expected))
        }
        #expect(deltas[1] == deltas[0].map { 2 * $0 })
    }
}

/// (B·R, R⁻¹·A) for each pair, with R = I + N of a small strictly triangular N, so that R⁻¹ = I - N + N² - … is exact
/// to write down.
private func regauged(_ adapter: AdapterWeights, seed: UInt64) throws -> AdapterWeights {
    let rank = adapter.layout.settings.rank
    let noise = randomValues(rank * rank, seed: seed)
    var nilpotent = [Double](repeating: 0, count: rank * rank)
    for row in 0..<rank {
        for column in (row + 1)..<max(rank, row + 1) {
            nilpotent[row * rank + column] = Double(noise[row * rank + column])
        }
    }
    var values = adapter.values
    for pair in adapter.layout.pairs {
        // B·(I + N), columns from the last so that the earlier ones are still the old ones.
        for row in 0..<pair.output {
            let b = (0..<rank).map { Double(adapter.values[pair.offsetB + row * rank + $0]) }
            for column in 0..<rank {
                var sum = b[column]
                for inner in 0..<column { sum += b[inner] * nilpotent[inner * rank + column] }
                values[pair.offsetB + row * rank + column] = Float(sum)
            }
        }
        // Solve (I + N)·X = A from the last row up.
        for column in 0..<pair.input {
            var x = (0..<rank).map { Double(adapter.values[pair.offsetA + $0 * pair.input + column]) }
            for row in (0..<rank).reversed() {
                for inner in (row + 1)..<max(rank, row + 1) { x[row] -= nilpotent[row * rank + inner] * x[inner] }
                values[pair.offsetA + row * pair.input + column] = Float(x[row])
            }
        }
    }
    return try AdapterWeights(layout: adapter.layout, values: values)
}
