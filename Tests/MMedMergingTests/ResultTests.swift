import Foundation
import MMedCore
import MMedLocks
import MMedMerging
import MMedTensor
import Testing

/// The merged adapter, its residuals, baking, and refusals.
@Suite struct ResultTests {
    /// Every distinct adapter stacked: rank Σr, and no more lost than rounding.
    @Test func linearIsExactByStacking() throws {
        for seed in UInt64(1)...3 {
            let inputs = try specialties(["adult", "brain", "oncology"], seed: seed)
            let settings = MergeSettings(method: .linear, lambdaSFT: 1, lambdaRL: 0.7, rank: 2)
            let result = try merge(inputs: inputs, settings: settings)
            #expect(result.adapter.layout.settings.rank == 18 && result.adapter.layout.settings.scale == 1)
            #expect(result.report.relativeResidual < 1e-6)
            for pair in result.adapter.layout.pairs {
                var expected = [Double](repeating: 0, count: pair.output * pair.input)
                for input in inputs {
                    let weight = (input.stage == .sft ? 1 : 0.7) / 3
                    for (place, value) in naiveDelta(input.adapter, pair).enumerated() {
                        expected[place] += weight * value
                    }
                    guard let minus = input.minus else { continue }
                    for (place, value) in naiveDelta(minus, pair).enumerated() { expected[place] -= weight * value }
                }
                let stored = naiveDelta(result.adapter, pair).map(Float.init)
                #expect(distance(stored, expected) < 1e-6 * norm(expected), "seed \(seed) \(pair.modulePath)")
            }
        }
    }

    /// Rank, scale, rsLoRA and targets may differ from adapter to adapter, also under a difference.
    @Test func adaptersOfDifferentLayoutsMerge() throws {
        let wide = try randomAdapter(seed: 1, rank: 5, alpha: 10, rankStabilised: true)
        let narrow = try randomAdapter(seed: 2, rank: 2, alpha: 1, targets: [.q, .down])
        let inputs = [
            MergeInput(name: try name("a"), stage: .rl, adapter: wide, minus: narrow),
            MergeInput(name: try name("b"), stage: .rl, adapter: narrow, minus: wide),
            MergeInput(name: try name("c"), stage: .sft, adapter: narrow),
        ]
        let plan = try MergePlan(inputs: inputs, settings: MergeSettings(method: .taskArithmetic))
        #expect(plan.matrixCount == 14)
        // (wide - narrow) + (narrow - wide) + narrow.
        for (index, pair) in plan.layout.pairs.enumerated() {
            #expect(
                distance(plan.mergedDelta(matrix: index), naiveDelta(narrow, pair)) < 1e-5
                    * norm(naiveDelta(wide, pair)))
        }
    }

    @Test(arguments: [MergeMethod.caci, .ties, .taskArithmetic])
    func theResidualIsTheTailOfTheSpectrum(method: MergeMethod) throws {
        let inputs = try specialties(["adult", "brain"], seed: 8)
        let settings = MergeSettings(method: method, rank: 3)
        let plan = try MergePlan(inputs: inputs, settings: settings)
        let result = try merge(inputs: inputs, settings: settings)
        var (tails, squares) = (0.0, 0.0)
        for (index, pair) in plan.layout.pairs.enumerated() {
            let delta = plan.mergedDelta(matrix: index)
            let values = try singularValues(delta, rows: pair.output, columns: pair.input).s.map(Double.init)
            let (tail, whole) = (norm(Array(values[3...])), norm(values))
            #expect(abs(result.report.matrices[index].relativeResidual - tail / whole) < 1e-5)
            let lost = zip(delta, naiveDelta(result.adapter, pair)).map { Double($0) - $1 }
            #expect(abs(norm(lost) - tail) < 1e-5 * whole)
            tails += tail * tail
            squares += whole * whole
        }
        #expect(abs(result.report.relativeResidual - (tails / squares).squareRoot()) < 1e-5)
        #expect(abs(result.report.norm - squares.squareRoot()) < 1e-5 * squares.squareRoot())
    }

    /// Above the rank of every matrix too: the columns left over are zeros.
    @Test(arguments: [12, 40]) func enoughRankLosesNothing(rank: Int) throws {
        let inputs = try specialties(["adult", "brain"], seed: 9)
        let result = try merge(inputs: inputs, settings: MergeSettings(method: .taskArithmetic, rank: rank))
        #expect(result.report.matrices.allSatisfy { $0.relativeResidual < 2e-6 })
        #expect(result.adapter.layout.settings.rank == rank)
    }

    @Test func bakingAddsTheWholeDelta() throws {
        let inputs = try specialties(["adult", "brain"], seed: 10)
        let plan = try MergePlan(inputs: inputs, settings: MergeSettings(rank: 1))
        let tensor = "model.layers.1.mlp.down_proj.weight"
        let index = try #require(plan.matrixIndex(ofTensor: tensor))
        let weights = randomValues(20 * 28, seed: 4)
        #expect(
            try plan.baked(tensor: tensor, weights: weights)
                == zip(weights, plan.mergedDelta(matrix: index)).map { $0 + $1 })
        let other = "model.layers.1.input_layernorm.weight"
        #expect(try plan.baked(tensor: other, weights: weights) == weights)
        #expect(throws: MMedError.self) { try plan.baked(tensor: tensor, weights: [1]) }

        let adapter = inputs[0].adapter
        let pair = try #require(adapter.layout.pairs.first { $0.modulePath + ".weight" == tensor })
        let expected = zip(weights, naiveDelta(adapter, pair)).map { Double($0) + $1 }
        #expect(distance(try adapter.baked(tensor: tensor, weights: weights), expected) < 1e-6 * norm(expected))
        #expect(try adapter.baked(tensor: other, weights: weights) == weights)
    }

    @Test(arguments: [1, 3])
    func theNumbersAreHandedOverInTheLayoutsOrder(threads: Int) throws {
        let inputs = try specialties(["adult"], seed: 11)
        let plan = try MergePlan(inputs: inputs)
        let pieces = Locked<[[Float]]>([])
        let report = try plan.merge(threads: threads) { piece in pieces.withLock { $0.append(piece) } }
        let whole = try merge(inputs: inputs)
        #expect(pieces.withLock { $0.count } == 2 * plan.matrixCount)
        #expect(pieces.withLock { $0.flatMap { $0 } } == whole.adapter.values)
        #expect(report.text == whole.report.text)
    }

    @Test(arguments: [1, 3])
    func whoCannotTakeEndsTheMerge(threads: Int) throws {
        struct Full: Error {}
        let plan = try MergePlan(inputs: try specialties(["adult"], seed: 11))
        let taken = Locked(0)
        #expect(throws: Full.self) {
            _ = try plan.merge(threads: threads) { _ in
                if taken.withLock({ count in
                    count += 1
                    return count > 3
                }) {
                    throw Full()
                }
            }
        }
        #expect(taken.withLock { $0 } == 4, "nothing is handed over behind a failure")
    }

    @Test func badInputIsRefused() throws {
        let good = try randomAdapter(seed: 1)
        let input = MergeInput(name: try name("a"), stage: .sft, adapter: good)
        var shape = tinyShape
        shape.hiddenSize += 1
        let layout = AdapterLayout(settings: good.layout.settings, shape: shape)
        let foreign = try AdapterWeights(layout: layout, values: randomValues(layout.parameterCount, seed: 1))
        func refusal(_ body: () throws -> Void) -> ExitKind? {
            do { try body() } catch { return (error as? MMedError)?.kind }
            return nil
        }
        #expect(refusal { _ = try merge(inputs: []) } == .badData)
        #expect(refusal { _ = try merge(inputs: [input, input]) } == .badData)
        for mixed in [
            [input, MergeInput(name: try name("b"), stage: .sft, adapter: foreign)],
            [MergeInput(name: try name("b"), stage: .rl, adapter: good, minus: foreign)],
        ] {
            #expect(refusal { _ = try merge(inputs: mixed) } == .badData)
        }
        for settings in [
            MergeSettings(density: 0), MergeSettings(density: 1.1), MergeSettings(density: .nan),
            MergeSettings(rank: 0),
            MergeSettings(lambdaSFT: .infinity), MergeSettings(lambdaRL: .nan),
        ] {
            #expect(refusal { _ = try merge(inputs: [input], settings: settings) } == .badConfig)
        }
        #expect(
            refusal { _ = try AdapterWeights(layout: good.layout, values: Array(good.values.dropLast())) } == .badData)
        var broken = good.values
        broken[7] = .nan
        #expect(refusal { _ = try AdapterWeights(layout: good.layout, values: broken) } == .badData)
    }
}

/// The conflict report against its definitions.
@Suite struct ReportTests {
    @Test func figuresMatchTheirDefinitions() throws {
        let inputs = try specialties(["adult", "brain"], seed: 12)
        let result = try merge(inputs: inputs, settings: MergeSettings(density: 1, rank: 8))
        let report = result.report
        #expect(report.vectors.map(\.label) == ["adult/sft", "adult/rl", "brain/sft", "brain/rl"])
        #expect(report.pairs.count == 6)
        var vectors: [String: [[Double]]] = [:]
        for input in inputs {
            vectors[input.label] = (0..<2).map { layer in
                result.adapter.layout.pairs.filter { $0.layer == layer }.flatMap { pair in
                    let taken =
                        input.minus.map { naiveDelta($0, pair) }
                        ?? [Double](repeating: 0, count: pair.output * pair.input)
                    return zip(naiveDelta(input.adapter, pair), taken).map { $0 - $1 }
                }
            }
        }
        for vector in report.vectors {
            let layers = try #require(vectors[vector.label])
            #expect(abs(vector.norm - norm(layers.flatMap { $0 })) < 1e-5 * vector.norm)
            for layer in 0..<2 { #expect(abs(vector.normByLayer[layer] - norm(layers[layer])) < 1e-5 * vector.norm) }
        }
        for pair in report.pairs {
            let (first, second) = (try #require(vectors[pair.first]), try #require(vectors[pair.second]))
            for layer in 0..<2 {
                let (one, two) = (first[layer], second[layer])
                let product = zip(one, two).reduce(0) { $0 + $1.0 * $1.1 }
                let cosine = try #require(pair.byLayer[layer].cosine)
                #expect(abs(cosine - product / (norm(one) * norm(two))) < 1e-5)
                let differing = zip(one, two).count { $0 * $1 < 0 }
                let rate = try #require(pair.byLayer[layer].signConflictRate)
                // A few entries so near 0 that fp32 and fp64 disagree on their sign.
                #expect(abs(rate * Double(one.count) - Double(differing)) <= 3)
            }
        }
    }

    @Test func methodsStandBesideTheChosenOne() throws {
        let inputs = try specialties(["adult", "brain"], seed: 13)
        let report = try merge(inputs: inputs).report
        let plans = try MergeMethod.allCases.map { try MergePlan(inputs: inputs, settings: MergeSettings(method: $0)) }
        func whole(_ plan: MergePlan) -> [Float] { (0..<plan.matrixCount).flatMap(plan.mergedDelta) }
        let chosen = whole(plans[3])
        for (place, method) in MergeMethod.allCases.enumerated() {
            let other = whole(plans[place])
            #expect(report.methods[place].method == method)
            #expect(abs(report.methods[place].norm - norm(other)) < 1e-9 * norm(other))
            let difference = try #require(report.methods[place].relativeDifference)
            #expect(abs(difference - distance(other, chosen) / norm(chosen)) < 1e-9)
        }
        #expect(report.methods[3].relativeDifference == 0)
    }

    @Test func aReportIsTextAndJSON() throws {
        let report = try merge(inputs: try specialties(["adult", "brain"], seed: 14), settings: MergeSettings(rank: 5))
            .report
        let copy = try JSONDecoder().decode(MergeReport.self, from: JSONEncoder().encode(report))
        #expect(copy == report)
        for part in ["merge caci", "adult/rl", "taskArithmetic", "ties", "left out by rank 5", "layer 1"] {
            #expect(report.text.contains(part), "\(part) is missing in:\n\(report.text)")
        }
        #expect(report.text.hasSuffix("\n") && !report.text.contains("nan"))
    }
}
