import Foundation
import MMedCoordinator
import MMedConfig
import MMedCore
import MMedEngine
import MMedFormats
import MMedProtocol
import MMedScheduling
import MMedStore
import MMedTensor
import Testing

@testable import MMedAssembly

/// The coordinator's reference copy and the learners' replicas must reach the same bits.
@Suite struct OptimizerTests {
    private struct Bench {
        let scratch: Scratch
        let host: ModelHost
        let layout: AdapterLayout
        let store: RunStore
        let specialty: Name
        var head: AdapterHead

        init() throws {
            scratch = try Scratch()
            host = try Material.host(in: scratch)
            specialty = try name("pediatrics")
            layout = AdapterLayout(settings: AdapterSettings(rank: 3, alpha: 6), shape: host.shape)
            let folder = try RunFolder(path: scratch.path + "/run")
            store = RunStore(
                folder: folder, journal: try Journal(new: folder), planDigest: ContentDigest.of([1]),
                baseModel: "model", updatesPerStep: 1)
            let digest = try store.put(
                AdapterContent.bytes(layout, noise(layout.parameterCount, seed: 1, size: 0.1)))
            head = AdapterHead(
                reference: AdapterReference(name: specialty, version: 0, digest: digest), momentsDigest: nil,
                optimizerSteps: 0)
        }

        func optimizer(_ settings: OptimizerConfig = OptimizerConfig(), threads: Int = 1) -> ReferenceOptimizer {
            ReferenceOptimizer(layouts: [specialty: layout], settings: settings, store: store, threads: threads)
        }

        func order(_ step: Int32, from base: AdapterHead) -> UpdateOrder {
            let shards = (0..<3).map { ShardID(stage: 1, track: 0, step: step, update: 0, shard: $0) }
            return UpdateOrder(shards: shards, base: base, learningRate: 0.01)
        }

        func gradients(_ step: UInt64, size: Double = 1) throws -> [any ScratchBytes] {
            try (0..<3).map {
                try scratch(LittleEndian.bytes(of: noise(layout.parameterCount, seed: 100 * step + $0, size: size)))
            }
        }

        func scratch(_ bytes: [UInt8]) throws -> any ScratchBytes {
            let scratch = try store.scratch()
            try scratch.append(bytes)
            return scratch
        }

        func announcement(_ base: AdapterHead, _ applied: AppliedUpdate) throws -> UpdateAnnouncement {
            UpdateAnnouncement(
                base: base.reference, result: applied.result.head.reference, numbers: applied.result.numbers,
                gradientDigest: applied.result.gradientDigest,
                momentsDigest: try #require(applied.result.head.momentsDigest))
        }
    }

    @Test(arguments: [0.0, 0.5])
    func replicasFollowTheReferenceBitForBit(weightDecay: Double) async throws {
        let bench = try Bench()
        var settings = OptimizerConfig()
        settings.weightDecay = weightDecay
        let optimizer = bench.optimizer(settings)
        let first = try NativeWorkerEngine(host: bench.host, threads: 1, concurrentPaths: 4)
        let second = try NativeWorkerEngine(host: bench.host, threads: 2, concurrentPaths: 4)
        for engine in [first, second] {
            try engine.load(bench.head.reference, content: try bench.store.content(of: bench.head.reference.digest))
        }
        var head = bench.head
        for step in 1...4 {
            let applied = try await optimizer.apply(
                bench.order(Int32(step), from: head), gradients: bench.gradients(UInt64(step)))
            #expect(applied.result.head.reference.version == step)
            #expect(applied.result.head.optimizerSteps == step)
            #expect(try applied.result.gradientDigest == ContentDigest.of(applied.gradient.allBytes()))
            let update = try bench.announcement(head, applied)
            for engine in [first, second] {
                #expect(engine.canApply(update))
                let reached = try await engine.apply(update, gradient: applied.gradient.allBytes())
                #expect(reached == update.result, "step \(step)")
            }
            head = applied.result.head
        }
        // A learner that comes late takes weights and moments from the disk and goes on with the others.
        let late = try NativeWorkerEngine(host: bench.host, threads: 1, concurrentPaths: 4)
        try late.load(head.reference, content: try bench.store.content(of: head.reference.digest))
        let applied = try await optimizer.apply(bench.order(5, from: head), gradients: bench.gradients(5))
        let update = try bench.announcement(head, applied)
        #expect(!late.canApply(update), "its moments are missing")
        try late.loadMoments(head.reference, content: try bench.store.content(of: try #require(head.momentsDigest)))
        #expect(late.canApply(update))
        #expect(try await late.apply(update, gradient: applied.gradient.allBytes()) == update.result)
    }

    @Test func aRestartedReferenceGoesOnFromTheDisk() async throws {
        let bench = try Bench()
        let whole = bench.optimizer()
        var head = bench.head
        var heads: [AdapterHead] = []
        for step in 1...3 {
            head = try await whole.apply(
                bench.order(Int32(step), from: head), gradients: bench.gradients(UInt64(step))
            ).result.head
            heads.append(head)
        }
        let again = bench.optimizer(threads: 2)
        let third = try await again.apply(bench.order(3, from: heads[1]), gradients: bench.gradients(3))
        #expect(third.result.head == heads[2])
    }

    @Test func aLargeGradientIsClippedToItsNorm() async throws {
        let bench = try Bench()
        var settings = OptimizerConfig()
        settings.gradientClipNorm = 0.5
        let large = try await bench.optimizer(settings).apply(
            bench.order(1, from: bench.head), gradients: bench.gradients(1))
        #expect(large.result.gradientNorm > 1)
        #expect(abs(large.result.numbers.clipFactor * large.result.gradientNorm - 0.5) < 1e-6)
        settings.gradientClipNorm = 1e9
        let free = try await bench.optimizer(settings).apply(
            bench.order(1, from: bench.head), gradients: bench.gradients(1))
        #expect(free.result.numbers.clipFactor == 1)
    }

    @Test func whatIsNotFiniteChangesNothing() async throws {
        let bench = try Bench()
        let optimizer = bench.optimizer()
        for value in [Float.nan, .infinity] {
            var poisoned = noise(bench.layout.parameterCount, seed: 2)
            poisoned[17] = value
            let bytes = try bench.scratch(LittleEndian.bytes(of: poisoned))
            #expect(try !optimizer.isFinite(bytes))
            await #expect(throws: (any Error).self) {
                _ = try await optimizer.apply(
                    bench.order(1, from: bench.head), gradients: [bench.gradients(1)[0], bytes])
            }
        }
        #expect(try optimizer.isFinite(bench.gradients(1)[0]))
        #expect(optimizer.gradientBytes(of: bench.specialty) == 4 * bench.layout.parameterCount)
        #expect(optimizer.gradientBytes(of: try name("cardiology")) == nil)
        // The refused orders left no trace.
        let after = try await optimizer.apply(bench.order(1, from: bench.head), gradients: bench.gradients(1))
        let fresh = try await bench.optimizer().apply(bench.order(1, from: bench.head), gradients: bench.gradients(1))
        #expect(after.result == fresh.result)
    }

    /// A gradient of several pieces: what is read, summed, measured and applied piece by piece is the step on whole vectors.
    @Test func piecesMakeTheStepOfTheWhole() async throws {
        let bench = try Bench()
        let shape = ModelShape(
            layerCount: 8, hiddenSize: 513, queryWidth: 512, keyValueWidth: 256, intermediateSize: 1025)
        let layout = AdapterLayout(settings: AdapterSettings(rank: 8, alpha: 16), shape: shape)
        #expect(layout.parameterCount > 2 * 16 * squaresBlock && layout.parameterCount % squaresBlock != 0)
        let start = noise(layout.parameterCount, seed: 1, size: 0.1)
        let digest = try bench.store.put(AdapterContent.parts(layout, start))
        #expect(digest == ContentDigest.of(AdapterContent.bytes(layout, start)))
        let head = AdapterHead(
            reference: AdapterReference(name: bench.specialty, version: 0, digest: digest), momentsDigest: nil,
            optimizerSteps: 0)
        let optimizer = ReferenceOptimizer(
            layouts: [bench.specialty: layout], settings: OptimizerConfig(), store: bench.store, threads: 2)
        let shards = (0..<3).map { noise(layout.parameterCount, seed: 10 + $0) }
        var gradients = try shards.map { try bench.scratch(LittleEndian.bytes(of: $0)) }
        let applied = try await optimizer.apply(bench.order(1, from: head), gradients: gradients)

        var sum = [Float](repeating: 0, count: layout.parameterCount)
        for shard in shards { for index in sum.indices { sum[index] += shard[index] } }
        #expect(applied.result.gradientNorm == UpdateMath.globalNorm(sum))
        #expect(try applied.gradient.allBytes() == LittleEndian.bytes(of: sum))
        #expect(applied.result.gradientDigest == ContentDigest.of(LittleEndian.bytes(of: sum)))
        var state = AdamWState(weights: start)
        try state.apply(
            gradient: sum, step: AdamWNumbers.step(applied.result.numbers), pool: ComputePool(threads: 1))
        let content = AdapterContent.bytes(layout, state.weights)
        #expect(applied.result.head.reference.digest == ContentDigest.of(content))
        let moments = LittleEndian.bytes(of: state.firstMoment) + LittleEndian.bytes(of: state.secondMoment)
        #expect(applied.result.head.momentsDigest == ContentDigest.of(moments))

        // The last number of the last piece counts as the first one does.
        var last = [Float](repeating: 0, count: layout.parameterCount)
        last[layout.parameterCount - 1] = .nan
        gradients[2] = try bench.scratch(LittleEndian.bytes(of: last))
        #expect(try !optimizer.isFinite(gradients[2]))
        await #expect(throws: NonFiniteUpdate.self) {
            _ = try await optimizer.apply(bench.order(2, from: applied.result.head), gradients: gradients)
        }
        // A gradient of another length is nobody's.
        let short = try bench.scratch([0, 0, 0, 0])
        await #expect(throws: MMedError.self) {
            _ = try await optimizer.apply(bench.order(2, from: applied.result.head), gradients: [short])
        }
    }

    /// An update that would make the weights infinite is found when the state in memory has been changed: the next one begins
    /// with the disk's.
    @Test func anUpdateThatOverflowsLeavesTheStateAsItWas() async throws {
        let bench = try Bench()
        let optimizer = bench.optimizer()
        var head = bench.head
        for step in 1...2 {
            head = try await optimizer.apply(
                bench.order(Int32(step), from: head), gradients: bench.gradients(UInt64(step))
            ).result.head
        }
        var order = bench.order(3, from: head)
        order.learningRate = 1e39
        await #expect(throws: NonFiniteUpdate.self) {
            _ = try await optimizer.apply(order, gradients: bench.gradients(3))
        }
        let after = try await optimizer.apply(bench.order(3, from: head), gradients: bench.gradients(3))
        let fresh = try await bench.optimizer().apply(bench.order(3, from: head), gradients: bench.gradients(3))
        #expect(after.result == fresh.result)
    }

    @Test func theOrderOfShardsIsTheOrderOfTheSum() async throws {
        let bench = try Bench()
        let shards = try bench.gradients(1)
        let parts = try shards.map { try $0.allBytes() }
        let sum = try LittleEndian.floats(of: parts[0][...], place: "a").indices.map { index -> Float in
            var value: Float = 0
            for part in parts {
                value += try LittleEndian.floats(of: part[(4 * index)..<(4 * index + 4)], place: "a")[0]
            }
            return value
        }
        let applied = try await bench.optimizer().apply(bench.order(1, from: bench.head), gradients: shards)
        #expect(try applied.gradient.allBytes() == LittleEndian.bytes(of: sum))
    }

    @Test func theStoreKeepsWhatACheckpointNamesAndWritesFolders() throws {
        let bench = try Bench()
        var state = RunState(heads: [bench.head])
        state.stageHeads = [StageHead(stage: "dsa", reference: bench.head.reference)]
        // The weights of a step's first update wait for its second one while other adapters move on.
        let open = try bench.store.put([1, 2, 3], of: bench.specialty)
        let stray = (0..<40).map { index in Array("stray \(index)".utf8) }
        let digests = try stray.map { try bench.store.put($0) }
        try bench.store.save(state)
        #expect(try bench.store.blob(bench.head.reference.digest) != nil)
        #expect(try bench.store.blob(open) == [1, 2, 3], "the base of the next update was removed")
        #expect(try bench.store.blob(digests[0]) == nil, "an old blob that nothing names stays")
        #expect(try bench.store.blob(digests[39]) == stray[39], "a new blob was removed before it could be named")
        let loaded = try bench.store.folder.loadCheckpoint()
        #expect(loaded.state == state)
        let folder = try AdapterFolder.read(
            bench.scratch.path + "/run/adapters/pediatrics/v0", shape: bench.host.shape)
        #expect(folder.layout == bench.layout)
        #expect(folder.values == noise(bench.layout.parameterCount, seed: 1, size: 0.1))
    }
}
