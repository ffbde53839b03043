import Foundation
import MMedAlgorithms
import MMedCore
@testable import MMedEngine
import MMedTensor
import Testing

/// Values that transformers and PEFT gave for the same weights on a CPU; `Fixtures/generate.py` made them.
@Suite(.serialized) struct GoldenTests {
    struct PromptCase: Decodable {
        let ids: [Int32], logprobs: [Float], greedy: [Int32], greedyLogprobs: [Float]
    }

    struct AdapterCase: Decodable {
        struct Item: Decodable {
            let promptIds: [Int32], completionIds: [Int32], advantage: Float, oldLogprobs: [Float]
            let newLogprobs: [Float]
        }
        let r: Int, alpha: Double, clip: [Double], loss: Double, tokens: Int
        let items: [Item]
        let gradNorms: [String: Double], gradTotalNorm: Double
    }

    static func load<Value: Decodable>(_ name: String, as type: Value.Type) throws -> Value {
        let url = try #require(Bundle.module.url(forResource: "Fixtures/" + name, withExtension: "json"))
        return try JSONDecoder().decode(type, from: Data(contentsOf: url))
    }

    static func largestDifference(_ left: [Float], _ right: [Float]) -> Float {
        left.count == right.count ? zip(left, right).reduce(0) { max($0, abs($1.0 - $1.1)) } : .infinity
    }

    @Test func logprobsAndGreedyTokens() throws {
        let model = try RealModel.shared.get()
        let pool = ComputePool(threads: 2)
        let cases = try GoldenTests.load("logprobs", as: [PromptCase].self)
        let learner = Learner(model: model, pool: pool)
        let trees = cases.map { one in
            PromptTree(
                prefixIds: Array(one.ids.prefix(1)), suffixIds: [[]],
                paths: [TreePath(suffix: 0, completionIds: Array(one.ids.dropFirst()))])
        }
        var worst: Float = 0
        for (one, scored) in zip(cases, try learner.score(trees, adapter: nil)) {
            #expect(scored[0].count == one.logprobs.count)
            for (mine, golden) in zip(scored[0], one.logprobs) { worst = max(worst, abs(mine - golden)) }
        }
        let requests = cases.map { one in
            SampleRequest(
                slotKey: 1, prefixIds: one.ids, suffixIds: [], temperature: 0, maxTokens: 24,
                stopTokenIds: model.endTokenIds)
        }
        let results = try Sampler(model: model, pool: pool).sample(requests)
        for (one, result) in zip(cases, results) {
            #expect(result.completionIds == one.greedy)
            for (mine, golden) in zip(result.logprobs, one.greedyLogprobs) { worst = max(worst, abs(mine - golden)) }
        }
        print("largest log-prob difference \(worst)")
        #expect(worst < 2e-3)
    }

    /// The weights of the fixture, by its formula.
    static func fixtureAdapter(_ model: LanguageModel, rank: Int, alpha: Double) throws -> Adapter {
        let layout = AdapterLayout(settings: AdapterSettings(rank: rank, alpha: alpha), shape: model.shape)
        var weights = [Float](repeating: 0, count: layout.parameterCount)
        for pair in layout.pairs {
            let base = 0.5 * Double(pair.layer) + Double(pair.projection.index)
            for (offset, rows, columns, side) in [
                (pair.offsetA, rank, pair.input, 0.0), (pair.offsetB, pair.output, rank, 10.0),
            ] {
                for row in 0..<rows {
                    for column in 0..<columns {
                        let angle = 0.37 * Double(row) + 0.11 * Double(column) + base + side
                        weights[offset + row * columns + column] = Float(0.02 * sin(angle))
                    }
                }
            }
        }
        return try Adapter(layout: layout, weights: weights)
    }

    @Test func clippedPolicyLossAndGradientNorms() throws {
        let model = try RealModel.shared.get()
        let golden = try GoldenTests.load("lora", as: AdapterCase.self)
        let adapter = try GoldenTests.fixtureAdapter(model, rank: golden.r, alpha: golden.alpha)
        let trees = golden.items.map { item in
            PromptTree(
                prefixIds: item.promptIds, suffixIds: [[]],
                paths: [TreePath(suffix: 0, completionIds: item.completionIds)])
        }
        let gradient = FloatBuffer(count: adapter.layout.parameterCount)
        let learner = Learner(model: model, pool: ComputePool(threads: 2))
        var worstLogprob: Float = 0
        let loss = try learner.addGradient(of: trees, adapter: adapter, to: gradient) { tree, _, logprobs in
            let item = golden.items[tree]
            for (mine, other) in zip(logprobs, item.newLogprobs) { worstLogprob = max(worstLogprob, abs(mine - other)) }
            return GoldenTests.clippedLoss(item, logprobs: logprobs, clip: golden.clip, tokens: golden.tokens)
        }
        #expect(abs(loss - golden.loss) < 1e-4 * abs(golden.loss), "loss \(loss), golden \(golden.loss)")
        #expect(worstLogprob < 2e-3)
        let values = gradient.array()
        var worst = 0.0
        var seen = 0
        for pair in adapter.layout.pairs {
            for (side, range) in [
                ("A", pair.offsetA..<pair.offsetB), ("B", pair.offsetB..<pair.offsetB + golden.r * pair.output),
            ] {
                let expected = try #require(
                    golden.gradNorms["base_model.model.\(pair.modulePath).lora_\(side).weight"])
                let error = abs(Material.norm(values[range]) - expected) / expected
                worst = max(worst, error)
                seen += 1
                #expect(error < 1e-3, "\(pair.modulePath) \(side)")
            }
        }
        #expect(seen == 420 && golden.gradNorms.count == 420)
        let total = Material.norm(values)
        #expect(abs(total - golden.gradTotalNorm) < 1e-3 * golden.gradTotalNorm)
        print("loss \(loss) against \(golden.loss); largest relative difference of a gradient norm \(worst)")
    }

    /// -min(u A, clip(u) A) / tokens for each token, with u = exp(new - old).
    private static func clippedLoss(
        _ item: AdapterCase.Item, logprobs: [Float], clip: [Double], tokens: Int
    ) -> PathLoss {
        var result = PathLoss(tokenCount: logprobs.count)
        let advantage = Double(item.advantage)
        for (token, new) in logprobs.enumerated() {
            let ratio = exp(Double(new) - Double(item.oldLogprobs[token]))
            let clipped = min(max(ratio, 1 - clip[0]), 1 + clip[1])
            let isClipped = clipped * advantage < ratio * advantage
            result.loss -= min(ratio * advantage, clipped * advantage) / Double(tokens)
            result.lossPerLogprob[token] = isClipped ? 0 : -ratio * advantage / Double(tokens)
        }
        return result
    }
}

/// SmolLM2-135M-Instruct, read once for all tests that need it.
enum RealModel {
    static let shared = Result { () throws -> LanguageModel in
        let cache =
            ProcessInfo.processInfo.environment["MMED_CACHE"]
            ?? FileManager.default.homeDirectoryForCurrentUser.appending(path: ".cache/mmed").path()
        let path = cache + "/models/SmolLM2-135M-Instruct.Q4_1.gguf"
        guard FileManager.default.fileExists(atPath: path) else {
            throw MMedError(.badData, at: path, "the test model is missing", mend: "run make setup")
        }
        return try LanguageModel(path: path)
    }
}
