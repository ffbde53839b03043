import MMedAlgorithms
import Testing

/// Invariants 1 to 10 of the definition of GBA, each a property over random groups.
@Suite struct AdvantageInvariantTests {
    @Test("1: a shift per question changes nothing", arguments: seeds)
    func shift(seed: UInt64) throws {
        var draw = Draw(seed)
        let rewards = randomRewards(&draw)
        let c = draw.uniform(-3...3)
        for settings in baselines.flatMap(variants) {
            let shifted = try advantages(rewards.map { $0.map { $0 + c } }, settings)
            #expect(distance(try advantages(rewards, settings), shifted) < 1e-12, "\(settings)")
        }
    }

    @Test("1: a shift per guideline changes nothing exactly when lambda is 0", arguments: seeds)
    func guidelineShift(seed: UInt64) throws {
        var draw = Draw(seed)
        let rewards = randomRewards(&draw, guidelines: 2...4)
        let shifted = rewards.enumerated().map { index, own in own.map { $0 + 0.5 * Double(index + 1) } }
        for leaveOneOut in [true, false] {
            for (lambda, isUnchanged) in [(0.0, true), (0.01, false), (0.3, false), (1, false)] {
                let settings = AdvantageSettings(baseline: .blend(lambda: lambda), leaveOneOut: leaveOneOut)
                let change = distance(try advantages(rewards, settings), try advantages(shifted, settings))
                #expect((change < 1e-12) == isUnchanged, "\(settings): \(change)")
            }
        }
    }

    @Test("2: scale", arguments: seeds)
    func scale(seed: UInt64) throws {
        var draw = Draw(seed)
        let rewards = randomRewards(&draw, counts: 1...5)
        let factors = [0x1p-40, 0.5, 8, 0x1p60, draw.uniform(0.01...50)]
        for settings in baselines.flatMap(variants) {
            let plain = try advantages(rewards, settings)
            for factor in factors {
                let scaled = try advantages(rewards.map { $0.map { $0 * factor } }, settings)
                let expected = settings.scale == .none ? plain.map { $0 * factor } : plain
                if factor.significand == 1 {
                    #expect(scaled == expected, "\(settings) times \(factor)")
                } else {
                    #expect(distance(scaled, expected) < 1e-12 * max(1, factor), "\(settings) times \(factor)")
                }
            }
        }
    }

    @Test("3: arrival order changes no bit, relabelling at most 1e-12", arguments: seeds)
    func equivariance(seed: UInt64) throws {
        var draw = Draw(seed)
        let rewards = randomRewards(&draw, counts: 1...5)
        let relabelling = draw.shuffled(Array(rewards.indices))
        for settings in baselines.flatMap(variants) {
            var arrived = group(rewards)
            arrived.samples = draw.shuffled(arrived.samples)
            let step = try stepAdvantages([arrived], settings: settings)
            #expect(try step.groups[0].samples.map(\.advantage) == advantages(rewards, settings), "\(settings)")
            var relabelled = group(rewards)
            for index in relabelled.samples.indices {
                relabelled.samples[index].guideline = relabelling[relabelled.samples[index].guideline]
            }
            let renamed = try stepAdvantages([relabelled], settings: settings).groups[0].samples
            let original = try stepAdvantages([group(rewards)], settings: settings).groups[0].samples
            for entry in original {
                let same = renamed.first {
                    $0.sample.guideline == relabelling[entry.sample.guideline]
                        && $0.sample.sample == entry.sample.sample
                }
                #expect(((same?.advantage ?? .nan) - entry.advantage).magnitude < 1e-12, "\(settings)")
            }
        }
    }

    @Test("3: the order of the questions changes no bit", arguments: seeds)
    func questionOrder(seed: UInt64) throws {
        var draw = Draw(seed)
        let groups = (0..<4).map { group(randomRewards(&draw, counts: 1...4), question: "q\($0)") }
        for settings in baselines.flatMap(variants) {
            let plain = try stepAdvantages(groups, settings: settings)
            let arrived = try stepAdvantages(draw.shuffled(groups), settings: settings)
            #expect(plain.nextBlend == arrived.nextBlend)
            #expect(plain.counts == arrived.counts)
            for group in plain.groups { #expect(arrived.groups.contains(group), "\(settings)") }
        }
    }

    @Test("4: without leave-one-out and scale the sum is 0, per guideline at lambda 0", arguments: seeds)
    func zeroSum(seed: UInt64) throws {
        var draw = Draw(seed)
        let rewards = randomRewards(&draw, counts: 1...5)
        for lambda in [0, 0.3, 0.77, 1] {
            let settings = AdvantageSettings(baseline: .blend(lambda: lambda), leaveOneOut: false)
            let samples = try stepAdvantages([group(rewards)], settings: settings).groups[0].samples
            #expect(samples.reduce(0) { $0 + $1.advantage }.magnitude < 1e-12)
            guard lambda == 0 else { continue }
            for guideline in rewards.indices {
                let own = samples.filter { $0.sample.guideline == guideline }
                #expect(own.reduce(0) { $0 + $1.advantage }.magnitude < 1e-12)
            }
        }
    }

    @Test("5: leave-one-out is the distance from the means of the others", arguments: seeds)
    func explicitLeaveOneOut(seed: UInt64) throws {
        var draw = Draw(seed)
        let rewards = randomRewards(&draw)
        let all = rewards.flatMap { $0 }
        let lambda = draw.uniform()
        var expected: [Double] = []
        for own in rewards {
            for reward in own {
                let ownOthers = (own.reduce(0, +) - reward) / Double(own.count - 1)
                let allOthers = (all.reduce(0, +) - reward) / Double(all.count - 1)
                expected.append(reward - (1 - lambda) * ownOthers - lambda * allOthers)
            }
        }
        let settings = AdvantageSettings(baseline: .blend(lambda: lambda))
        #expect(distance(try advantages(rewards, settings), expected) < 1e-12)
    }

    @Test("6: the variance splits into within and between", arguments: seeds)
    func varianceSplit(seed: UInt64) throws {
        var draw = Draw(seed)
        let statistics = try stepAdvantages([group(randomRewards(&draw, counts: 1...6))]).groups[0].statistics
        guard statistics.isUsable else { return }
        let n = Double(statistics.validCount)
        var split = 0.0
        for guideline in statistics.guidelines {
            let count = Double(guideline.validCount)
            let between = guideline.mean - statistics.mean
            split += count / n * (guideline.squaredDeviations / count + between * between)
        }
        #expect((statistics.squaredDeviations / n - split).magnitude < 1e-12)
    }

    @Test("7: one guideline is GRPO and RLOO for every lambda", arguments: seeds)
    func singleGuideline(seed: UInt64) throws {
        var draw = Draw(seed)
        let rewards = randomRewards(&draw, counts: 2...8, guidelines: 1...1)
        let own = rewards[0]
        let deviation = besselDeviation(own)
        let isTied = own.min() == own.max()
        let grpo = own.map { isTied ? 0 : ($0 - mean(own)) / deviation }
        let rloo = own.map { ($0 - (own.reduce(0, +) - $0) / Double(own.count - 1)) }
        for baseline in [.within, .pooled, .auto, .blend(lambda: 0.3), .blend(lambda: draw.uniform())] as [Baseline] {
            let asGRPO = AdvantageSettings(baseline: baseline, leaveOneOut: false, scale: .question)
            let asRLOO = AdvantageSettings(baseline: baseline, leaveOneOut: true, scale: .none)
            #expect(distance(try advantages(rewards, asGRPO), grpo) < 1e-12)
            #expect(distance(try advantages(rewards, asRLOO), rloo) < 1e-12)
            for settings in variants(baseline) {
                var pooled = settings
                pooled.baseline = .pooled
                #expect(try advantages(rewards, settings) == advantages(rewards, pooled), "bitwise, \(settings)")
            }
        }
    }

    @Test("8: a scaled advantage is at most (n-1)/sqrt(n), attained by one-hot rewards", arguments: seeds)
    func bound(seed: UInt64) throws {
        var draw = Draw(seed)
        let settings = AdvantageSettings(baseline: .within, leaveOneOut: false, scale: .question)
        let rewards = randomRewards(&draw, counts: 2...12, guidelines: 1...1)
        let n = rewards[0].count
        let limit = Double(n - 1) / Double(n).squareRoot()
        let greatest = try advantages(rewards, settings).map(\.magnitude).max() ?? 0
        #expect(greatest <= limit + 1e-12)
        var oneHot = [Double](repeating: 0, count: n)
        oneHot[draw.int(0...(n - 1))] = 1
        let attained = try advantages([oneHot], settings).map(\.magnitude).max() ?? 0
        #expect((attained - limit).magnitude < 1e-12)
    }

    @Test("9: a better reward never gets less within its guideline, across guidelines at lambda 1", arguments: seeds)
    func monotonicity(seed: UInt64) throws {
        var draw = Draw(seed)
        let rewards = randomRewards(&draw, counts: 1...5)
        for settings in baselines.flatMap(variants) {
            let samples = try stepAdvantages([group(rewards)], settings: settings).groups[0].samples
            // A guideline's own S makes guidelines incomparable.
            let isAcross = settings.baseline == .pooled && settings.scale != .guideline
            for left in samples {
                for right in samples where isAcross || left.sample.guideline == right.sample.guideline {
                    let (a, b) = (left.sample.reward ?? .nan, right.sample.reward ?? .nan)
                    #expect(a < b || left.advantage >= right.advantage, "\(settings)")
                }
            }
        }
    }

    @Test("9: below lambda 1 a better reward can get less across guidelines")
    func notMonotoneAcross() throws {
        // 0.6 is the worst under the first guideline, 0.5 the best under the second.
        for lambda in [0, 0.3, 0.9] {
            let settings = AdvantageSettings(baseline: .blend(lambda: lambda))
            let result = try advantages([[0.6, 2.6], [0.5, -1.5]], settings)
            #expect(result[0] < result[2])
        }
    }

    @Test("10: invalid samples change nothing else and receive exactly 0", arguments: seeds)
    func padding(seed: UInt64) throws {
        var draw = Draw(seed)
        let rewards = randomRewards(&draw, counts: 1...5)
        for settings in baselines.flatMap(variants) {
            let plain = try stepAdvantages([group(rewards)], settings: settings)
            var padded = group(rewards)
            for index in 0..<draw.int(1...6) {
                padded.samples.append(
                    RewardedSample(
                        question: "q", guideline: draw.int(0...5), sample: 100 + index,
                        outcome: draw.uniform() < 0.5 ? .abstain : .failed(reason: "time-out"), completionTokens: 9))
            }
            let step = try stepAdvantages([padded], settings: settings)
            #expect(step.groups[0].samples.filter { $0.sample.sample < 100 } == plain.groups[0].samples)
            #expect(step.groups[0].samples.filter { $0.sample.sample >= 100 }.allSatisfy { $0.isMasked })
            #expect(step.groups[0].samples.filter { $0.sample.sample >= 100 }.allSatisfy { $0.advantage == 0 })
            #expect(step.nextBlend == plain.nextBlend)
            for aggregation in Aggregation.allCases {
                let loss = LossSettings(aggregation: aggregation)
                let before = try pathWeights(
                    of: plain.groups, settings: loss, questionsPlanned: 2, completionTokensMax: 8)
                let after = try pathWeights(
                    of: step.groups, settings: loss, questionsPlanned: 2, completionTokensMax: 8)
                #expect(before.normaliser == after.normaliser)
                let kept = zip(step.groups[0].samples, after.weights[0]).filter { $0.0.sample.sample < 100 }
                #expect(kept.map(\.1) == before.weights[0])
                #expect(after.weights[0].reduce(0, +) == before.weights[0].reduce(0, +))
            }
        }
    }
}
