import MMedAlgorithms
import MMedCore
import Testing

@Suite struct BlendTests {
    @Test func lambdaIsOneBeforeAnythingIsKnown() {
        #expect(BlendState().lambda == 1)
        #expect(BlendState(noise: 0.2, spread: 0.1).lambda == 1, "no more spread than noise explains")
        #expect(BlendState(noise: 0, spread: 0.1).lambda == 0)
        #expect(BlendState(noise: 0.1, spread: 0.4).lambda == 0.25)
    }

    @Test func oneStepByHand() throws {
        // s^2 = (1/2 + 2/3) / 3, harmonic mean of 2 and 3 = 2.4, V = (1/2 - 2/3)^2 / 2.
        let step = try stepAdvantages([group([[1, 0], [1, 1, 0]])], settings: AdvantageSettings(baseline: .auto))
        #expect(step.lambda == 1)
        let noise = (0.5 + 2.0 / 3) / 3 / 2.4
        let spread = (1.0 / 6) * (1.0 / 6) / 2
        #expect((step.nextBlend.noise - 0.1 * noise).magnitude < 1e-16)
        #expect((step.nextBlend.spread - 0.1 * spread).magnitude < 1e-16)
        let next = try stepAdvantages(
            [group([[1, 0], [0, 0]])], settings: AdvantageSettings(baseline: .auto), blend: step.nextBlend)
        #expect(next.lambda == step.nextBlend.lambda, "past steps only")
        #expect((next.nextBlend.noise - (0.09 * noise + 0.1 * 0.125)).magnitude < 1e-16)
        #expect((next.nextBlend.spread - (0.09 * spread + 0.1 * 0.125)).magnitude < 1e-16)
    }

    @Test func questionsWithoutTwoGuidelinesOrFreedomDoNotCount() throws {
        let state = BlendState(noise: 0.3, spread: 0.7)
        for rewards in [[[1, 0]], [[1], [0]], [[1, 0], [nil, nil]], [[nil], [1]]] as [[[Double?]]] {
            #expect(try stepAdvantages([group(rewards)], blend: state).nextBlend == state)
        }
        // Beside one that counts they change nothing.
        let counting = group([[1, 0], [1, 1]], question: "a")
        let alone = try stepAdvantages([counting], blend: state).nextBlend
        #expect(try stepAdvantages([counting, group([[1, 0]])], blend: state).nextBlend == alone)
    }

    @Test(arguments: seeds) func lambdaSettlesAtTheVarianceRatio(seed: UInt64) throws {
        // Guideline offsets of variance 0.25 under noise of variance 1/12 per sample, four samples each.
        var draw = Draw(seed)
        var state = BlendState()
        var lambdas: [Double] = []
        for _ in 0..<300 {
            let rewards = [0, 0.5, 1].map { offset in (0..<4).map { _ in offset + draw.uniform() as Double? } }
            lambdas.append(state.lambda)
            state = try stepAdvantages([group(rewards)], blend: state).nextBlend
        }
        // noise = 1/48, spread = 0.25 + 1/48: lambda = (1/48) / (0.25 + 1/48) = 1/13.
        // The averages look back about ten steps, so that lambda itself wanders by some 0.02 around it.
        #expect((mean(Array(lambdas[100...])) - 1.0 / 13).magnitude < 0.02)
    }

    @Test(arguments: seeds) func lambdaIsHomogeneous(seed: UInt64) throws {
        var draw = Draw(seed)
        var (plain, scaled) = (BlendState(), BlendState())
        for _ in 0..<5 {
            let rewards = randomRewards(&draw)
            plain = try stepAdvantages([group(rewards)], blend: plain).nextBlend
            scaled = try stepAdvantages([group(rewards.map { $0.map { $0 * 4 } })], blend: scaled).nextBlend
        }
        #expect(plain.lambda == scaled.lambda)
    }
}

@Suite struct AdvantageLinesTests {
    private func line(_ question: String, _ samples: [(String, Double?)]) -> RewardLine {
        RewardLine(question: question, samples: samples.map { RewardLine.Sample(guideline: $0.0, reward: $0.1) })
    }

    @Test func samplesKeepTheirOrderAndNullsAreMasked() throws {
        let lines = [line("q1", [("b", 1), ("a", 0), ("b", nil), ("b", 0), ("a", 1)])]
        let result = try advantages(of: lines, settings: AdvantageSettings(), guidelines: ["a", "b"])
        #expect(result[0].question == "q1")
        #expect(result[0].samples.map(\.guideline) == ["b", "a", "b", "b", "a"])
        #expect(result[0].samples.map(\.reward) == [1, 0, nil, 0, 1])
        #expect(result[0].samples.map(\.advantage) == [1, -1, 0, -1, 1])
        #expect(result[0].samples.map(\.isMasked) == [false, false, true, false, false])
    }

    @Test func namesNeedNoConfiguration() throws {
        let lines = [line("q1", [("x", 1), ("y", 0), ("x", 0), ("y", 1)])]
        let open = try advantages(of: lines, settings: AdvantageSettings())
        let configured = try advantages(of: lines, settings: AdvantageSettings(), guidelines: ["z", "y", "x"])
        #expect(open == configured)
    }

    @Test func eachLineIsOneStepForAutoAndMayRepeatAQuestion() throws {
        let first: [(String, Double?)] = [("a", 0), ("a", 0), ("a", 1), ("b", 1), ("b", 1), ("b", 1)]
        let lines = [line("q", first), line("q", first), line("r", first)]
        let settings = AdvantageSettings(baseline: .auto)
        let result = try advantages(of: lines, settings: settings)
        var blend = BlendState()
        for index in lines.indices {
            let step = try stepAdvantages([group([[0, 0, 1], [1, 1, 1]])], settings: settings, blend: blend)
            #expect(result[index].samples.map(\.advantage) == step.groups[0].samples.map(\.advantage))
            blend = step.nextBlend
        }
        #expect(result[0].samples[0].advantage != result[1].samples[0].advantage)
    }

    @Test func theWholeFileIsTheBatch() throws {
        let lines = [
            line("q", [("a", 1), ("a", 0)]), line("r", [("a", 4), ("a", 0), ("a", 2)]), line("s", [("a", 100)]),
        ]
        let settings = AdvantageSettings(baseline: .pooled, leaveOneOut: false, scale: .batch)
        let result = try advantages(of: lines, settings: settings)
        let deviation = besselDeviation([1, 0, 4, 0, 2])
        #expect(distance(result[0].samples.map(\.advantage), [0.5 / deviation, -0.5 / deviation]) < 1e-15)
        #expect(distance(result[1].samples.map(\.advantage), [2 / deviation, -2 / deviation, 0]) < 1e-15)
        #expect(result[2].samples[0].isMasked, "one sample takes no part in the batch")
        let step = try stepAdvantages(
            [group([[1, 0]]), group([[4, 0, 2]], question: "r"), group([[100]], question: "s")], settings: settings)
        #expect(step.groups.map { $0.samples.map(\.advantage) } == result.map { $0.samples.map(\.advantage) })
    }

    @Test func errorsNameTheLine() {
        let lines = [line("q", [("a", 1), ("a", 0)]), line("r", [("a", .infinity), ("a", 0)])]
        let infinite = #expect(throws: MMedError.self) {
            try advantages(of: lines, settings: AdvantageSettings())
        }
        #expect(infinite?.place == "line 2, question r, guideline 0, sample 0")
        let weights = AdvantageSettings(weights: .list([1, 1]))
        let foreign = #expect(throws: MMedError.self) {
            try advantages(of: [line("q", [("c", 1)])], settings: weights, guidelines: ["a", "b"])
        }
        #expect(foreign?.description.contains("line 1") == true)
    }

    @Test func anEmptyFileHasNoLines() throws {
        #expect(try advantages(of: [], settings: AdvantageSettings()).isEmpty)
        #expect(try advantages(of: [line("q", [])], settings: AdvantageSettings())[0].samples.isEmpty)
    }
}
