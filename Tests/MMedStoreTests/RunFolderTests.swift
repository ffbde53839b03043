import Foundation
import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedStore

/// A folder of its own for each test, removed when the test ends.
private final class Scratch {
    let path: String
    init() {
        path = NSTemporaryDirectory() + "mmed-store-\(UUID().uuidString)"
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }
}

private func sampleState() throws -> RunState {
    let digest = try #require(Digest(bytes: (0..<32).map { UInt8($0) }))
    let name = try #require(Name("pediatrics"))
    let reference = AdapterReference(name: name, version: 7, digest: digest)
    var state = RunState(heads: [AdapterHead(reference: reference, momentsDigest: digest, optimizerSteps: 7)])
    state.stage = 3
    state.tracks = [TrackProgress(committedSteps: 2, blend: BlendState(noise: 0.1 + 0.2, spread: 1.0 / 3))]
    state.tracks[0].start = reference
    state.tracks[0].recent = [reference]
    state.stageHeads = [StageHead(stage: "dsa", reference: reference)]
    state.merged = reference
    state.evaluations = [
        EvaluationRecord(
            stage: "eval-base", specialty: name,
            paths: [
                EvaluatedPath(
                    question: "q", prompt: "plain", answer: "yes", strictCorrect: true, lenientCorrect: true,
                    parsed: "yes", lenient: "yes", choice: nil, reward: 1.1, tokens: 12)
            ])
    ]
    state.epoch = 4
    return state
}

private func withEpoch(_ epoch: UInt64, _ state: RunState) -> RunState {
    var state = state
    state.epoch = epoch
    return state
}

@Suite struct RunFolderTests {
    @Test func sha256MatchesTheStandardsExamples() {
        // FIPS 180-4 examples: the empty message and "abc".
        #expect(ContentDigest.of([]).hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(
            ContentDigest.of(Array("abc".utf8)).hex
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    @Test func aCheckpointReadsBackEqualToTheBit() throws {
        let scratch = Scratch()
        let folder = try RunFolder(path: scratch.path)
        let state = try sampleState()
        let plan = ContentDigest.of([1])
        let head = JournalHead(sequence: 41, chain: ContentDigest.of([2]))
        for _ in 0..<5 { try folder.saveCheckpoint(state, planDigest: plan, journal: head) }
        let loaded = try folder.loadCheckpoint()
        #expect(loaded.state == state)
        #expect(loaded.planDigest == plan)
        #expect(loaded.number == 5)
        #expect(loaded.journal == head)
        let files = try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/checkpoints").sorted()
        #expect(files == ["3.json", "4.json", "5.json"])
    }

    @Test func aDamagedCheckpointIsRefused() throws {
        let scratch = Scratch()
        let folder = try RunFolder(path: scratch.path)
        try folder.saveCheckpoint(
            try sampleState(), planDigest: ContentDigest.of([]),
            journal: JournalHead(sequence: 0, chain: ContentDigest.of([])))
        let file = scratch.path + "/checkpoints/1.json"
        var bytes = [UInt8](try #require(FileManager.default.contents(atPath: file)))
        bytes[bytes.count / 2] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        #expect(throws: MMedError.self) { try folder.loadCheckpoint() }
    }

    /// Five states of a run whose epoch grows, each of which rests on a blob of its own.
    private func fiveStates(_ folder: RunFolder) throws -> [RunState] {
        let states = try (1...5).map { number in
            var state = try sampleState()
            let digest = try folder.putBlob([UInt8(number)])
            state.heads[0].reference.digest = digest
            state.heads[0].momentsDigest = try folder.putBlob([0])
            state.tracks[0].start = nil
            state.tracks[0].recent = []
            (state.stageHeads, state.merged) = ([], nil)
            state.epoch = UInt64(number)
            return state
        }
        for (place, state) in states.enumerated() {
            let head = JournalHead(sequence: Int64(place), chain: ContentDigest.of([UInt8(place)]))
            try folder.saveCheckpoint(state, planDigest: ContentDigest.of([]), journal: head)
        }
        return states
    }

    private func write(_ text: String, to path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    @Test func theNewestWholeStateIsFound() throws {
        let scratch = Scratch()
        let folder = try RunFolder(path: scratch.path)
        var states = try fiveStates(folder)
        var found = try folder.loadNewestWhole()
        #expect(found.checkpoint.state == states[4] && found.damaged.isEmpty)
        #expect(found.older.map(\.number) == [4, 3])

        try write("{}", to: scratch.path + "/checkpoints/5.json")
        found = try folder.loadNewestWhole()
        // Fences of any former process stay older than those of the next one.
        states = states.map { withEpoch(5, $0) }
        #expect(found.checkpoint.state == states[3] && found.checkpoint.number == 4)
        #expect(found.checkpoint.journal.sequence == 3)
        #expect(found.damaged.map(\.number) == [5])
        #expect(found.damaged.map(\.error.place) == [scratch.path + "/checkpoints/5.json"])
        #expect(throws: MMedError.self) { try folder.loadCheckpoint() }

        folder.remove([states[3].heads[0].reference.digest])
        found = try folder.loadNewestWhole()
        #expect(found.checkpoint.state == states[2] && found.damaged.map(\.number) == [5, 4] && found.older.isEmpty)

        try write("", to: scratch.path + "/checkpoints/3.json")
        let error = #expect(throws: MMedError.self) { try folder.loadNewestWhole() }
        #expect(error?.place == scratch.path + "/checkpoints/5.json")
    }

    @Test func anOlderStateOfWhichABlobIsDamagedIsNotGoneBackTo() throws {
        let scratch = Scratch()
        let folder = try RunFolder(path: scratch.path)
        let states = try fiveStates(folder)
        try write("9", to: scratch.path + "/blobs/" + states[3].heads[0].reference.digest.hex)
        let found = try folder.loadNewestWhole()
        #expect(found.checkpoint.number == 5 && found.older.map(\.number) == [3])
        #expect(found.oldest.heads == states[2].heads && found.damaged.map(\.number) == [4])
    }

    /// What a start writes is a copy of what it read: it takes the place of that, and pushes nothing whole out.
    @Test(arguments: [[], [5], [4], [5, 4], [3]]) func aStartKeepsEveryWholeState(damaged: [Int]) throws {
        let scratch = Scratch()
        let folder = try RunFolder(path: scratch.path)
        let states = try fiveStates(folder)
        for number in damaged { try write("{}", to: scratch.path + "/checkpoints/\(number).json") }
        let head = JournalHead(sequence: 9, chain: ContentDigest.of([]))
        let whole = [5, 4, 3].filter { !damaged.contains($0) }
        for number in 6...7 {
            let found = try folder.loadNewestWhole()
            try folder.saveCheckpoint(
                found.checkpoint.state, planDigest: ContentDigest.of([]), journal: head, inPlaceOf: found)
            let kept = try RunFolder.loadCheckpoints(path: scratch.path).map { try $0.state.get() }
            #expect(kept.map(\.number) == [number] + whole.dropFirst())
            #expect(kept[0].state.heads == states[whole[0] - 1].heads)
            let files = try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/checkpoints")
            #expect(Set(files) == Set(kept.map { "\($0.number).json" }), "a state that nobody names is left")
        }
    }

    /// The format before the states before the newest were named.
    @Test func aManifestOfTheFormerFormatIsRead() throws {
        let scratch = Scratch()
        let folder = try RunFolder(path: scratch.path)
        let states = try fiveStates(folder)
        let path = scratch.path + "/checkpoint.json"
        let data = try #require(FileManager.default.contents(atPath: path))
        var manifest = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        func rewrite(format: Int) throws {
            (manifest["format"], manifest["former"], manifest["sha256OfThis"]) = (format, nil, nil)
            func bytes() throws -> Data {
                try JSONSerialization.data(withJSONObject: manifest, options: [.sortedKeys, .withoutEscapingSlashes])
            }
            manifest["sha256OfThis"] = ContentDigest.of([UInt8](try bytes())).hex
            try bytes().write(to: URL(fileURLWithPath: path))
        }
        try rewrite(format: 2)
        let found = try folder.loadNewestWhole()
        #expect(found.checkpoint.state == states[4] && found.older.isEmpty)
        try rewrite(format: 4)
        let error = #expect(throws: MMedError.self) { try folder.loadNewestWhole() }
        #expect(error?.problem == "format 4, this program reads 2 and 3")
    }

    @Test func aSecondOwnerIsTurnedAway() throws {
        let scratch = Scratch()
        let first = try RunFolder(path: scratch.path)
        do {
            _ = try RunFolder(path: scratch.path)
            Issue.record("two owners of one folder")
        } catch let error as MMedError {
            #expect(error.kind == .tryAgain)
        }
        #expect(!first.hasCheckpoint)
    }

    @Test func blobsAreNamedByTheirContent() throws {
        let scratch = Scratch()
        let folder = try RunFolder(path: scratch.path)
        let kept = try folder.putBlob([1, 2, 3])
        let dropped = try folder.putBlob([4])
        let file = try folder.openBlob(kept)
        #expect(try file.count == 3 && file.bytes(at: 1, count: 2) == [2, 3])
        #expect(throws: MMedError.self) { try file.bytes(at: 2, count: 2) }
        let unfinished = scratch.path + "/blobs/" + String(repeating: "0", count: 64) + ".new"
        try Data([5]).write(to: URL(fileURLWithPath: unfinished))
        folder.remove([dropped])
        #expect(throws: MMedError.self) { try folder.openBlob(dropped) }
        #expect(FileManager.default.fileExists(atPath: unfinished), "a blob that is being written was taken away")
        folder.keepOnly([kept])
        #expect(!FileManager.default.fileExists(atPath: unfinished))
        #expect(throws: MMedError.self) { try folder.openBlob(dropped) }
        try Data([9]).write(to: URL(fileURLWithPath: scratch.path + "/blobs/" + kept.hex))
        #expect(throws: MMedError.self) { try folder.openBlob(kept) }
        #expect(try folder.putBlob([1, 2, 3]) == kept)
        #expect(try folder.openBlob(kept).bytes(at: 0, count: 3) == [1, 2, 3], "what is put is whole")
    }
}

@Suite struct UnfinishedFolderTests {
    /// `DurableFile.replaceFolder` leaves these when its process dies between two of its steps.
    @Test func whatADeadProcessLeftBesideAFolderIsRemoved() throws {
        let scratch = Scratch()
        let folder = try RunFolder(path: scratch.path)
        let files = FileManager.default
        let kept = ["adapters/pediatrics/v3", "merged", "workers/.old.new"]
        let left = [".merged.12.new", ".merged.12.old", "adapters/pediatrics/.v3.7.new"]
        for path in kept + left {
            try files.createDirectory(atPath: scratch.path + "/" + path, withIntermediateDirectories: true)
            try Data("x".utf8).write(to: URL(fileURLWithPath: scratch.path + "/\(path)/part"))
        }
        folder.removeUnfinishedFolders()
        #expect(kept.allSatisfy { files.fileExists(atPath: scratch.path + "/\($0)/part") })
        #expect(left.allSatisfy { !files.fileExists(atPath: scratch.path + "/" + $0) })
    }

    @Test func aCopyOfAFolderIsAnotherInstance() throws {
        let (one, two) = (Scratch(), Scratch())
        var folder: RunFolder? = try RunFolder(path: one.path)
        let instance = try #require(folder?.instance)
        folder = nil
        try FileManager.default.copyItem(atPath: one.path, toPath: two.path)
        #expect(try RunFolder(path: two.path).instance != instance)
        #expect(try RunFolder(path: one.path).instance == instance)
    }
}
