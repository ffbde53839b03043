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
    @Test func row08_aDiskThatGetsFullIsNoticedInTime() async throws {
        let scratch = try Scratch()
        let disk = scratch.path + "/disk"
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        // Only the superuser of a machine can mount.
        guard let small = SmallDisk(at: disk, size: "16m") else { return }
        defer { withExtendedLifetime(small) {} }
        var arguments = try await Lab.shared.value.arguments(Lab.cluster(), "run", in: scratch)
        arguments[arguments.count - 1] = disk + "/run"
        let ended = try await coordinator(arguments + ["--set", "storage.lowWaterMiB=15"], in: scratch)
        #expect(ended.code == 75 && ended.errors.contains("storage.lowWaterMiB"), "\(ended)")
        #expect(text(of: disk + "/run/progress.log").contains("event=disk-low free_mib="))
        try await expectVerified(disk + "/run", in: scratch)
        #expect(small.grow(to: "64m"))
        let again = try await coordinator(["start", "--resume", disk + "/run"], in: scratch)
        #expect(again.code == 0, "\(again)")
        try RunResult(disk + "/run").expectSame(as: try await Lab.unbroken.value)
    }
}
