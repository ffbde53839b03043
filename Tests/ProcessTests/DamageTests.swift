import Foundation
import Testing

/// What becomes of the newest states of a run.
enum Damage: CaseIterable {
    case bitsOfTheState
    case missingState
    case twoStates
    /// Weights and moments that the newest state has and the one before has not.
    case newestBlobs
}

/// A run's manifest, as far as damage needs it.
private struct Manifest: Decodable {
    var number: Int

    init(of folder: String) throws {
        self = try JSONDecoder().decode(Manifest.self, from: Data(text(of: folder + "/checkpoint.json").utf8))
    }
}

extension Damage {
    /// Does it, and returns the files; none where the newest state rests on what the one before does.
    func strike(_ folder: String) throws -> [String] {
        let number = try Manifest(of: folder).number
        func state(_ number: Int) -> String { folder + "/checkpoints/\(number).json" }
        let files =
            switch self {
            case .bitsOfTheState, .missingState: [state(number)]
            case .twoStates: [state(number), state(number - 1)]
            case .newestBlobs: Damage.blobs(text(of: state(number)), without: text(of: state(number - 1)), folder)
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
        newest.matches(of: /"([0-9a-f]{64})"/).map { String($0.1) }.filter { !former.contains($0) }
            .map { folder + "/blobs/" + $0 }.filter { FileManager.default.fileExists(atPath: $0) }
    }
}

extension Processes.FailureTable {
    /// At the beginning, in the middle of each stage that trains, and behind the merge.
    @Test(arguments: [0.05, 0.4, 0.85, 0.97], Damage.allCases)
    func row10_aRunGoesBackToAStateThatIsWhole(share: Double, damage: Damage) async throws {
        let unbroken = try await Lab.unbroken.value
        let last = try Manifest(of: try await Lab.shared.value.unbrokenFolder).number
        let failpoint = "checkpoint-manifest-written:\(max(3, Int(share * Double(last))))"
        let run = try await Watched(environment: ["MMED_FAILPOINT": failpoint])
        let ended = try await run.program.end()
        #expect(ended.code == -SIGKILL, "\(ended)")
        let files = try damage.strike(run.folder)
        if let file = files.first {
            let verified = try await coordinator(["verify", run.folder], in: run.scratch)
            #expect(verified.code == 65 && verified.errors.contains("start --resume"), "\(verified)")
            #expect(files.contains { verified.errors.contains($0) }, "\(file) is not named: \(verified)")
        }
        let again = try await run.resume()
        #expect(again.code == 0, "\(again)")
        let told = run.lines.count { $0.contains("event=state-damaged") }
        #expect(told == (files.isEmpty ? 0 : damage == .twoStates ? 2 : 1), "\(told) states were called damaged")
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
