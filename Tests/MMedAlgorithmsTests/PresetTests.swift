import Foundation
import MMedAlgorithms
import Testing

/// Each preset against the formula of its paper, written here without the code under test.
@Suite struct PresetTests {
    /// The paths of one question under one prompt, with two policies.
    struct Batch {
        var rewards: [Double]
        var new: [[Double]] = []
        var roll: [[Double]] = []
        var reference: [[Double]] = []

        init(_ draw: inout Draw) {
            rewards = (0..<draw.int(2...6)).map { _ in draw.uniform() < 0.4 ? 1 : draw.uniform(-1...1) }
            for _ in rewards {
                let tokens = draw.int(1...7)
                new.append((0..<tokens).map { _ in draw.uniform(-3...0) })
                roll.append(new[new.count - 1].map { $0 + draw.uniform(-0.4...0.4) })
                reference.append(new[new.count - 1].map { $0 + draw.uniform(-0.4...0.4) })
            }
        }
    }

    static let tokensMax = 12

    /// The loss of two questions of three planned by the code under test, all samples under `guidelines` prompts in turn.
    private func loss(_ batches: [Batch], _ preset: Preset, guidelines: Int) throws -> Double {
        let groups = batches.enumerated().map { question, batch in
            QuestionGroup(
                question: "q\(question)",
                samples: batch.rewards.enumerated().map { index, reward in
                    RewardedSample(
                        question: "q\(question)", guideline: index % guidelines, sample: index,
                        outcome: .value(reward), completionTokens: batch.new[index].count)
                })
        }
        let settings = preset.settings
        let step = try stepAdvantages(groups, settings: settings.advantages)
        let weights = try pathWeights(
            of: step.groups, settings: settings.loss, questionsPlanned: 3, completionTokensMax: PresetTests.tokensMax)
        var total = 0.0
        for (question, batch) in batches.enumerated() {
            for (entry, weight) in zip(step.groups[question].samples, weights.weights[question]) {
                let index = entry.sample.sample
                total += try pathLoss(
                    new: batch.new[index], roll: batch.roll[index], reference: batch.reference[index],
                    advantage: entry.advantage, weight: weight, settings: settings.loss
                ).loss
            }
        }
        return total
    }

    private func surrogate(_ ratio: Double, _ advantage: Double, low: Double, high: Double) -> Double {
        min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)
    }

    private func standardised(_ rewards: [Double]) -> [Double] {
        rewards.map { ($0 - mean(rewards)) / besselDeviation(rewards) }
    }

    private func ratios(_ batch: Batch, _ path: Int) -> [Double] {
        zip(batch.new[path], batch.roll[path]).map { Foundation.exp($0 - $1) }
    }

    /// The sum over the questions of `perQuestion`, over the three planned.
    private func expected(_ batches: [Batch], _ perQuestion: (Batch) -> Double) -> Double {
        -batches.map(perQuestion).reduce(0, +) / 3
    }

    private func batches(_ seed: UInt64) -> [Batch] {
        var draw = Draw(seed)
        return [Batch(&draw), Batch(&draw)].map { batch in
            var batch = batch
            batch.rewards[0] += 3  // never tied
            return batch
        }
    }

    @Test(arguments: seeds) func grpo(seed: UInt64) throws {
        let batches = batches(seed)
        let hand = expected(batches) { batch in
            let advantages = standardised(batch.rewards)
            return mean(
                batch.rewards.indices.map { path in
                    mean(
                        batch.new[path].indices.map { token in
                            let d = batch.reference[path][token] - batch.new[path][token]
                            return surrogate(ratios(batch, path)[token], advantages[path], low: 0.2, high: 0.2)
                                - 0.04 * (Foundation.exp(d) - d - 1)
                        })
                })
        }
        for guidelines in [1, 2] {
            #expect((try loss(batches, .grpo, guidelines: guidelines) - hand).magnitude < 1e-12)
        }
    }

    @Test(arguments: seeds) func drGrpo(seed: UInt64) throws {
        let batches = batches(seed)
        let hand = expected(batches) { batch in
            mean(
                batch.rewards.indices.map { path in
                    ratios(batch, path).map {
                        surrogate($0, batch.rewards[path] - mean(batch.rewards), low: 0.2, high: 0.2)
                    }.reduce(0, +)
                }) / Double(PresetTests.tokensMax)
        }
        for guidelines in [1, 2] {
            #expect((try loss(batches, .drGrpo, guidelines: guidelines) - hand).magnitude < 1e-12)
        }
    }

    @Test(arguments: seeds) func dapo(seed: UInt64) throws {
        let batches = batches(seed)
        // 1 / (weighted tokens) over the questions, each of which weighs its samples 1/N: with equal N this is the
        // paper's one sum over all tokens.
        var (sum, tokens) = (0.0, 0.0)
        for batch in batches {
            let advantages = standardised(batch.rewards)
            let n = Double(batch.rewards.count)
            for path in batch.rewards.indices {
                tokens += Double(batch.new[path].count) / n
                for ratio in ratios(batch, path) {
                    sum += surrogate(ratio, advantages[path], low: 0.2, high: 0.28) / n
                }
            }
        }
        for guidelines in [1, 2] {
            #expect((try loss(batches, .dapo, guidelines: guidelines) + sum / tokens).magnitude < 1e-12)
        }
        #expect(Preset.dapo.settings.resamplingRounds > 0)
    }

    @Test(arguments: seeds) func gspo(seed: UInt64) throws {
        let batches = batches(seed)
        let hand = expected(batches) { batch in
            let advantages = standardised(batch.rewards)
            return mean(
                batch.rewards.indices.map { path in
                    let ratio = Foundation.exp(mean(zip(batch.new[path], batch.roll[path]).map { $0 - $1 }))
                    return surrogate(ratio, advantages[path], low: 3e-4, high: 4e-4)
                })
        }
        for guidelines in [1, 2] {
            #expect((try loss(batches, .gspo, guidelines: guidelines) - hand).magnitude < 1e-12)
        }
    }

    @Test(arguments: seeds) func rloo(seed: UInt64) throws {
        let batches = batches(seed)
        let hand = expected(batches) { batch in
            let sum = batch.rewards.reduce(0, +)
            return mean(
                batch.rewards.indices.map { path in
                    let others = (sum - batch.rewards[path]) / Double(batch.rewards.count - 1)
                    return ratios(batch, path).map { $0 * (batch.rewards[path] - others) }.reduce(0, +)
                }) / Double(PresetTests.tokensMax)
        }
        for guidelines in [1, 2] {
            #expect((try loss(batches, .rloo, guidelines: guidelines) - hand).magnitude < 1e-12)
        }
    }

    @Test func everyPresetIsValid() throws {
        for preset in Preset.allCases { try preset.settings.validate(guidelineCount: 4) }
        #expect(Preset.allCases.map(\.rawValue) == ["gba", "grpo", "dr-grpo", "dapo", "gspo", "rloo"])
        let gba = Preset.gba.settings
        #expect(
            gba.advantages == AdvantageSettings(baseline: .within, leaveOneOut: true, scale: .none, weights: .uniform))
        #expect(gba.loss.prox == .step && gba.loss.updatesPerStep == 1 && gba.loss.truncation == 2)
        #expect(gba.loss.clip == ClipRange(low: 0.2, high: 0.28) && gba.loss.klCoefficient == 0)
    }
}
