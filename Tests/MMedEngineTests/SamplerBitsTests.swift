import MMedCore
@testable import MMedEngine
import MMedFormats
import MMedTensor
import Testing

/// A path's bits depend on its slot and its adapter alone.
@Suite struct SamplerBitsTests {
    static func requests(_ count: Int, adapters: Int) -> [SampleRequest] {
        (0..<count).map { index in
            var request = SampleRequest(
                slotKey: UInt64(1000 + index), prefixIds: Material.ids(6 + index / 8 % 3, seed: UInt64(index / 8)),
                suffixIds: index % 4 == 3 ? [] : Material.ids(3, seed: UInt64(50 + index / 2 % 2)),
                adapter: index % (adapters + 1) == 0 ? nil : index % (adapters + 1) - 1,
                temperature: [0.7, 1, 0][index % 3], maxTokens: 5 + index % 14, stopTokenIds: [1, 2])
            if index % 5 == 1 { request.topK = 12 }
            if index % 5 >= 3 { request.topP = 0.8 }
            return request
        }
    }

    static func adapters(_ model: LanguageModel) throws -> [Adapter] {
        [
            try Material.adapter(model, rank: 3),
            try Material.adapter(model, rank: 8, seed: 5, targets: [.q, .v, .up]),
            try Material.adapter(model, rank: 1, seed: 6, rankStabilised: true),
        ]
    }

    @Test(arguments: [1, 2])
    func batchesOfOneSevenAndThirtySeven(threads: Int) throws {
        let model = try Material.model(.qwen2)
        let adapters = try SamplerBitsTests.adapters(model)
        let requests = SamplerBitsTests.requests(37, adapters: adapters.count)
        let pool = ComputePool(threads: threads)
        let reference = try Sampler(model: model, adapters: adapters, pool: ComputePool(threads: 1)).sample(requests)
        for batch in [1, 7, 37] {
            let sampler = Sampler(
                model: model, adapters: adapters, pool: pool,
                limits: Sampler.Limits(concurrentPaths: batch, promptRows: 4 + batch))
            for start in stride(from: 0, to: requests.count, by: batch) {
                let end = min(start + batch, requests.count)
                let results = try sampler.sample(Array(requests[start..<end]))
                #expect(results == Array(reference[start..<end]), "batch \(batch), slots from \(start)")
            }
        }
    }

    /// One slot of the real model among 0, 6 and 36 others.
    @Test func oneSlotOfTheRealModel() throws {
        let model = try RealModel.shared.get()
        var seen: [SampleResult] = []
        for threads in [1, 2] {
            let sampler = Sampler(model: model, pool: ComputePool(threads: threads))
            for batch in [1, 7, 37] {
                let requests = (0..<batch).map { index in
                    SampleRequest(
                        slotKey: UInt64(index == batch / 2 ? 0 : 100 + index),
                        prefixIds: Material.ids(9 + (index == batch / 2 ? 0 : index % 5), seed: 4, vocabulary: 40_000),
                        suffixIds: [5, 6], temperature: 0.8, maxTokens: 6, stopTokenIds: model.endTokenIds)
                }
                seen.append(try sampler.sample(requests)[batch / 2])
            }
        }
        #expect(Set(seen).count == 1)
    }

    /// The memory's size, the places and the prompt rows change the order of work, never a result.
    @Test func limitsChangeNoBit() throws {
        let model = try Material.model()
        let adapters = try SamplerBitsTests.adapters(model)
        let requests = SamplerBitsTests.requests(37, adapters: adapters.count)
        let pool = ComputePool(threads: 1)
        let reference = try Sampler(model: model, adapters: adapters, pool: pool).sample(requests)
        let rowBytes = model.config.layerCount * 2 * model.shape.keyValueWidth * 4
        for (places, rows, cacheRows) in [(37, 1, 40), (5, 1000, 64), (1, 3, 31), (12, 16, 200)] {
            let limits = Sampler.Limits(concurrentPaths: places, promptRows: rows, cacheBytes: cacheRows * rowBytes)
            let sampler = Sampler(model: model, adapters: adapters, pool: pool, limits: limits)
            var finished: [Int] = []
            let results = try sampler.sample(requests, onFinished: { index, _ in finished.append(index) })
            #expect(results == reference, "\(limits)")
            #expect(finished.sorted() == Array(0..<37))
        }
    }

    /// A row's adapter is its own: mixed batches give what each adapter gives alone.
    @Test func mixedAdaptersEqualSingleOnes() throws {
        let model = try Material.model()
        let adapters = try SamplerBitsTests.adapters(model)
        let requests = SamplerBitsTests.requests(24, adapters: adapters.count)
        let pool = ComputePool(threads: 2)
        let mixed = try Sampler(model: model, adapters: adapters, pool: pool).sample(requests)
        for (index, request) in requests.enumerated() {
            var alone = request
            alone.adapter = request.adapter.map { _ in 0 }
            let own = request.adapter.map { [adapters[$0]] } ?? []
            #expect(try Sampler(model: model, adapters: own, pool: pool).sample([alone])[0] == mixed[index])
        }
        #expect(Set(mixed.map(\.completionIds)).count > 12)
    }

    /// The learner gives a sampled path the very bits that the sampler reported.
    @Test(arguments: [false, true])
    func learnerScoresTheSameBits(onRealModel: Bool) throws {
        let model = onRealModel ? try RealModel.shared.get() : try Material.model(.qwen2)
        let layout = AdapterLayout(settings: AdapterSettings(rank: 4, alpha: 8), shape: model.shape)
        var weights = AdapterInitialiser.weights(layout: layout, seed: 3)
        let random = CounterRandom(key: 12)
        for index in weights.indices where weights[index] == 0 {
            weights[index] = Float(random.uniform(UInt64(index)) - 0.5) * 0.05
        }
        let adapter = try Adapter(layout: layout, weights: weights)
        let (prefix, suffixes) = (Material.ids(11, seed: 1), [Material.ids(4, seed: 2), Material.ids(5, seed: 3)])
        let temperature: Float = 0.9
        let requests = (0..<6).map { index in
            SampleRequest(
                slotKey: UInt64(index), prefixIds: prefix, suffixIds: suffixes[index % 2], adapter: 0,
                temperature: temperature, topP: index == 5 ? 0.7 : 1, maxTokens: 12, stopTokenIds: [1, 2])
        }
        let results = try Sampler(model: model, adapters: [adapter], pool: ComputePool(threads: 2)).sample(requests)
        let tree = PromptTree(
            prefixIds: prefix, suffixIds: suffixes,
            paths: results.enumerated().map { TreePath(suffix: $0.offset % 2, completionIds: $0.element.completionIds) }
        )
        for threads in [1, 2] {
            let learner = Learner(model: model, pool: ComputePool(threads: threads))
            let scored = try learner.score([tree], adapter: adapter, temperature: temperature)[0]
            #expect(scored == results.map(\.logprobs))
            let gradient = FloatBuffer(count: layout.parameterCount)
            var seen: [[Float]] = []
            _ = try learner.addGradient(of: [tree], adapter: adapter, temperature: temperature, to: gradient) {
                tree, path, logprobs in
                seen.append(logprobs)
                return Material.loss(tree: tree, path: path, logprobs: logprobs)
            }
            #expect(Set(seen) == Set(scored))
        }
    }
}
