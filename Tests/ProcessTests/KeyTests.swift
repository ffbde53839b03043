import Foundation
import Testing

extension Processes {
    @Suite(.serialized) struct Keys {}
}

private func keygen(_ arguments: String..., in scratch: Scratch) async throws -> Ended {
    try await coordinator(["keygen", "--output", scratch.path + "/keys"] + arguments, in: scratch)
}

private func mode(_ path: String) -> Int {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)
    return (attributes?[.posixPermissions] as? Int) ?? 0
}

/// A run with keys whose own workers are real, and guests with keys of the folder.
private struct KeyedRun {
    let scratch: Scratch
    let program: Program
    let address: String
    var folder: String { scratch.path + "/run" }
    var list: String { scratch.path + "/keys/workers.allow" }

    init() async throws {
        scratch = try Scratch()
        let made = try await keygen(
            "--worker", "guest", "--role", "learner", "--worker", "visitor", "--role", "rollout", in: scratch)
        try #require(made.code == 0, "\(made)")
        let lab = try await Lab.shared.value
        let program = try Program(
            "mmed-coord",
            try lab.arguments(Lab.cluster(), "run", in: scratch) + ["--keys", scratch.path + "/keys"], in: scratch)
        self.program = program
        try await eventually("the address") {
            program.errors.contains("listening at tcp://") || !program.isRunning
        }
        let match = program.errors.firstMatch(of: /listening at (tcp:\/\/127\.0\.0\.1:\d+)/)
        address = String(try #require(match, "\(program.errors)").1)
    }

    func worker(_ arguments: String...) async throws -> Program {
        let lab = try await Lab.shared.value
        return try Program(
            "mmed-worker", ["--connect", address, "--threads", "1", "--model", lab.model] + arguments, in: scratch)
    }

    func key(_ name: String) -> String { scratch.path + "/keys/\(name).key" }

    func until(_ words: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await eventually("progress.log: \(words)", sourceLocation: sourceLocation) {
            let isOver = !program.isRunning
            let lines = text(of: folder + "/progress.log").split(separator: "\n")
            if lines.contains(where: { line in words.allSatisfy { line.contains($0) } }) { return true }
            if isOver { throw Failure("the program ended before \(words) was logged: \(program.errors)") }
            return false
        }
    }
}

extension Processes.Keys {
    @Test func keygenWritesClosedFilesAndOverwritesNone() async throws {
        let scratch = try Scratch()
        let made = try await keygen("--worker", "a", "--role", "rollout", in: scratch)
        #expect(made.code == 0, "\(made)")
        #expect(made.output.contains("keys/a.key") && made.output.contains("mmed-coord start --keys"), "\(made)")
        let folder = scratch.path + "/keys"
        #expect(mode(folder) == 0o700)
        let names = ["a.key", "coordinator.key", "workers.allow"]
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == names)
        for name in names { #expect(mode(folder + "/" + name) == 0o600, "\(name)") }
        let before = names.map { text(of: folder + "/" + $0) }
        for secret in before.prefix(2).compactMap({ $0.firstMatch(of: /secret-key (\S{40})/)?.1 }) {
            #expect(!made.output.contains(secret))
        }
        let again = try await keygen(
            "--worker", "b", "--role", "learner", "--worker", "a", "--role", "rollout", in: scratch)
        #expect(again.code == 64, "\(again)")
        #expect(again.errors.contains("a.key") && again.errors.contains("never overwritten"), "\(again)")
        #expect(names.map { text(of: folder + "/" + $0) } == before)
        #expect(!FileManager.default.fileExists(atPath: folder + "/b.key"))
        let more = try await keygen("--worker", "b", "--role", "learner", in: scratch)
        #expect(more.code == 0, "\(more)")
        #expect(text(of: folder + "/coordinator.key") == before[1], "the coordinator's key is the same")
        #expect(text(of: folder + "/workers.allow").hasPrefix(before[2]))
    }

    @Test(
        arguments: [
            (["--worker", "a"], Int32(64)), (["--worker", "a", "--role", "cook"], 64),
            (["--worker", "A", "--role", "learner"], 64),
            (["--worker", "a.b", "--role", "learner", "--worker", "a", "--role", "learner"], 78),
        ] as [([String], Int32)])
    func keygenChecksItsArguments(arguments: [String], code: Int32) async throws {
        let scratch = try Scratch()
        let ended = try await coordinator(["keygen", "--output", scratch.path + "/keys"] + arguments, in: scratch)
        #expect(ended.code == code, "\(ended)")
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/keys/a.key"))
    }

    @Test func beyondThisMachineKeysAreNeededAndOpenTheDoor() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        // An address of documentation (RFC 5737), which this machine has not.
        let arguments = try lab.arguments(Lab.cluster(listen: "tcp://192.0.2.10:7450"), "run", in: scratch)
        let refused = try await coordinator(arguments, in: scratch)
        #expect(refused.code == 78, "\(refused)")
        #expect(
            refused.errors.contains("need keys") && refused.errors.contains("mmed-coord keygen --output"), "\(refused)")
        let insecure = try await coordinator(arguments + ["--insecure-bind"], in: scratch)
        #expect(insecure.code == 64, "\(insecure)")
        let missing = try await coordinator(arguments + ["--keys", scratch.path + "/keys"], in: scratch)
        #expect(missing.code == 78, "\(missing)")
        #expect(missing.errors.contains("mmed-coord keygen --output \(scratch.path)/keys"), "\(missing)")

        _ = try await keygen("--worker", "guest", "--role", "learner", in: scratch)
        let checked = try await coordinator(arguments + ["--keys", scratch.path + "/keys", "--dry-run"], in: scratch)
        #expect(checked.code == 0, "\(checked)")
        #expect(checked.output.contains("keys: \(scratch.path)/keys, 1 workers on the list"), "\(checked)")
        let allowed = try await coordinator(arguments + ["--keys", scratch.path + "/keys"], in: scratch)
        #expect(allowed.code == 78, "\(allowed)")
        #expect(allowed.errors.contains("cannot listen here: Cannot assign requested address"), "\(allowed)")
    }

    @Test func aFolderThatCannotBeTrustedIsRefused() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        _ = try await keygen("--worker", "guest", "--role", "learner", in: scratch)
        let arguments =
            try lab.arguments(Lab.cluster(), "run", in: scratch) + ["--keys", scratch.path + "/keys"]
        let path = scratch.path + "/keys/coordinator.key"
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        let loose = try await coordinator(arguments, in: scratch)
        #expect(loose.code == 78, "\(loose)")
        #expect(loose.errors.contains(path) && loose.errors.contains("chmod 600"), "\(loose)")
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        let taken = try await keygen("--worker", "learner-1", "--role", "learner", in: scratch)
        #expect(taken.code == 0, "\(taken)")
        let clash = try await coordinator(arguments, in: scratch)
        #expect(clash.code == 78, "\(clash)")
        #expect(clash.errors.contains("learner-1") && clash.errors.contains("another name"), "\(clash)")
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/run"), "work had begun")
    }

    @Test func withKeysARunEndsTheSameAndItsOwnWorkersNeedNothing() async throws {
        let run = try await KeyedRun()
        try await run.until("event=worker-joined worker=learner-1")
        let own = run.folder + "/keys"
        #expect(mode(own) == 0o700 && mode(own + "/learner-1.key") == 0o600)
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        #expect(ended.errors.contains("kill -HUP"), "\(ended)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        #expect(!FileManager.default.fileExists(atPath: own), "the keys of one process are left behind")
        let lines = try ProgressLine.all(run.folder)
        #expect(
            lines.contains { $0.event == "keys-on" && $0.values["listed"] == "2" && $0.values["own_workers"] == "2" })
        #expect(!lines.contains { $0.event == "key-refused" }, "the test of the door is no news")
    }

    @Test func aRevokedGuestIsCutOffAndABrokenListChangesNothing() async throws {
        let run = try await KeyedRun()
        let guest = try await run.worker("--key", run.key("guest"))
        try await run.until("event=worker-joined worker=guest role=learner")
        let before = text(of: run.list)

        try Data((before + "worker nonsense\n").utf8).write(to: URL(fileURLWithPath: run.list))
        run.program.signal(SIGHUP)
        try await run.until("event=keys-not-reloaded", "workers.allow:6", "kept=2")

        let without = before.split(separator: "\n").filter { !$0.hasSuffix(" guest") }.joined(separator: "\n") + "\n"
        try Data(without.utf8).write(to: URL(fileURLWithPath: run.list))
        run.program.signal(SIGHUP)
        try await run.until("event=key-removed worker=guest")
        try await run.until("event=worker-left worker=guest")
        try await run.until("event=keys-reloaded added=0 removed=1 listed=1")
        try await eventually("the guest's line") { guest.errors.contains("does not take this worker's key") }
        try await run.until("event=key-refused", "address=127.0.0.1")
        #expect(guest.isRunning, "a refusal proves nothing about who spoke it")

        try Data(before.utf8).write(to: URL(fileURLWithPath: run.list))
        run.program.signal(SIGHUP)
        try await run.until("event=keys-reloaded added=1 removed=0 listed=2")
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        guest.signal(SIGTERM)
        #expect(try await guest.end().code == 0)
    }

    @Test func whoHasNoKeyOrTheWrongOneStaysOutside() async throws {
        let run = try await KeyedRun()
        let keyless = try await run.worker("--role", "learner", "--name", "keyless", "--wait-seconds", "5")
        let other = try await coordinator(
            ["keygen", "--output", run.scratch.path + "/other", "--worker", "guest", "--role", "learner"],
            in: run.scratch)
        #expect(other.code == 0, "\(other)")
        let foreign = try await run.worker("--key", run.scratch.path + "/other/guest.key")
        try await eventually("the keyless worker's line") { keyless.errors.contains("do not agree on keys") }
        try await eventually("the foreign worker's line") { foreign.errors.contains("another coordinator") }

        let wrongRole = try await run.worker("--key", run.key("guest"), "--role", "rollout").end()
        #expect(wrongRole.code == 78, "\(wrongRole)")
        #expect(wrongRole.errors.contains("this key is for learner guest"), "\(wrongRole)")
        let wrongName = try await run.worker("--key", run.key("guest"), "--name", "rollout-1").end()
        #expect(wrongName.code == 78, "\(wrongName)")
        let copy = run.scratch.path + "/copy.key"
        try FileManager.default.copyItem(atPath: run.key("guest"), toPath: copy)
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: copy)
        let loose = try await run.worker("--key", copy).end()
        #expect(loose.code == 78, "\(loose)")
        #expect(loose.errors.contains("chmod 600"), "\(loose)")

        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        #expect(try !ProgressLine.all(run.folder).contains { $0.values["worker"] == "keyless" })
        foreign.signal(SIGTERM)
        #expect(try await foreign.end().code == 0)
        // Whoever is still not let in when its patience is over leaves with the reason and what helps.
        let left = try await keyless.end()
        #expect(left.code == 78 && left.errors.contains("give both their keys"), "\(left)")
    }

    @Test func aProcessWhoseNameAnotherTakesSaysSo() async throws {
        let run = try await KeyedRun()
        let first = try await run.worker("--key", run.key("visitor"))
        try await run.until("event=worker-joined worker=visitor")
        let second = try await run.worker("--key", run.key("visitor"))
        let ended = try await first.end()
        #expect(ended.code == 78, "\(ended)")
        #expect(ended.errors.contains("another process has taken the name visitor"), "\(ended)")
        #expect(ended.errors.contains("--name visitor.2"), "\(ended)")
        let over = try await run.program.end()
        #expect(over.code == 0, "\(over)")
        _ = try await second.end()
    }

    /// A worker that lies is built from an honest one with a key file that lies: the coordinator knows the key's role.
    @Test func aKeyThatClaimsAnotherRoleIsRefusedByTheCoordinator() async throws {
        let run = try await KeyedRun()
        let forged = run.scratch.path + "/forged.key"
        let honest = text(of: run.key("visitor"))
        try Data(honest.replacing("role rollout", with: "role learner").utf8).write(to: URL(fileURLWithPath: forged))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: forged)
        let refused = try await run.worker("--key", forged).end()
        #expect(refused.code == 78, "\(refused)")
        #expect(refused.errors.contains("its key is a rollout's"), "\(refused)")
        try await run.until("event=worker-refused worker=visitor")
        let stolen = honest.replacing("name visitor", with: "name learner-1")
        try Data(stolen.utf8).write(to: URL(fileURLWithPath: forged))
        let named = try await run.worker("--key", forged).end()
        #expect(named.code == 78, "\(named)")
        #expect(named.errors.contains("its key is that of visitor"), "\(named)")
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
    }
}
