import MMedAlgorithms
import MMedCore
@testable import MMedEngine
import MMedFormats
import MMedTensor
import Testing

@Suite struct GradientTests {
    /// Along its own direction a right gradient has its own norm as slope; a wrong one almost surely has not.
    @Test(arguments: ModelArchitecture.allCases)
    func finiteDifferencesOfEveryMatrix(architecture: ModelArchitecture) throws {
        let model = try Material.model(architecture)
        let learner = Learner(model: model, pool: ComputePool(threads: 1))
        let adapter = try Material.adapter(model)
        let temperature: Float = 0.8
        let gradient = try Material.gradient(learner, Material.trees, adapter: adapter, temperature: temperature)
            .gradient
        func loss(_ weights: [Float]) throws -> Double {
            let logprobs = try learner.score(
                Material.trees, adapter: adapter.replacingWeights(weights), temperature: temperature)
            var sum = 0.0
            for (tree, paths) in logprobs.enumerated() {
                for (path, values) in paths.enumerated() {
                    sum += Material.loss(tree: tree, path: path, logprobs: values).loss
                }
            }
            return sum
        }
        let rank = adapter.layout.settings.rank
        for pair in adapter.layout.pairs {
            let matrices = [
                ("A", pair.offsetA..<pair.offsetA + rank * pair.input),
                ("B", pair.offsetB..<pair.offsetB + rank * pair.output),
            ]
            for (side, range) in matrices {
                let norm = Material.norm(gradient[range])
                #expect(norm > 1e-3, "\(pair.modulePath) \(side) has no gradient")
                let step = 0.01
                func moved(_ sign: Double) -> [Float] {
                    var weights = adapter.weights
                    for index in range { weights[index] += Float(sign * step * Double(gradient[index]) / norm) }
                    return weights
                }
                let slope = (try loss(moved(1)) - loss(moved(-1))) / (2 * step)
                let error = abs(slope - norm) / max(norm, 0.05)
                #expect(error < 5e-3, "\(pair.modulePath) \(side): slope \(slope), gradient norm \(norm)")
            }
        }
    }

    @Test func lossAgreesWithItsDerivatives() throws {
        let model = try Material.model()
        let learner = Learner(model: model, pool: ComputePool(threads: 1))
        let adapter = try Material.adapter(model)
        let (loss, _) = try Material.gradient(learner, Material.trees, adapter: adapter)
        let logprobs = try learner.score(Material.trees, adapter: adapter)
        var sum = 0.0
        for (tree, paths) in logprobs.enumerated() {
            for (path, values) in paths.enumerated() {
                sum += Material.loss(tree: tree, path: path, logprobs: values).loss
            }
        }
        #expect(abs(loss - sum) < 1e-9)
    }

    /// Each path with its own copy of the prompt gives the same log-probabilities to the bit, and the same gradient.
    @Test(arguments: ModelArchitecture.allCases)
    func sharedPrefixEqualsUnshared(architecture: ModelArchitecture) throws {
        let model = try Material.model(architecture, tied: false)
        let learner = Learner(model: model, pool: ComputePool(threads: 2))
        let adapter = try Material.adapter(model)
        let trees = Material.trees
        let shared = try Material.gradient(learner, trees, adapter: adapter)
        let gradient = FloatBuffer(count: adapter.layout.parameterCount)
        var loss = 0.0
        for (index, tree) in trees.enumerated() {
            for (place, path) in tree.paths.enumerated() {
                let alone = PromptTree(
                    prefixIds: tree.prefixIds + tree.suffixIds[path.suffix], suffixIds: [[]],
                    paths: [TreePath(suffix: 0, completionIds: path.completionIds)])
                #expect(
                    try learner.score([alone], adapter: adapter)[0][0]
                        == learner.score(trees, adapter: adapter)[index][place])
                loss += try learner.addGradient(of: [alone], adapter: adapter, to: gradient) { _, _, logprobs in
                    Material.loss(tree: index, path: place, logprobs: logprobs)
                }
            }
        }
        let unshared = gradient.array()
        let error = Material.norm(zip(shared.gradient, unshared).map { $0 - $1 }) / Material.norm(unshared)
        #expect(error < 1e-5, "relative difference \(error)")
        #expect(abs(loss - shared.loss) < 1e-9)
    }

    /// A tree larger than the row limit is cut by paths; the sum is the same but for rounding.
    @Test func rowLimitChangesNothingButRounding() throws {
        let model = try Material.model()
        let adapter = try Material.adapter(model)
        let pool = ComputePool(threads: 1)
        let whole = try Material.gradient(Learner(model: model, pool: pool), Material.trees, adapter: adapter)
        for limit in [1, 17, 24] {
            let cut = try Material.gradient(
                Learner(model: model, pool: pool, maxRows: limit), Material.trees, adapter: adapter)
            let error = Material.norm(zip(whole.gradient, cut.gradient).map { $0 - $1 }) / Material.norm(whole.gradient)
            #expect(error < 1e-5, "limit \(limit): relative difference \(error)")
            #expect(abs(whole.loss - cut.loss) < 1e-9)
        }
    }

    @Test func threadsChangeNoBit() throws {
        let model = try Material.model(.qwen2)
        let adapter = try Material.adapter(model, rank: 5, targets: [.q, .v, .down], rankStabilised: true)
        let one = try Material.gradient(
            Learner(model: model, pool: ComputePool(threads: 1)), Material.trees, adapter: adapter)
        let three = try Material.gradient(
            Learner(model: model, pool: ComputePool(threads: 3)), Material.trees, adapter: adapter)
        #expect(one.gradient == three.gradient)
        #expect(one.loss == three.loss)
    }

    /// The gradient of some projections is the same numbers whichever others are adapted by zero matrices.
    @Test func everySubsetOfProjectionsLearns() throws {
        let model = try Material.model()
        let learner = Learner(model: model, pool: ComputePool(threads: 1))
        for projection in Projection.allCases {
            let adapter = try Material.adapter(model, targets: [projection])
            let gradient = try Material.gradient(learner, Material.trees, adapter: adapter).gradient
            let all = AdapterLayout(
                settings: AdapterSettings(rank: 3, alpha: 6), shape: model.shape)
            var weights = [Float](repeating: 0, count: all.parameterCount)
            for (source, target) in zip(adapter.layout.pairs, all.pairs.filter { $0.projection == projection }) {
                let count = 3 * (source.input + source.output)
                weights.replaceSubrange(
                    target.offsetA..<target.offsetA + count,
                    with: adapter.weights[source.offsetA..<source.offsetA + count])
            }
            let padded = try Material.gradient(
                learner, Material.trees, adapter: Adapter(layout: all, weights: weights)
            ).gradient
            for (source, target) in zip(adapter.layout.pairs, all.pairs.filter { $0.projection == projection }) {
                let count = 3 * (source.input + source.output)
                let difference = zip(
                    gradient[source.offsetA..<source.offsetA + count], padded[target.offsetA..<target.offsetA + count]
                ).map { $0 - $1 }
                #expect(Material.norm(difference) < 1e-5 * Material.norm(gradient))
            }
        }
    }

    @Test func badTreesAreNamed() throws {
        let model = try Material.model()
        let learner = Learner(model: model, pool: ComputePool(threads: 1))
        func tree(_ prefix: [Int32], _ suffix: [Int32], path: Int, _ ids: [Int32]) -> PromptTree {
            PromptTree(prefixIds: prefix, suffixIds: [suffix], paths: [TreePath(suffix: path, completionIds: ids)])
        }
        for bad in [
            tree([], [], path: 0, [1]), tree([67], [], path: 0, [1]), tree([1], [-1], path: 0, [1]),
            tree([1], [2], path: 1, [1]), tree([1], [2], path: 0, [900]),
            tree([1], [2], path: 0, [Int32](repeating: 1, count: 255)),
        ] {
            #expect(throws: MMedError.self) { try learner.score([bad], adapter: nil) }
        }
        #expect(throws: MMedError.self) { try learner.score(Material.trees, adapter: nil, temperature: 0) }
        let other = try Material.adapter(LanguageModel(source: RandomModel(layers: 3)))
        #expect(throws: MMedError.self) { try learner.score(Material.trees, adapter: other) }
    }
}
