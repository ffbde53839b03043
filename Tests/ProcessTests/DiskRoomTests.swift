import Foundation
import Testing

extension Processes.FailureTable {
    @Test func row08_aRunDoesNotBeginWithTooLittleRoom() async throws {
        let scratch = try Scratch()
        var figures = statvfs()
        try #require(statvfs(scratch.path, &figures) == 0)
        let freeMiB = Int((UInt64(figures.f_bavail) * UInt64(figures.f_frsize)) >> 20)
        let arguments = try await Lab.shared.value.arguments(Lab.cluster(), "run", in: scratch)
        let asked = min(1_048_576, 2 * freeMiB + 1_024)
        let ended = try await coordinator(arguments + ["--set", "storage.lowWaterMiB=\(asked)"], in: scratch)
        #expect(ended.code == 75 && ended.errors.contains("storage.lowWaterMiB"), "\(ended)")
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/run"), "something half-done stayed")
    }

    /// Below the low-water mark the run finishes what is leased and commits, as after SIGTERM, and says what to do.
    @Test(.enabled(if: SmallDisk.isPossible, "needs the right to mount"))
    func row08_aDiskThatGetsFullIsNoticedInTime() async throws {
        let scratch = try Scratch()
        let disk = scratch.path + "/disk"
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        let small = try #require(SmallDisk(at: disk, size: "16m"))
        defer { withExtendedLifetime(small) {} }
        var arguments = try await Lab.shared.value.arguments(Lab.cluster(), "run", in: scratch)
        arguments[arguments.count - 1] = disk + "/run"
        // The learner stands still in the middle of a step, so that the run is not over before anybody looks at the disk.
        let program = try Program(
            "mmed-coord", arguments + ["--set", "storage.lowWaterMiB=15"], in: scratch,
            environment: ["MMED_FAILPOINT": "worker-differentiate-after:3:stop"])
        let log = disk + "/run/progress.log"
        func learner() -> Int32? {
            text(of: log).split(separator: "\n").compactMap { ProgressLine($0) }
                .first { $0.event == "worker-joined" && $0.values["worker"] == "learner-1" }
                .flatMap { $0.values["pid"] }.flatMap { Int32($0) }
        }
        try await eventually("the learner's stop") {
            learner().map { text(of: "/proc/\($0)/stat").contains(") T ") } ?? false
        }
        try Data(count: 4 << 20).write(to: URL(fileURLWithPath: disk + "/filler"))
        try await eventually("the word about the disk") { text(of: log).contains("event=disk-low free_mib=") }
        kill(try #require(learner()), SIGCONT)
        let ended = try await program.end()
        #expect(ended.code == 75 && ended.errors.contains("storage.lowWaterMiB"), "\(ended)")
        try await expectVerified(disk + "/run", in: scratch)
        #expect(small.grow(to: "64m"))
        let again = try await coordinator(["start", "--resume", disk + "/run"], in: scratch)
        #expect(again.code == 0, "\(again)")
        try RunResult(disk + "/run").expectSame(as: try await Lab.unbroken.value)
    }

    /// A gradient waits on the disk for its update. This one has room for the first adapters (8 MB each) and for little more.
    @Test(.enabled(if: SmallDisk.isPossible, "needs the right to mount"))
    func row08_aDiskWithoutRoomForAGradientEndsTheRunWithAWord() async throws {
        let scratch = try Scratch()
        let disk = scratch.path + "/disk"
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        let small = try #require(SmallDisk(at: disk, size: "22m"))
        defer { withExtendedLifetime(small) {} }
        var arguments = try await Lab.shared.value.arguments(Lab.cluster(), "run", in: scratch)
        arguments[arguments.count - 1] = disk + "/run"
        arguments += [
            "--set", "storage.lowWaterMiB=0", "--set", "adapter.rank=1024", "--set", "adapter.alpha=32", "--set",
            "dsa.epochs=1", "--set", "dsa.learningRate=1e-3", "--set", "gba.steps=1", "--set", "eval.stages=[merged]",
        ]
        let ended = try await coordinator(arguments, in: scratch)
        #expect(ended.code == 75 && ended.errors.contains("room for a gradient"), "\(ended)")
        #expect(small.grow(to: "512m"))
        let again = try await coordinator(["start", "--resume", disk + "/run"], in: scratch)
        #expect(again.code == 0, "\(again)")
        try await expectVerified(disk + "/run", in: scratch)
    }
}
