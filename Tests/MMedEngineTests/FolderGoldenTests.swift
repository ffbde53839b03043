import Foundation
import MMedAlgorithms
import MMedCore
import MMedEngine
import MMedFormats
import MMedTensor
import Testing

/// Tiny Hugging Face folders and PEFT adapters against transformers; `Fixtures/generate_tiny.py` made them.
@Suite struct FolderGoldenTests {
    struct Golden: Decodable {
        struct Item: Decodable {
            let promptIds: [Int32], completionIds: [Int32], weights: [Double], logprobs: [Float]
            let bareLogprobs: [Float]
        }
        let temperature: Float, loss: Double
        let items: [Item]
    }

    @Test(arguments: ["tiny-llama", "tiny-qwen2"])
    func logprobsLossAndEveryGradient(name: String) throws {
        let folder = try #require(Bundle.module.url(forResource: "Fixtures/" + name, withExtension: nil))
        let golden = try JSONDecoder().decode(
            Golden.self, from: Data(contentsOf: folder.appending(path: "golden.json")))
        let model = try LanguageModel(path: folder.path())
        let loaded = try AdapterFolder.read(folder.appending(path: "adapter").path(), shape: model.shape)
        let expected = try AdapterFolder.read(folder.appending(path: "gradient").path(), shape: model.shape)
        #expect(expected.layout == loaded.layout)
        let adapter = try Adapter(layout: loaded.layout, weights: loaded.values)
        let learner = Learner(model: model, pool: ComputePool(threads: 2))
        let trees = golden.items.map { item in
            PromptTree(
                prefixIds: Array(item.promptIds.dropLast(item.promptIds.count / 2)),
                suffixIds: [item.promptIds.suffix(item.promptIds.count / 2)],
                paths: [TreePath(suffix: 0, completionIds: item.completionIds)])
        }
        for (item, mine) in zip(golden.items, try learner.score(trees, adapter: nil)) {
            #expect(GoldenTests.largestDifference(mine[0], item.bareLogprobs) < 1e-5)
        }
        let gradient = FloatBuffer(count: loaded.layout.parameterCount)
        let loss = try learner.addGradient(
            of: trees, adapter: adapter, temperature: golden.temperature, to: gradient
        ) { tree, _, logprobs in
            let item = golden.items[tree]
            #expect(GoldenTests.largestDifference(logprobs, item.logprobs) < 1e-5)
            var result = PathLoss(tokenCount: logprobs.count)
            for (token, weight) in item.weights.enumerated() {
                result.loss -= weight * Double(logprobs[token])
                result.lossPerLogprob[token] = -weight
            }
            return result
        }
        #expect(abs(loss - golden.loss) < 1e-5 * abs(golden.loss))
        let mine = gradient.array()
        for pair in loaded.layout.pairs {
            let range = pair.offsetA..<pair.offsetB + loaded.layout.settings.rank * pair.output
            let difference = zip(mine[range], expected.values[range]).map { $0 - $1 }
            let error = Material.norm(difference) / Material.norm(expected.values[range])
            #expect(error < 1e-4, "\(pair.modulePath): relative difference \(error)")
        }
    }
}
