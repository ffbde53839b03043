import Foundation
import Testing

/// F_SETPIPE_SZ of Linux.
private let setPipeSize: Int32 = 1_031

// Row 23 of the table of failures: readers of a run's words that are slow or gone.
extension Processes.FailureTable {
    /// Whoever read standard error and standard output is gone before the first word.
    @Test func row23_aPipeThatIsClosedStopsNothing() async throws {
        let scratch = try Scratch()
        let lab = try await Lab.shared.value
        let arguments = try lab.arguments(Lab.cluster(), "run", in: scratch)
        let command = "set -o pipefail; \"$0\" \"$@\" 2>&1 | true; echo code ${PIPESTATUS[0]}"
        let program = try Program(
            "bash", ["-c", command, try Program.folder() + "/mmed-coord"] + arguments, in: scratch, folder: "/bin")
        let ended = try await program.end()
        #expect(ended.output.contains("code 0"), "\(ended)")
        try RunResult(scratch.path + "/run").expectSame(as: try await Lab.unbroken.value)
    }

    /// progress.log is a pipe that somebody opened and does not read.
    @Test func row23_aReaderThatDoesNotReadStopsNothing() async throws {
        let scratch = try Scratch()
        let folder = scratch.path + "/run"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try #require(mkfifo(folder + "/progress.log", 0o644) == 0)
        let reader = open(folder + "/progress.log", O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(reader) }
        try #require(fcntl(reader, setPipeSize, 4_096) >= 0)
        let lab = try await Lab.shared.value
        let ended = try await coordinator(try lab.arguments(Lab.cluster(), "run", in: scratch), in: scratch)
        #expect(ended.code == 0, "\(ended)")
        try RunResult(folder).expectSame(as: try await Lab.unbroken.value)
    }

    @Test func row23_aLogThatWasRotatedAwayIsNotMissed() async throws {
        let run = try await Watched()
        try await run.until("dsa/adult-medicine 5 event=update")
        try FileManager.default.moveItem(
            atPath: run.folder + "/progress.log", toPath: run.folder + "/progress.log.1")
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        for line in text(of: run.folder + "/progress.log.1").split(separator: "\n") {
            #expect(ProgressLine(line) != nil, "a line is not whole: \(line)")
        }
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }
}
