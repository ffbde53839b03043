import Foundation
import MMedCore
import MMedProtocol
import MMedScheduling
import MMedStore
import Testing

@testable import MMedAssembly

/// What workers may pull: whole, unknown, or the end of the run.
@Suite struct RunStoreTests {
    private let scratch: Scratch
    private let folder: RunFolder
    private let journal: Journal

    init() throws {
        scratch = try Scratch()
        folder = try RunFolder(path: scratch.path + "/run")
        journal = try Journal(new: folder)
    }

    /// A store as a process begins with it: nothing is in memory.
    private func store() -> RunStore {
        RunStore(
            folder: folder, journal: journal, planDigest: ContentDigest.of([1]), baseModel: "model",
            updatesPerStep: 1)
    }

    private func path(_ digest: Digest) -> String { scratch.path + "/run/blobs/" + digest.hex }

    @Test func whatNobodyPutIsUnknownAndWhatWasPutIsServed() throws {
        let digest = try store().put([1, 2, 3])
        #expect(try store().blob(digest) == [1, 2, 3])
        #expect(try store().blob(ContentDigest.of([9])) == nil)
    }

    /// What an update of the journal made is kept at a start, whole blobs alone, and goes when it is not the newest any more.
    @Test func aStartKeepsWhatUpdatesBeyondTheCheckpointMade() throws {
        let former = store()
        let adapter = try #require(Name("adapter"))
        let (weights, moments, lost, other) = (
            try former.put([1, 2, 3]), try former.put([4, 5]), try former.put([6]), try former.put([7])
        )
        try Data([0]).write(to: URL(filePath: path(lost)))
        func update(_ digest: Digest, _ moments: Digest) -> RecordedUpdate {
            let base = AdapterReference(name: adapter, version: 0, digest: other)
            let head = AdapterHead(
                reference: AdapterReference(name: adapter, version: 1, digest: digest), momentsDigest: moments,
                optimizerSteps: 1)
            return RecordedUpdate(
                place: StepPlace(stage: 0, track: 0, step: 0), update: 0, base: base,
                result: UpdateResult(
                    head: head,
                    numbers: UpdateNumbers(
                        learningRate: 0, beta1: 0, beta2: 0, epsilon: 0, weightDecay: 0, biasCorrection1: 1,
                        biasCorrection2: 1, clipFactor: 1), gradientDigest: other, gradientNorm: 0), examples: [])
        }
        let next = store()
        let kept = next.clean(RunState(heads: []), [], keeping: [update(weights, moments), update(lost, moments)])
        #expect(kept == [weights, moments])
        let names = Set(try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/run/blobs"))
        #expect(names == [weights.hex, moments.hex])
        #expect(try next.blob(weights) == [1, 2, 3])
        func isThere() -> Bool { FileManager.default.fileExists(atPath: path(weights)) }
        /// A state of so many updates, which rests on a blob of its own.
        func state(_ version: Int) throws -> RunState {
            let digest = try next.put([UInt8(100 + version)], of: adapter)
            let head = AdapterReference(name: adapter, version: version, digest: digest)
            return RunState(heads: [AdapterHead(reference: head, momentsDigest: nil, optimizerSteps: 0)])
        }
        for version in [0, 1, 2, 3] {
            #expect(isThere(), "a state before it may be gone back to")
            try next.save(state(version))
        }
        #expect(!isThere(), "three states have it behind them")
    }

    /// A run may go back to each of the three newest states, so all that they rest on stays, and goes with them.
    @Test func whatTheNewestThreeStatesRestOnIsKept() throws {
        let adapter = try #require(Name("adapter"))
        func state(_ digest: Digest) -> RunState {
            let reference = AdapterReference(name: adapter, version: 1, digest: digest)
            return RunState(heads: [AdapterHead(reference: reference, momentsDigest: nil, optimizerSteps: 1)])
        }
        func isThere(_ digest: Digest) -> Bool { FileManager.default.fileExists(atPath: path(digest)) }
        let former = store()
        let digests = try (0..<4).map { try former.put([UInt8($0)]) }
        let next = store()
        _ = next.clean(state(digests[2]), [state(digests[1]), state(digests[0])], keeping: [])
        #expect(digests.map(isThere) == [true, true, true, false])
        let newer = try (10..<12).map { try next.put([UInt8($0)], of: adapter) }
        try next.save(state(newer[0]))
        #expect(digests.map(isThere) == [false, true, true, false])
        try next.save(state(newer[1]))
        #expect(digests.map(isThere) == [false, false, true, false] && newer.allSatisfy(isThere))
        // Nothing goes on from a run that is complete but its states.
        let open = try next.put([99], of: adapter)
        next.finish()
        #expect(!isThere(open) && isThere(digests[2]) && newer.allSatisfy(isThere))
    }

    /// A run that is stopped between two steps saves the same state again.
    @Test func theSameStateIsSavedOnce() throws {
        let store = store()
        var state = RunState(heads: [])
        for epoch: UInt64 in [1, 2, 2, 2] {
            state.epoch = epoch
            try store.save(state)
        }
        #expect(try RunFolder.loadCheckpoints(path: folder.path).map(\.number) == [2, 1])
    }

    /// What a run begins with is in no checkpoint that the store wrote.
    @Test func whatTheFirstStateRestsOnIsKept() throws {
        let adapter = try #require(Name("adapter"))
        let store = store()
        let first = try store.put([1])
        let reference = AdapterReference(name: adapter, version: 0, digest: first)
        var state = RunState(heads: [AdapterHead(reference: reference, momentsDigest: nil, optimizerSteps: 0)])
        store.hold([state])
        for value in 10..<UInt8(60) { state.heads[0].reference.digest = try store.put([value]) }
        try store.save(state)
        #expect(FileManager.default.fileExists(atPath: path(first)))
    }

    @Test func aDamagedBlobIsAnErrorThatNamesItsFile() throws {
        let digest = try store().put([1, 2, 3])
        try Data([1, 2, 4]).write(to: URL(filePath: path(digest)))
        let error = try #require(throws: MMedError.self) { try store().blob(digest) }
        #expect(error.kind == .badData && "\(error)".contains(digest.hex), "\(error)")
    }

    @Test func aBlobThatThisProcessPutAndThatIsGoneIsAnError() throws {
        let store = store()
        let digest = try store.put([1, 2, 3])
        try FileManager.default.removeItem(atPath: path(digest))
        // The newest are open until others push them out.
        #expect(try store.blob(digest) == [1, 2, 3])
        for value in 0..<UInt8(64) { _ = try store.put([value]) }
        #expect(throws: MMedError.self) { try store.blob(digest) }
    }

    /// The merged adapter's rank is its own; the folder is made of the blob alone, so a process that goes on can make it again.
    @Test func aLostOrChangedFolderIsFoundAndWrittenAgain() throws {
        let host = try Material.host(in: scratch)
        let layout = AdapterLayout(settings: AdapterSettings(rank: 2, alpha: 4), shape: host.shape)
        let values = noise(layout.parameterCount, seed: 7, size: 0.1)
        var state = RunState(heads: [])
        let content = AdapterContent.bytes(layout, values)
        let digest = try store().put(content)
        state.merged = AdapterReference(name: try #require(Name("merged")), version: 0, digest: digest)
        let adapter = try #require(ExportedAdapter.all(in: state).first)
        let below = scratch.path + "/run"
        let blob = try store().requireFile(digest)
        func verify() throws { try adapter.verify(below: below, blob: blob, baseModel: "model") }
        func expectRefusal(_ file: String, _ word: String) throws {
            let error = try #require(throws: MMedError.self) { try verify() }
            #expect(error.kind == .badData && error.place.hasSuffix(file) && error.problem.contains(word), "\(error)")
        }
        try expectRefusal("merged/adapter_config.json", "missing")
        try store().export(state)
        try verify()
        let weights = below + "/merged/adapter_model.safetensors"
        var bytes = try Data(contentsOf: URL(filePath: weights))
        bytes[bytes.count - 1] ^= 0x80
        try bytes.write(to: URL(filePath: weights))
        try expectRefusal("merged/adapter_model.safetensors", "lora_B.weight is not what the run wrote")
        try Data([0]).write(to: URL(filePath: weights))
        try expectRefusal("merged/adapter_model.safetensors", "damaged")
        try store().export(state)
        let config = below + "/merged/adapter_config.json"
        try Data("{}".utf8).write(to: URL(filePath: config))
        try expectRefusal("merged/adapter_config.json", "not what the run wrote")
        try store().export(state)
        try verify()
        // What is whole stays the file that it is: somebody may be reading it.
        func number() throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: weights)[.systemFileNumber] as? Int
        }
        let before = try #require(try number())
        try store().export(state)
        #expect(try number() == before)
    }
}
