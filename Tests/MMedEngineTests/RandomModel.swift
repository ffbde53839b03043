import MMedAlgorithms
import MMedCore
@testable import MMedEngine
@testable import MMedFormats
import MMedTensor

/// A small model with weights drawn by name, for tests that need no real one.
struct RandomModel: WeightSource {
    var config: ModelConfig
    var seed: UInt64

    init(
        architecture: ModelArchitecture = .llama, seed: UInt64 = 7, layers: Int = 2, heads: Int = 4,
        keyValueHeads: Int = 2, tied: Bool = true
    ) {
        self.seed = seed
        config = ModelConfig(
            architecture: architecture, layerCount: layers, hiddenSize: 8 * heads, headCount: heads,
            keyValueHeadCount: keyValueHeads, headDim: 8, intermediateSize: 44, vocabularySize: 67, ropeTheta: 10_000,
            rmsEpsilon: 1e-5, tiedEmbeddings: tied, hasQKVBias: architecture == .qwen2, contextLength: 256, bosId: nil,
            eosIds: [1])
    }

    func values(of name: String, count: Int) throws -> [Float] {
        let random = CounterRandom(key: seed)
        let stream = stableHash(name.utf8)
        let isNorm = name.hasSuffix("norm.weight")
        let bound = isNorm ? 0.3 : name.hasSuffix("bias") ? 0.5 : (3 / Double(config.hiddenSize)).squareRoot()
        return (0..<count).map { index in
            Float((2 * random.uniform(UInt64(index), stream) - 1) * bound + (isNorm ? 1 : 0))
        }
    }
}

/// Deterministic test material.
enum Material {
    static func model(_ architecture: ModelArchitecture = .llama, tied: Bool = true) throws -> LanguageModel {
        try LanguageModel(source: RandomModel(architecture: architecture, tied: tied))
    }

    /// Random A and B, so that every gradient is alive.
    static func adapter(
        _ model: LanguageModel, rank: Int = 3, seed: UInt64 = 11, targets: [Projection] = Projection.allCases,
        rankStabilised: Bool = false
    ) throws -> Adapter {
        let layout = AdapterLayout(
            settings: AdapterSettings(rank: rank, alpha: 6, rankStabilised: rankStabilised, targets: targets),
            shape: model.shape)
        let random = CounterRandom(key: seed)
        let weights = (0..<layout.parameterCount).map { Float(random.uniform(UInt64($0)) - 0.5) * 0.4 }
        return try Adapter(layout: layout, weights: weights)
    }

    static func ids(_ count: Int, seed: UInt64, vocabulary: Int = 67) -> [Int32] {
        let random = CounterRandom(key: seed)
        return (0..<count).map { Int32(random.uniform(UInt64($0)) * Double(vocabulary)) }
    }

    /// Two trees: several suffixes, an empty suffix, paths of unlike length, one of them a single token.
    static var trees: [PromptTree] {
        [
            PromptTree(
                prefixIds: ids(9, seed: 1), suffixIds: [ids(4, seed: 2), [], ids(2, seed: 3)],
                paths: [
                    TreePath(suffix: 0, completionIds: ids(6, seed: 4)),
                    TreePath(suffix: 2, completionIds: ids(3, seed: 5)),
                    TreePath(suffix: 0, completionIds: ids(1, seed: 6)),
                    TreePath(suffix: 1, completionIds: ids(8, seed: 7)),
                ]),
            PromptTree(
                prefixIds: [], suffixIds: [ids(5, seed: 8)],
                paths: [TreePath(suffix: 0, completionIds: ids(4, seed: 9))]),
        ]
    }

    /// Uneven weights of tokens, some of them masked, as a loss would give.
    static func weights(tree: Int, path: Int, count: Int) -> [Float] {
        (0..<count).map { token in token % 5 == 4 ? 0 : 0.3 + 0.2 * Float((tree + 2 * path + 3 * token) % 4) }
    }

    /// Loss -Σ weight · logprob.
    static func loss(tree: Int, path: Int, logprobs: [Float]) -> PathLoss {
        let weights = weights(tree: tree, path: path, count: logprobs.count)
        let loss = zip(weights, logprobs).reduce(0.0) { $0 - Double($1.0) * Double($1.1) }
        var result = PathLoss(tokenCount: weights.count)
        result.loss = loss
        result.lossPerLogprob = weights.map { -Double($0) }
        return result
    }

    static func gradient(
        _ learner: Learner, _ trees: [PromptTree], adapter: Adapter, temperature: Float = 1
    ) throws -> (loss: Double, gradient: [Float]) {
        let gradient = FloatBuffer(count: adapter.layout.parameterCount)
        let loss = try learner.addGradient(
            of: trees, adapter: adapter, temperature: temperature, to: gradient, pathLoss: Material.loss)
        return (loss, gradient.array())
    }

    static func norm(_ values: some Sequence<Float>) -> Double {
        values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    }
}
