import Foundation
import MMedCodec
import MMedCore
import MMedProtocol
import MMedStore
import Testing

@testable import MMedTransport

/// A message at which the coordinator crashes, sent by somebody who sends it again after each restart.
private struct Poison {
    static let failpoint = "coordinator-receive-lease-failed:1"
    /// No honest worker of these tests fails a lease.
    static let message = WorkerMessage.leaseFailed(LeaseID(fence: 1), reason: "what it takes to crash")

    /// Sends it on a connection of its own, as long as the program lives or until `isDone`.
    static func send(to program: Program, until isDone: @escaping () -> Bool = { false }) async throws {
        let peer = try HostilePeer(try await boundAddress(of: program), .open, isOver: { !program.isRunning })
        defer { peer.close() }
        _ = try peer.say(.hello(stranger))
        _ = try peer.say(message)
        try await eventually("the poison's effect") { !program.isRunning || isDone() }
    }

    /// It is asked to leave: its model is another.
    private static var stranger: Hello {
        Hello(
            major: WireVersion.major, role: .rollout, name: Name("stranger").unsafelyUnwrapped, instance: 1,
            modelDigest: ContentDigest.of([1]), threads: 1, adapters: [], host: "here", processID: 1)
    }
}

extension Processes.FailureTable {
    private static let alone = "listen: tcp://127.0.0.1:0\nworkers: []\n"

    private func armed(_ deed: String) -> [String: String] {
        ["MMED_FAILPOINT": "\(Poison.failpoint):\(deed)"]
    }

    /// Goes on without a failpoint, by two workers of the test, after `before` has seen the coordinator listen.
    private func finish(_ run: Watched, before: (Program) async throws -> Void = { _ in }) async throws {
        let last = try Program("mmed-coord", ["start", "--resume", run.folder], in: run.scratch)
        try await before(last)
        let (address, model) = (try await boundAddress(of: last), try await Lab.shared.value.model)
        let hands = try ["rollout", "learner"].map { role in
            try Program(
                "mmed-worker", ["--role", role, "--connect", address, "--model", model, "--threads", "1"],
                in: run.scratch)
        }
        let ended = try await last.end()
        #expect(ended.code == 0, "\(ended)")
        for hand in hands { #expect(try await hand.end().code == 0) }
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        try await expectVerified(run.folder, in: run.scratch)
    }

    private func count(_ event: String, _ run: Watched) -> Int {
        run.lines.count { $0.contains("event=\(event)") }
    }

    @Test func row24_afterTwoCrashesTheMessageIsRefusedAndTheRunGoesOn() async throws {
        let run = try await Watched(Self.alone, environment: armed("trap"))
        try await Poison.send(to: run.program)
        #expect(try await run.program.end().code == -SIGTRAP)
        let second = try Program(
            "mmed-coord", ["start", "--resume", run.folder], in: run.scratch, environment: armed("trap"))
        try await Poison.send(to: second)
        #expect(try await second.end().code == -SIGTRAP)
        #expect(count("crash-suspect", run) == 1, "the first crash is told by the second start")
        try await finish(run) { last in
            try await Poison.send(to: last) { run.lines.contains { $0.contains("poison") } }
        }
        #expect(run.lines.contains { $0.contains("crash-suspect") && $0.contains("refused from now on") })
    }

    /// Whoever is killed had something in hand too, and it is nobody's fault.
    @Test func row24_aKillBlamesNobody() async throws {
        let run = try await Watched(Self.alone, environment: armed("kill"))
        try await Poison.send(to: run.program)
        #expect(try await run.program.end().code == -SIGKILL)
        let second = try Program(
            "mmed-coord", ["start", "--resume", run.folder], in: run.scratch, environment: armed("kill"))
        try await Poison.send(to: second)
        #expect(try await second.end().code == -SIGKILL)
        try await finish(run)
        #expect(count("crash-suspect", run) == 0)
    }

    /// One crash may be chance: it is told, and the message is read again.
    @Test func row24_oneCrashIsTold() async throws {
        let run = try await Watched(Self.alone, environment: armed("trap"))
        try await Poison.send(to: run.program)
        #expect(try await run.program.end().code == -SIGTRAP)
        try await finish(run) { last in
            // The stranger is answered: that its model is another, and then that nobody knows it.
            let peer = try HostilePeer(try await boundAddress(of: last), .open, isOver: { !last.isRunning })
            defer { peer.close() }
            _ = try peer.say(Poison.message)
            let answer = peer.next(turns: 200) { if case .introduceYourself = $0 { true } else { false } }
            #expect(answer != nil, "the message was not read")
        }
        #expect(run.lines.contains { $0.contains("crash-suspect") && $0.contains("refused after another crash") })
        #expect(!run.lines.contains { $0.contains("poison") })
    }
}
