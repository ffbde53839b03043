import Foundation
import MMedAlgorithms
import MMedCore
import MMedEngine
import MMedTensor

/// The `bench` command: the learner's and the sampler's speed on the shapes that other systems are measured on.
public enum BenchTool {
    /// One row: what was done, tokens a second of wall time and of processor time (tokens / (processor seconds / threads)).
    struct Row {
        var name: String
        var tokens: Int
        var seconds: Double
        var processorSeconds: Double

        func text(threads: Int) -> String {
            let wall = Double(tokens) / seconds
            let free = Double(tokens) * Double(threads) / processorSeconds
            return String(
                format: "%-52@ %8.1f tok/s wall  %8.1f tok/s if the cores were free  (%d tokens, %.1f s)",
                name as NSString, wall, free, tokens, seconds)
        }
    }

    /// Measures `rounds` times and says each row as it is there.
    public static func run(model: String, threads: Int, rounds: Int, say: (String) -> Void) throws {
        let loaded = try LoadedModel(model: model, adapter: nil, threads: threads)
        let layout = AdapterLayout(settings: AdapterSettings(rank: 16, alpha: 32), shape: loaded.model.shape)
        let adapter = try Adapter(layout: layout, weights: AdapterInitialiser.weights(layout: layout, seed: 1))
        for _ in 0..<rounds {
            say(try learning(loaded, adapter).text(threads: threads))
            say(try sampling(loaded, adapter, paths: 32).text(threads: threads))
            say(try sampling(loaded, adapter, paths: 1).text(threads: threads))
        }
        say("peak memory: \(peakMegabytes()) MB")
    }

    private static func learning(_ loaded: LoadedModel, _ adapter: Adapter) throws -> Row {
        let learner = Learner(model: loaded.model, pool: loaded.pool)
        let trees = (0..<16).map { index in
            PromptTree(
                prefixIds: ids(1, seed: index, loaded), suffixIds: [[]],
                paths: [TreePath(suffix: 0, completionIds: ids(255, seed: 100 + index, loaded))])
        }
        let gradient = FloatBuffer(count: adapter.layout.parameterCount)
        let weight = supervisedTokenWeight(updateTokens: 16 * 255)
        var state = AdamWState(weights: adapter.weights)
        return try timed("learner, 16 x 256 tokens, r=16 all-linear, fp32", tokens: 16 * 256) {
            _ = try learner.addGradient(of: trees, adapter: adapter, to: gradient) { _, _, logprobs in
                try supervisedLoss(
                    new: logprobs.map(Double.init), tokenWeights: logprobs.map { _ in weight })
            }
            try state.apply(
                gradient: gradient.array(),
                step: AdamWStep(
                    learningRate: 1e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, gradientScale: 1,
                    biasCorrection1: 0.1, biasCorrection2: 0.001), pool: loaded.pool)
        }
    }

    private static func sampling(_ loaded: LoadedModel, _ adapter: Adapter, paths: Int) throws -> Row {
        let sampler = Sampler(model: loaded.model, adapters: [adapter], pool: loaded.pool)
        let prefix = ids(128, seed: 7, loaded)
        let requests = (0..<paths).map { index in
            SampleRequest(
                slotKey: UInt64(index), prefixIds: prefix, suffixIds: [], adapter: 0, maxTokens: 64, stopTokenIds: [])
        }
        return try timed("sampler, \(paths) x 64 tokens, one prompt of 128, r=16", tokens: 64 * paths) {
            _ = try sampler.sample(requests)
        }
    }

    private static func timed(_ name: String, tokens: Int, _ body: () throws -> Void) throws -> Row {
        let (started, processor) = (ContinuousClock.now, processorSeconds())
        try body()
        let elapsed = (ContinuousClock.now - started) / .nanoseconds(1) * 1e-9
        return Row(
            name: name, tokens: tokens, seconds: elapsed, processorSeconds: processorSeconds() - processor)
    }

    private static func ids(_ count: Int, seed: Int, _ loaded: LoadedModel) -> [Int32] {
        let random = CounterRandom(key: UInt64(seed))
        return (0..<count).map { Int32(random.uniform(UInt64($0)) * Double(loaded.host.tokenizer.vocabularySize)) }
    }

    static func processorSeconds() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let micro = Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6
        return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + micro
    }

    private static func peakMegabytes() -> Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Int(usage.ru_maxrss) / 1_024
    }
}
