import MMedCore
import MMedEngine
import MMedProtocol
import MMedStore
import MMedTensor
import Testing

@testable import MMedAssembly

/// What the native engine sings.
@Suite struct CanaryTests {
    @Test func itIsTheLogProbOfWhatIsLoadedWhateverTheThreads() async throws {
        let scratch = try Scratch()
        let host = try Material.host(in: scratch)
        let layout = AdapterLayout(settings: AdapterSettings(rank: 3, alpha: 6), shape: host.shape)
        let engines = try [1, 2].map { try NativeWorkerEngine(host: host, threads: $0, concurrentPaths: 4) }
        let ids: [Int32] = [3, 9, 4, 1, 7, 7, 2, 5]
        func load(_ weights: [Float], version: Int) throws -> AdapterReference {
            let content = AdapterContent.bytes(layout, weights)
            let reference = AdapterReference(
                name: try name("pediatrics"), version: version, digest: ContentDigest.of(content))
            for engine in engines { try engine.load(reference, content: content) }
            return reference
        }
        let zero = try load([Float](repeating: 0, count: layout.parameterCount), version: 0)
        let first = try load(noise(layout.parameterCount, seed: 1, size: 0.1), version: 1)
        let second = try load(noise(layout.parameterCount, seed: 2, size: 0.1), version: 2)
        var numbers: [Double] = []
        for adapter in [nil, zero, first, second] {
            let sung = try await engines[0].canary(ids, adapter: adapter)
            #expect(try await engines[1].canary(ids, adapter: adapter) == sung)
            numbers.append(sung)
        }
        #expect(numbers[0] == numbers[1], "an adapter of zeros is the base model")
        #expect(abs(numbers[2] - numbers[0]) > Limits.canaryDifference)
        #expect(abs(numbers[3] - numbers[2]) > Limits.canaryDifference)
        let scored = try Learner(model: engines[0].model, pool: ComputePool(threads: 1)).score(
            [
                PromptTree(
                    prefixIds: Array(ids[..<1]), suffixIds: [Array(ids[1..<2])],
                    paths: [TreePath(suffix: 0, completionIds: Array(ids[2...]))])
            ], adapter: nil)[0][0]
        #expect(scored.reduce(0) { $0 + Double($1) } == numbers[0])
        await #expect(throws: MMedError.self) {
            _ = try await engines[0].canary(
                ids, adapter: AdapterReference(name: first.name, version: 9, digest: first.digest))
        }
    }
}
