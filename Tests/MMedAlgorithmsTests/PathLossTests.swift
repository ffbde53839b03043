import MMedAlgorithms
import MMedCore
import Testing

/// The log-probs of one random path and its numbers.
struct RandomPath {
    var new: [Double]
    var prox: [Double]
    var roll: [Double]
    var reference: [Double]
    var mask: [Bool]
    var advantage: Double
    var weight: Double

    init(_ draw: inout Draw) {
        let tokens = draw.int(1...8)
        new = (0..<tokens).map { _ in draw.uniform(-4...0) }
        prox = new.map { $0 + draw.uniform(-0.5...0.5) }
        roll = new.map { $0 + draw.uniform(-0.9...0.9) }
        reference = new.map { $0 + draw.uniform(-1...1) }
        mask = new.map { _ in draw.uniform() < 0.8 }
        advantage = draw.uniform(-2...2)
        weight = draw.uniform(0.01...1)
    }

    func loss(_ settings: LossSettings, new other: [Double]? = nil) throws -> PathLoss {
        try pathLoss(
            new: other ?? new, prox: prox, roll: roll, reference: reference, tokenMask: mask, advantage: advantage,
            weight: weight, settings: settings)
    }
}

/// Every combination of the switches that a path's loss reads.
let everyLoss: [LossSettings] = {
    var all: [LossSettings] = []
    for importance in Importance.allCases {
        for estimator in KLEstimator.allCases {
            for clip in [nil, ClipRange(low: 0.2, high: 0.28)] {
                for (prox, target, stripped) in [
                    (.step, .conditioned, .token), (.roll, .conditioned, .token), (.step, .stripped, .token),
                    (.step, .stripped, .sequence), (.step, .stripped, .none),
                ] as [(ProximalPolicy, LossTarget, StrippedWeights)] {
                    all.append(
                        LossSettings(
                            target: target, strippedWeights: stripped, importance: importance, prox: prox,
                            updatesPerStep: 2, clip: clip, klCoefficient: 0.3, klEstimator: estimator))
                }
            }
        }
    }
    return all
}()

/// Invariants 12, 13 and 15, and the loss of one path.
@Suite struct PathLossTests {
    @Test("12: where all policies agree the gradient is -weight A", arguments: seeds)
    func onPolicy(seed: UInt64) throws {
        var draw = Draw(seed)
        var path = RandomPath(&draw)
        path.prox = path.new
        path.roll = path.new
        for var settings in everyLoss {
            settings.klCoefficient = 0
            for updates in [1, 3] {
                settings.updatesPerStep = updates
                let result = try path.loss(settings)
                let expected = path.mask.map { $0 ? -path.weight * path.advantage : 0 }
                #expect(distance(result.lossPerLogprob, expected) < 1e-15, "\(settings)")
                #expect(result.clippedTokens == 0 && result.truncatedWeights == 0)
                #expect(result.ratioSum == Double(result.lossTokens))
                #expect(result.offPolicyWeightSum == Double(result.lossTokens))
            }
        }
    }

    @Test("12: beyond the trust region on the side of the advantage there is no gradient")
    func clipping() throws {
        for importance in Importance.allCases {
            let settings = LossSettings(importance: importance, prox: .roll)
            for (logRatio, advantage, isClipped) in [
                (0.3, 1.0, true), (0.2, 1, false), (-0.3, 1, false), (-0.3, -1, true), (-0.2, -1, false),
                (0.3, -1, false), (0.3, 0, false),
            ] {
                let result = try pathLoss(
                    new: [-1 + logRatio, -2 + logRatio], roll: [-1, -2], advantage: advantage, weight: 1,
                    settings: settings)
                #expect(result.clippedTokens == (isClipped ? 2 : 0), "\(importance) \(logRatio) \(advantage)")
                let slope = isClipped ? 0 : -Elementary.exp(logRatio) * advantage
                #expect(distance(result.lossPerLogprob, [slope, slope]) < 1e-12)
            }
        }
    }

    @Test("12: an infinite C is no truncation", arguments: seeds)
    func truncation(seed: UInt64) throws {
        var draw = Draw(seed)
        let path = RandomPath(&draw)
        let open = try path.loss(LossSettings(truncation: .infinity))
        for (token, slope) in open.lossPerLogprob.enumerated() where path.mask[token] {
            let weight = Elementary.exp(path.new[token] - path.roll[token])
            #expect((slope + path.weight * weight * path.advantage).magnitude < 1e-12)
        }
        #expect(open.truncatedWeights == 0)
        let cut = try path.loss(LossSettings(truncation: 1.1))
        let expected = path.new.indices.filter {
            path.mask[$0] && Elementary.exp(path.new[$0] - path.roll[$0]) > 1.1
        }
        #expect(cut.truncatedWeights == expected.count)
        for token in expected {
            #expect((cut.lossPerLogprob[token] + path.weight * 1.1 * path.advantage).magnitude < 1e-12)
        }
    }

    @Test("13: a path's gradient has the same bits whatever order its step came in", arguments: seeds)
    func sharding(seed: UInt64) throws {
        var draw = Draw(seed)
        var groups: [QuestionGroup] = []
        for question in 0..<4 {
            var group = group(randomRewards(&draw, counts: 1...4), question: "q\(question)")
            for index in group.samples.indices { group.samples[index].completionTokens = draw.int(0...9) }
            groups.append(group)
        }
        for preset in Preset.allCases {
            let whole = try gradients(groups, preset.settings)
            let arrived = try gradients(
                draw.shuffled(groups).map {
                    QuestionGroup(question: $0.question, samples: draw.shuffled($0.samples))
                }, preset.settings)
            #expect(whole == arrived, "\(preset)")
            // Any cut into shards, each summed by itself, is the same sum: weights are global, never a local mean.
            let keys = draw.shuffled(Array(whole.keys))
            let total = whole.values.reduce(0, +)
            for shards in [1, 2, 3, 7] {
                var sums = [Double](repeating: 0, count: shards)
                for (index, key) in keys.enumerated() { sums[index % shards] += whole[key] ?? .nan }
                #expect((sums.reduce(0, +) - total).magnitude < 1e-12, "\(preset) \(shards)")
            }
        }
    }

    /// The sum over tokens of each path's derivative, by id. The log-probs depend on the id alone.
    private func gradients(_ groups: [QuestionGroup], _ settings: AlgorithmSettings) throws -> [String: Double] {
        let step = try stepAdvantages(groups, settings: settings.advantages)
        let weights = try pathWeights(
            of: step.groups, settings: settings.loss, questionsPlanned: 5, completionTokensMax: 16)
        var result: [String: Double] = [:]
        for (group, own) in zip(step.groups, weights.weights) {
            for (entry, weight) in zip(group.samples, own) {
                let id = "\(group.question) \(entry.sample.guideline) \(entry.sample.sample)"
                var draw = Draw(stableHash(id.utf8))
                let new = (0..<entry.sample.completionTokens).map { _ in draw.uniform(-3...0) }
                let old = new.map { $0 + draw.uniform(-0.2...0.2) }
                let path = try pathLoss(
                    new: new, roll: old, reference: old, advantage: entry.advantage, weight: weight,
                    settings: settings.loss)
                result[id] = path.lossPerLogprob.reduce(0, +)
            }
        }
        return result
    }

    @Test("15: finite differences match the gradient", arguments: seeds)
    func finiteDifferences(seed: UInt64) throws {
        var draw = Draw(seed)
        let path = RandomPath(&draw)
        let h = 1e-5
        for settings in everyLoss {
            let analytic = try path.loss(settings)
            for token in path.new.indices {
                var (up, down) = (path.new, path.new)
                up[token] += h
                down[token] -= h
                let (above, below) = (try path.loss(settings, new: up), try path.loss(settings, new: down))
                // Away from the edges of the trust region both ends are clipped alike.
                guard above.clippedTokens == below.clippedTokens else { continue }
                let slope = (above.loss - below.loss) / (2 * h)
                #expect((slope - analytic.lossPerLogprob[token]).magnitude < 1e-8, "\(settings) token \(token)")
            }
        }
    }

    @Test("15: with one update a step the proximal policy is frozen at the new one", arguments: seeds)
    func stopGradient(seed: UInt64) throws {
        var draw = Draw(seed)
        var path = RandomPath(&draw)
        path.prox = path.new
        for var settings in everyLoss where settings.prox == .step {
            // Freezing by hand, and differentiating with the frozen copy kept, must give the one-update gradient.
            let frozen = try path.loss(settings)
            settings.updatesPerStep = 1
            let direct = try pathLoss(
                new: path.new, roll: path.roll, reference: path.reference, tokenMask: path.mask,
                advantage: path.advantage, weight: path.weight, settings: settings)
            #expect(direct == frozen, "\(settings)")
        }
    }

    @Test func logRatiosAreHeldWithinTwenty() throws {
        let far = try pathLoss(
            new: [-1], roll: [-30], advantage: -1, weight: 1, settings: LossSettings(prox: .roll))
        #expect(far.loss == Elementary.exp(20))
        #expect(far.lossPerLogprob == [0])
        let weight = try pathLoss(
            new: [-1], roll: [-30], advantage: -1, weight: 1, settings: LossSettings(truncation: .infinity))
        #expect(weight.offPolicyWeightSum == Elementary.exp(20))
        #expect(weight.lossPerLogprob == [Elementary.exp(20)])
        let divergence = klEstimate(new: -40, reference: -1, estimator: .k3)
        #expect(divergence.slope == 0 && divergence.value.isFinite)
    }

    @Test func strippedWeightsOfTheWholePathCountMaskedTokens() throws {
        let settings = LossSettings(target: .stripped, strippedWeights: .sequence, truncation: .infinity)
        let path = try pathLoss(
            new: [-1, -2, -0.5], roll: [-1.1, -2.4, -0.25], tokenMask: [true, false, true], advantage: 1, weight: 1,
            settings: settings)
        let weight = Elementary.exp(0.1 + 0.4 - 0.25)
        #expect(distance(path.lossPerLogprob, [-weight, 0, -weight]) < 1e-15)
        var none = settings
        none.strippedWeights = .none
        let plain = try pathLoss(
            new: [-1, -2], roll: [-7, -0.1], advantage: 1, weight: 1, settings: none)
        #expect(plain.lossPerLogprob == [-1, -1])
        #expect(plain.truncatedWeights == 0)
    }

    @Test func emptyPathsAndMasksHaveNoLoss() throws {
        let empty = try pathLoss(new: [], roll: [], advantage: 1, weight: 1, settings: LossSettings())
        #expect(empty == PathLoss(tokenCount: 0))
        let masked = try pathLoss(
            new: [-1, -1], roll: [-1, -1], tokenMask: [false, false], advantage: 1, weight: 1, settings: LossSettings())
        #expect(masked == PathLoss(tokenCount: 2))
    }

    @Test func badInputIsRefused() {
        func refuses(_ what: String, _ body: () throws -> PathLoss) {
            let error = #expect(throws: MMedError.self) { _ = try body() }
            #expect(error?.description.contains(what) == true, "\(String(describing: error))")
        }
        let two = LossSettings(updatesPerStep: 2)
        let kl = LossSettings(klCoefficient: 0.1)
        refuses("start of the step are missing") {
            try pathLoss(new: [-1], roll: [-1], advantage: 1, weight: 1, settings: two)
        }
        refuses("reference log-probs are missing") {
            try pathLoss(new: [-1], roll: [-1], advantage: 1, weight: 1, settings: kl)
        }
        refuses("2 numbers for 1 tokens") {
            try pathLoss(new: [-1], roll: [-1, -2], advantage: 1, weight: 1, settings: LossSettings())
        }
        refuses("token 1 is not finite") {
            try pathLoss(new: [-1, -.infinity], roll: [-1, -2], advantage: 1, weight: 1, settings: LossSettings())
        }
        refuses("advantage nan") {
            try pathLoss(new: [-1], roll: [-1], advantage: .nan, weight: 1, settings: LossSettings())
        }
        refuses("weight -1.0") {
            try pathLoss(new: [-1], roll: [-1], advantage: 1, weight: -1, settings: LossSettings())
        }
        refuses("mask of 2 for 1") {
            try pathLoss(
                new: [-1], roll: [-1], tokenMask: [true, true], advantage: 1, weight: 1, settings: LossSettings())
        }
    }

    @Test func supervisedLossIsTheWeightedLikelihood() throws {
        let weight = supervisedTokenWeight(updateTokens: 4)
        let path = try supervisedLoss(new: [-1, -2, -3], tokenWeights: [weight, 0, weight])
        #expect(path.loss == 1)
        #expect(path.lossPerLogprob == [-0.25, 0, -0.25])
        #expect(path.lossTokens == 2)
        #expect(supervisedTokenWeight(updateTokens: 0) == 0)
        #expect(throws: MMedError.self) { try supervisedLoss(new: [-1], tokenWeights: []) }
        #expect(throws: MMedError.self) { try supervisedLoss(new: [.nan], tokenWeights: [1]) }
    }
}
