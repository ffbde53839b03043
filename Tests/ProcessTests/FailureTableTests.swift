import Foundation
import MMedStore
import Testing

@testable import MMedAssembly

extension Processes {
    /// Rows of the table of failures in docs/RELIABILITY.md, each test by its number.
    @Suite(.serialized) struct FailureTable {}
}

private func isInstalled(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
private let tracer = "/usr/bin/strace"

/// A small disk in memory, which goes with its last user.
final class SmallDisk {
    private let path: String

    /// Whether this machine lets the process mount one: the superuser's right, which containers often lack.
    static let isPossible: Bool = {
        let path = FileManager.default.temporaryDirectory.path + "/mmed-mount-\(UUID().uuidString)"
        mkdir(path, 0o700)
        let isMounted = SmallDisk(at: path, size: "64k") != nil
        rmdir(path)
        return isMounted
    }()

    init?(at path: String, size: String) {
        self.path = path
        guard SmallDisk.run("mount", ["-t", "tmpfs", "-o", "size=\(size)", "tmpfs", path]) else { return nil }
    }

    deinit { _ = SmallDisk.run("umount", ["-l", path]) }

    func grow(to size: String) -> Bool { SmallDisk.run("mount", ["-o", "remount,size=\(size)", path]) }

    private static func run(_ program: String, _ arguments: [String]) -> Bool {
        let nothing = open("/dev/null", O_RDWR | O_CLOEXEC)
        defer { close(nothing) }
        guard
            let process = try? ChildProcess(
                "/bin/" + program, arguments, input: nothing, output: nothing, errors: nothing)
        else { return false }
        while process.end == nil { usleep(1_000) }
        return process.end == .exit(0)
    }
}

/// The journal and all that it names are whole.
func expectVerified(
    _ folder: String, in scratch: Scratch, sourceLocation: SourceLocation = #_sourceLocation
) async throws {
    let verified = try await coordinator(["verify", folder], in: scratch)
    #expect(verified.code == 0, "\(verified)", sourceLocation: sourceLocation)
}

extension Processes.FailureTable {
    /// The steps that decide what a crash may find; `make chaos` hits all the others.
    @Test(arguments: [
        "file-renamed:3", "blob-put-after:2", "epoch-raise-before:1", "epoch-raise-after:1", "journal-written:40",
        "journal-committed:40",
        "checkpoint-state-written:9", "checkpoint-manifest-written:9", "optimizer-apply-after:30", "merge-after:1",
        "folder-filled:2", "folder-renamed:3", "first-bind-after:1", "file-written:20",
    ])
    func row01_aCoordinatorKilledAtAFailpointGoesOn(failpoint: String) async throws {
        let run = try await Watched(environment: ["MMED_FAILPOINT": failpoint])
        let ended = try await run.program.end()
        #expect(ended.code == -SIGKILL && ended.errors.contains("failpoint \(failpoint)"), "\(ended)")
        // Before the folder there is nothing to resume.
        let hasBegun = FileManager.default.fileExists(atPath: run.folder + "/launch.json")
        let again =
            hasBegun
            ? try await run.resume()
            : try await coordinator(
                try await Lab.shared.value.arguments(Lab.cluster(), "run", in: run.scratch), in: run.scratch)
        #expect(again.code == 0, "\(again)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        try await expectVerified(run.folder, in: run.scratch)
    }

    /// What a death between two renames left is taken away by the coordinator that goes on.
    @Test func row01_aFolderThatWasNotReadyIsRemoved() async throws {
        let run = try await Watched(environment: ["MMED_FAILPOINT": "folder-filled:1"])
        #expect(try await run.program.end().code == -SIGKILL)
        let adapters = run.folder + "/adapters"
        func unfinished() -> [String] {
            (FileManager.default.subpaths(atPath: adapters) ?? []).filter { $0.contains(".new") }
        }
        #expect(!unfinished().isEmpty, "nothing was left to be removed")
        let again = try await run.resume()
        #expect(again.code == 0, "\(again)")
        #expect(unfinished().isEmpty)
    }

    /// Killed, or stopped until its leases have gone to others and then continued.
    @Test(arguments: ["worker-path-finished:3", "worker-send-trajectories-before:2", "worker-path-finished:3:stop"])
    func row02_aRolloutWorkerThatFailsCostsItsLeases(failpoint: String) async throws {
        let run = try await Watched()
        try await run.until("event=worker-joined worker=rollout-1")
        let address = try await boundAddress(of: run.program)
        let guest = try Program(
            "mmed-worker",
            [
                "--role", "rollout", "--connect", address, "--name", "guest", "--threads", "1", "--model",
                try await Lab.shared.value.model,
            ], in: run.scratch, environment: ["MMED_FAILPOINT": failpoint])
        if failpoint.hasSuffix("stop") {
            try await eventually("the stop") { guest.isStopped }
            try await run.until("event=worker-left worker=guest")
            guest.signal(SIGCONT)
        } else {
            #expect(try await guest.end().code == -SIGKILL)
        }
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        try await expectVerified(run.folder, in: run.scratch)
    }

    @Test(arguments: [
        "worker-load-after:1", "worker-differentiate-after:3", "worker-send-gradient-chunk-after:3",
        "worker-apply-before:3", "worker-apply-after:3", "worker-send-update-applied-before:3",
    ])
    func row03_aLearnerKilledAtAFailpointIsReplaced(failpoint: String) async throws {
        let run = try await Watched()
        try await run.until("event=worker-joined worker=learner-1")
        let address = try #require(run.program.errors.firstMatch(of: /listening at (tcp:\/\/127\.0\.0\.1:\d+)/)).1
        let guest = try Program(
            "mmed-worker",
            [
                "--role", "learner", "--connect", String(address), "--name", "guest", "--threads", "1", "--model",
                try await Lab.shared.value.model,
            ], in: run.scratch, environment: ["MMED_FAILPOINT": failpoint])
        #expect(try await guest.end().code == -SIGKILL)
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }

    /// A file may grow to so many blocks of 512 bytes: what a full quota looks like to the program.
    @Test(arguments: [300, 700])
    func row08_aFileThatMayNotGrowEndsTheRunWithAWord(blocks: Int) async throws {
        let scratch = try Scratch()
        let lab = try await Lab.shared.value
        let arguments = try lab.arguments(Lab.cluster(), "run", in: scratch)
        let command = "ulimit -f \(blocks); exec \"$0\" \"$@\""
        let program = try Program(
            "bash", ["-c", command, try Program.folder() + "/mmed-coord"] + arguments, in: scratch, folder: "/bin")
        let ended = try await program.end()
        #expect(ended.code == 75, "\(ended)")
        #expect(ended.errors.contains("journal.db") && ended.errors.contains("resume"), "\(ended)")
        let again = try await coordinator(["start", "--resume", scratch.path + "/run"], in: scratch)
        #expect(again.code == 0, "\(again)")
        try RunResult(scratch.path + "/run").expectSame(as: try await Lab.unbroken.value)
        try await expectVerified(scratch.path + "/run", in: scratch)
    }

    /// A disk of 1 MiB fills up; when there is room again the run goes on.
    @Test(.enabled(if: SmallDisk.isPossible, "needs the right to mount; a file's size limit stands for it above"))
    func row08_aFullDiskEndsTheRunWithAWord() async throws {
        let scratch = try Scratch()
        let disk = scratch.path + "/disk"
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        let small = try #require(SmallDisk(at: disk, size: "1m"))
        defer { withExtendedLifetime(small) {} }
        let lab = try await Lab.shared.value
        var arguments = try lab.arguments(Lab.cluster(), "run", in: scratch)
        arguments[arguments.count - 1] = disk + "/run"
        arguments += ["--set", "storage.lowWaterMiB=0"]
        let ended = try await coordinator(arguments, in: scratch)
        #expect(ended.code == 75, "\(ended)")
        #expect(ended.errors.contains("room") || ended.errors.contains("space"), "\(ended)")
        #expect(small.grow(to: "64m"))
        let again = try await coordinator(["start", "--resume", disk + "/run"], in: scratch)
        #expect(again.code == 0, "\(again)")
        try RunResult(disk + "/run").expectSame(as: try await Lab.unbroken.value)
        try await expectVerified(disk + "/run", in: scratch)
    }

    /// The n-th fsync of the process fails: the journal's, a checkpoint's or a blob's. It is never tried again: after EIO the
    /// kernel may say that all is well and have dropped the pages.
    @Test(.enabled(if: isInstalled(tracer), "needs the Debian package strace"), arguments: [17, 45])
    func row09_anFsyncThatFailsEndsTheRun(number: Int) async throws {
        let run = try await Watched(through: [
            tracer, "-f", "-qq", "-o", "trace", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-e",
            "inject=fsync,fdatasync:error=EIO:when=\(number)",
        ])
        let ended = try await run.program.end(within: 120)
        let calls = text(of: run.scratch.path + "/trace").split(separator: "\n")
        let failed = try #require(calls.firstIndex { $0.contains("(INJECTED)") }, "no call failed: \(ended)")
        #expect(ended.code == 75, "\(ended)")
        let descriptor = calls[failed].firstMatch(of: /sync\((\d+)\)/)?.1
        let thread = calls[failed].prefix { $0 != " " }
        let later = calls[(failed + 1)...].filter { call in
            call.hasPrefix(thread) && descriptor.map { call.contains("sync(\($0))") } == true
        }
        #expect(later.isEmpty, "the same descriptor was synchronised again: \(later)")
        let again = try await run.resume()
        #expect(again.code == 0, "\(again)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        try await expectVerified(run.folder, in: run.scratch)
    }

    @Test func row21_twoCoordinatorsOfOneFolderAreOne() async throws {
        let run = try await Watched()
        try await run.until("dsa/adult-medicine 3 event=update")
        for command in [
            ["start", "--resume", run.folder], ["verify", run.folder], ["lineage", run.folder, "SELECT 1"],
        ] {
            let second = try await coordinator(command, in: run.scratch)
            #expect(second.code == 75, "\(second)")
        }
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }

    @Test func row21_aCopiedFolderIsRefusedUntilItIsAdopted() async throws {
        let run = try await Watched()
        try await run.until("dsa/adult-medicine 9 event=update")
        run.program.signal(SIGKILL)
        _ = try await run.program.end()
        let copy = run.scratch.path + "/copy"
        try FileManager.default.copyItem(atPath: run.folder, toPath: copy)
        let refused = try await coordinator(["start", "--resume", copy], in: run.scratch)
        #expect(refused.code == 64 && refused.errors.contains("--adopt"), "\(refused)")
        let moved = run.scratch.path + "/moved"
        try FileManager.default.moveItem(atPath: run.folder, toPath: moved)
        for command in [["start", "--resume", copy, "--adopt"], ["start", "--resume", moved]] {
            let ended = try await coordinator(command, in: run.scratch)
            #expect(ended.code == 0, "\(ended)")
            try RunResult(command[2]).expectSame(as: try await Lab.unbroken.value)
        }
    }

    /// A closed terminal asks by SIGHUP.
    @Test(arguments: [SIGTERM, SIGHUP]) func row22_aDrainEqualsAKillAndAResume(_ number: Int32) async throws {
        let run = try await Watched()
        try await run.until("gba/adult-medicine 2 event=groups-closed")
        run.program.signal(number)
        let drained = try await run.program.end()
        #expect(drained.code == 0, "\(drained)")
        try await expectVerified(run.folder, in: run.scratch)
        let again = try await run.resume()
        #expect(again.code == 0, "\(again)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }

    /// The second signal ends the process at once, wherever it is.
    /// Whoever starts a run by `nohup` does not want it to end with the terminal.
    @Test func row22_nohupTakesAHangupAway() async throws {
        let run = try await Watched(through: ["nohup"])
        try await run.until("dsa/adult-medicine 7 event=update")
        run.program.signal(SIGHUP)
        let ended = try await run.program.end()
        #expect(ended.code == 0 && ended.errors.contains("is complete"), "\(ended)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }

    @Test func row22_aSecondSignalIsFast() async throws {
        let run = try await Watched()
        try await run.until("dsa/adult-medicine 7 event=update")
        // Stopped workers never finish what they hold: only a second signal can end the run now.
        let workers = run.workerIDs.map(\.id)
        for worker in workers { kill(worker, SIGSTOP) }
        defer { for worker in workers { kill(worker, SIGKILL) } }
        // One that comes with the first does not count, so it is said until it is heard.
        try await eventually("its end", within: 10) {
            run.program.signal(SIGTERM)
            return !run.program.isRunning
        }
        let first = try await run.program.end()
        #expect(first.code == 130 && first.errors.contains("stopped at once"), "\(first)")
        let again = try await run.resume()
        #expect(again.code == 0, "\(again)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }

    /// `timeout` signals the program and then its group, itself among it.
    @Test func row22_twoSignalsThatComeTogetherAreOne() async throws {
        let run = try await Watched()
        try await run.until("dsa/adult-medicine 7 event=update")
        run.program.signal(SIGTERM)
        run.program.signal(SIGINT)
        let drained = try await run.program.end()
        #expect(drained.code == 0 && !drained.errors.contains("stopped at once"), "\(drained)")
        let again = try await run.resume()
        #expect(again.code == 0, "\(again)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }
}
