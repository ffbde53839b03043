import Foundation
import Testing

/// What becomes of the newest states of a run.
enum Damage: CaseIterable {
    case bitsOfTheState
    case missingState
    case twoStates
    /// Weights and moments that the oldest of the three states does without.
    case newestBlobs
}

/// A run's manifest, as far as damage needs it.
private struct Manifest: Decodable {
    struct Entry: Decodable { var number: Int }

    var number: Int
    var former: [Entry]
    /// Newest first.
    var numbers: [Int] { [number] + former.map(\.number) }

    init(of folder: String) throws {
        self = try JSONDecoder().decode(Manifest.self, from: Data(text(of: folder + "/checkpoint.json").utf8))
    }
}

private func state(_ number: Int, of folder: String) -> String { folder + "/checkpoints/\(number).json" }

extension Damage {
    /// Does it, and returns the files.
    func strike(_ folder: String) throws -> [String] {
        let states = try Manifest(of: folder).numbers.map { state($0, of: folder) }
        try #require(states.count == 3)
        let files =
            switch self {
            case .bitsOfTheState, .missingState: [states[0]]
            case .twoStates: [states[0], states[1]]
            case .newestBlobs:
                Damage.blobs(text(of: states[0]) + text(of: states[1]), without: text(of: states[2]), folder)
            }
        for file in files {
            if self == .missingState {
                try FileManager.default.removeItem(atPath: file)
            } else {
                try flipOneBit(of: file)
            }
        }
        return files
    }

    private func flipOneBit(of file: String) throws {
        var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: URL(fileURLWithPath: file))
    }

    private static func blobs(_ newest: String, without former: String, _ folder: String) -> [String] {
        // Each once: a bit that is flipped twice is whole again.
        Set(newest.matches(of: /"([0-9a-f]{64})"/).map { String($0.1) }).filter { !former.contains($0) }
            .map { folder + "/blobs/" + $0 }.filter { FileManager.default.fileExists(atPath: $0) }.sorted()
    }
}

/// When a run of so many checkpoints is killed.
enum Moment: CaseIterable {
    case atTheBeginning, inSupervision, inReinforcement, behindTheMerge

    func checkpoint(of last: Int) -> Int {
        switch self {
        // Three states of the first steps of supervision.
        case .atTheBeginning: 6
        case .inSupervision: last * 2 / 5
        case .inReinforcement: last - 12
        // One track is evaluated; the checkpoint before is the merge's, the one before that knows of none.
        case .behindTheMerge: last - 1
        }
    }
}

extension Processes.FailureTable {
    @Test(arguments: Moment.allCases, Damage.allCases)
    func row10_aRunGoesBackToAStateThatIsWhole(moment: Moment, damage: Damage) async throws {
        let unbroken = try await Lab.unbroken.value
        let last = try Manifest(of: try await Lab.shared.value.unbrokenFolder).number
        try await goBack(at: moment.checkpoint(of: last), damage, [], to: unbroken) { folder, newest in
            guard moment == .behindTheMerge else { return }
            let states = (0..<3).map { text(of: folder + "/checkpoints/\(newest - $0).json").contains("\"merged\":{") }
            #expect(states == [true, true, false], "the merge is not where this test looks for it")
        }
    }

    /// Two updates a step: the versions between are in no state.
    @Test(arguments: [Damage.twoStates, .newestBlobs])
    func row10_aRunGoesBackOverStepsOfTwoUpdates(damage: Damage) async throws {
        let more = ["--set", "advantages.updatesPerStep=2"]
        let whole = try await Watched(Lab.cluster(), more)
        #expect(try await whole.program.end().code == 0)
        let last = try Manifest(of: whole.folder).number
        // Of the first steps of reinforcement: later ones of this run have no signal.
        let moment = last - 17
        // A start between the steps must keep what is between the states, too.
        try await goBack(at: moment, damage, more, isResumedBefore: true, to: try RunResult(whole.folder)) { _, _ in }
    }

    /// Kills a run behind a checkpoint, does the damage, and resumes it.
    private func goBack(
        at checkpoint: Int, _ damage: Damage, _ more: [String], isResumedBefore: Bool = false, to unbroken: RunResult,
        look: (_ folder: String, _ newest: Int) throws -> Void
    ) async throws {
        let failpoint = "checkpoint-manifest-written:\(checkpoint)"
        let run = try await Watched(Lab.cluster(), more, environment: ["MMED_FAILPOINT": failpoint])
        let ended = try await run.program.end()
        #expect(ended.code == -SIGKILL, "\(ended)")
        if isResumedBefore {
            // Its own first checkpoint takes the place of the one it read; it dies behind the second after that.
            let again = try Program(
                "mmed-coord", ["start", "--resume", run.folder], in: run.scratch,
                environment: ["MMED_FAILPOINT": "checkpoint-manifest-written:3"])
            #expect(try await again.end().code == -SIGKILL)
        }
        try look(run.folder, checkpoint)
        let numbers = try Manifest(of: run.folder).numbers
        let texts = numbers.map { text(of: state($0, of: run.folder)) }
        let files = try damage.strike(run.folder)
        try #require(!files.isEmpty)
        let damaged = zip(numbers, texts).filter { number, text in
            files.contains(state(number, of: run.folder)) || files.contains { text.contains($0.suffix(64)) }
        }.map { "\($0.0)" }
        #expect(damaged.count == (damage == .twoStates ? 2 : 1) || damage == .newestBlobs && damaged.count == 2)
        let verified = try await coordinator(["verify", run.folder], in: run.scratch)
        #expect(verified.code == 65 && verified.errors.contains("start --resume"), "\(verified)")
        #expect(files.contains { verified.errors.contains($0) }, "none of \(files) is named: \(verified)")
        let again = try await run.resume()
        #expect(again.code == 0, "\(again)")
        let told = try ProgressLine.all(run.folder).filter { $0.event == "state-damaged" }
        #expect(told.map { $0.values["checkpoint"] } == damaged)
        #expect(told.allSatisfy { $0.values["goes_on_from"] == "\(numbers[damaged.count])" })
        try RunResult(run.folder).expectSame(as: unbroken)
        try await expectVerified(run.folder, in: run.scratch)
    }

    /// Where no state is whole the run waits, and nothing of it is touched.
    @Test func row10_aRunWithoutAnyWholeStateWaits() async throws {
        let run = try await Watched(environment: ["MMED_FAILPOINT": "checkpoint-manifest-written:5"])
        #expect(try await run.program.end().code == -SIGKILL)
        for number in 3...5 { try Data().write(to: URL(fileURLWithPath: run.folder + "/checkpoints/\(number).json")) }
        let blobs = try FileManager.default.contentsOfDirectory(atPath: run.folder + "/blobs").sorted()
        let again = try await run.resume()
        #expect(again.code == 65 && again.errors.contains("checkpoints/5.json"), "\(again)")
        #expect(again.errors.contains("backup"), "\(again)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: run.folder + "/blobs").sorted() == blobs)
    }
}
