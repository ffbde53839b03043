import Foundation
import MMedAssembly
import MMedConfig
import MMedCore
import MMedLocks
import MMedProtocol
import Testing

@testable import MMedTransport

extension Processes {
    @Suite(.serialized) struct Workers {}
}

/// A coordinator whose own workers are a script: it waits for real ones.
func lonely(_ script: String, in scratch: Scratch, _ more: [String] = []) async throws -> Program {
    let folder = scratch.path + "/bin"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try FileManager.default.copyItem(
        atPath: try Program.folder() + "/mmed-coord", toPath: folder + "/mmed-coord")
    try scratch.write("bin/mmed-worker", "#!/bin/sh\n\(script)\n")
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder + "/mmed-worker")
    let arguments = try await Lab.shared.value.arguments(Lab.cluster(), "run", in: scratch)
    return try Program("mmed-coord", arguments + more, in: scratch, folder: folder)
}

func boundAddress(of program: Program) async throws -> String {
    try await eventually("the address") { program.errors.contains("listening at tcp://") }
    return String(try #require(program.errors.firstMatch(of: /listening at (tcp:\/\/127\.0\.0\.1:\d+)/)).1)
}

extension Processes.Workers {
    @Test(arguments: ["cat > /dev/null", "exit 1"])
    func withoutWorkersTheRunWaitsAndEnds(script: String) async throws {
        let scratch = try Scratch()
        let program = try await lonely(script, in: scratch, ["--set", "leases.noWorkersSeconds=2"])
        let ended = try await program.end()
        #expect(ended.code == 69, "\(ended)")
        #expect(ended.errors.contains("no rollout worker came in time"), "\(ended)")
        #expect(ended.errors.contains("--resume \(scratch.path)/run"), "\(ended)")
        let lab = try await Lab.shared.value
        let resumed = try await coordinator(["start", "--resume", scratch.path + "/run"], in: scratch)
        #expect(resumed.code == 0, "\(resumed)")
        try RunResult(scratch.path + "/run").expectSame(as: try await Lab.unbroken.value)
        withExtendedLifetime(lab) {}
    }

    @Test func aMissingWorkerProgramIsNamed() async throws {
        let scratch = try Scratch()
        let folder = scratch.path + "/bin"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try FileManager.default.copyItem(
            atPath: try Program.folder() + "/mmed-coord", toPath: folder + "/mmed-coord")
        let arguments = try await Lab.shared.value.arguments(Lab.cluster(), "run", in: scratch)
        let ended = try await Program("mmed-coord", arguments, in: scratch, folder: folder).end()
        #expect(ended.code == 70, "\(ended)")
        #expect(ended.errors.contains("make build"), "\(ended)")
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/run"), "the folder was made")
    }

    /// A cluster file without workers, and each of them started by a user.
    @Test func workersStartedByHandFinishARun() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let run = try Program(
            "mmed-coord", try lab.arguments("listen: tcp://127.0.0.1:0\nworkers: []\n", "run", in: scratch), in: scratch
        )
        let address = try await boundAddress(of: run)
        let hands = try ["rollout", "learner"].map { role in
            try Program(
                "mmed-worker", ["--role", role, "--connect", address, "--model", lab.model, "--threads", "1"],
                in: scratch)
        }
        let ended = try await run.end(within: 120)
        #expect(ended.code == 0, "\(ended)")
        for hand in hands { #expect(try await hand.end().code == 0) }
        try RunResult(scratch.path + "/run").expectSame(as: try await Lab.unbroken.value)
    }

    /// The farewell waits for a peer that is told of the end and does not answer; the others are not missed meanwhile.
    @Test func aPeerThatNeverSaysGoodbyeIsAllThatTheEndWaitsFor() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let run = try Program("mmed-coord", try lab.arguments(Lab.cluster(), "run", in: scratch), in: scratch)
        let address = try await boundAddress(of: run)
        let isOver = Locked(false)
        let peer = try HostilePeer(address, .open) { isOver.withLock { $0 } }
        defer { peer.close() }
        var model = ModelConfig()
        model.path = lab.model
        let hello = Hello(
            role: .rollout, name: try #require(Name("mute")), instance: 1,
            modelDigest: try ModelHost(cluster: model, override: nil).digest, threads: 1, adapters: [],
            host: "elsewhere", processID: 1)
        #expect(try peer.say(.hello(hello)) != nil)
        let ended = try await run.end(within: 120)
        isOver.withLock { $0 = true }
        #expect(ended.code == 0, "\(ended)")
        let lines = try ProgressLine.all(scratch.path + "/run")
        #expect(lines.contains { $0.event == "worker-joined" && $0.values["worker"] == "mute" })
        #expect(!lines.contains { $0.event == "worker-process" }, "\(lines.suffix(4))")
        #expect(lines.last?.event == "completed" || lines.last?.event == "refusals", "\(lines.suffix(4))")
        try RunResult(scratch.path + "/run").expectSame(as: try await Lab.unbroken.value)
    }

    @Test func aWorkerWithoutACoordinatorNamesTheAddressAndLeaves() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        // A socket file that nobody serves.
        let address = "ipc://\(scratch.path)/nobody"
        let ended = try await Program(
            "mmed-worker",
            ["--role", "rollout", "--connect", address, "--model", lab.model, "--wait-seconds", "1"], in: scratch
        ).end()
        #expect(ended.code == 75, "\(ended)")
        #expect(ended.errors.contains("\(address): no coordinator has answered for 1 s"), "\(ended)")
        #expect(ended.errors.contains("--wait-seconds"), "\(ended)")
        // What is wrong with the address is said before the model is looked for.
        let wrong = try await Program(
            "mmed-worker", ["--role", "rollout", "--connect", "127.0.0.1:7450", "--model", "no-model"], in: scratch
        ).end()
        #expect(wrong.code == 78 && wrong.errors.contains("127.0.0.1:7450"), "\(wrong)")
    }

    @Test func aWorkerWithAnotherModelIsRefused() async throws {
        let scratch = try Scratch()
        let program = try await lonely("cat > /dev/null", in: scratch)
        let address = try await boundAddress(of: program)
        let other = scratch.path + "/other"
        let made = try await coordinator(["tiny-model", "--output", other, "--seed", "8"], in: scratch)
        #expect(made.code == 0, "\(made)")
        let refused = try await Program(
            "mmed-worker", ["--role", "rollout", "--connect", address, "--name", "stranger", "--model", other],
            in: scratch
        ).end()
        #expect(refused.code == 78, "\(refused)")
        #expect(refused.errors.contains("its model has digest"), "\(refused)")
        #expect(refused.errors.contains("--model"), "\(refused)")
        let model = try await Lab.shared.value.model
        let foreign = try await Program(
            "mmed-worker",
            ["--role", "learner", "--connect", address, "--model", model, "--adapters", "cardiology"], in: scratch
        ).end()
        #expect(foreign.code == 78, "\(foreign)")
        #expect(foreign.errors.contains("cardiology") && foreign.errors.contains("pediatrics"), "\(foreign)")
        program.signal(SIGINT)
        let ended = try await program.end()
        #expect(ended.code == 0, "\(ended)")
        let lines = try ProgressLine.all(scratch.path + "/run")
        #expect(lines.filter { $0.event == "worker-refused" && $0.level == "WARN" }.count == 2)
    }

    @Test func handStartedWorkersAloneFinishTheRun() async throws {
        let scratch = try Scratch()
        let program = try await lonely("cat > /dev/null", in: scratch)
        let address = try await boundAddress(of: program)
        let model = try await Lab.shared.value.model
        let workers = try [("rollout", "hand-r"), ("learner", "hand-l")].map { role, name in
            try Program(
                "mmed-worker",
                ["--role", role, "--connect", address, "--name", name, "--threads", "1", "--model", model],
                in: scratch)
        }
        let ended = try await program.end()
        #expect(ended.code == 0, "\(ended)")
        try RunResult(scratch.path + "/run").expectSame(as: try await Lab.unbroken.value)
        for worker in workers {
            let left = try await worker.end()
            #expect(left.code == 0, "\(left)")
            #expect(left.errors.contains("the run is complete"), "\(left)")
        }
    }

    @Test func aPortInUseIsNamed() async throws {
        let scratch = try Scratch()
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port = withUnsafeMutablePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address -> Bool in
                bind(descriptor, address, size) == 0 && listen(descriptor, 1) == 0
                    && getsockname(descriptor, address, &size) == 0
            }
        }
        try #require(port)
        let taken = "tcp://127.0.0.1:\(UInt16(bigEndian: place.sin_port))"
        let arguments = try await Lab.shared.value.arguments(Lab.cluster(listen: taken), "run", in: scratch)
        let ended = try await coordinator(arguments, in: scratch)
        #expect(ended.code == 75, "\(ended)")
        #expect(ended.errors.contains(taken), "\(ended)")
    }

    @Test(arguments: [
        (["--role", "cook", "--connect", "tcp://127.0.0.1:1"], Int32(64), "cook"),
        (["--role", "learner", "--connect", "tcp://127.0.0.1:1", "--model", "gone"], 65, "gone"),
        (["--role", "learner", "--connect", "tcp://127.0.0.1:1", "--threads", "0"], 64, "--threads"),
        (["--role", "learner", "--connect", "tcp://127.0.0.1:1", "--adapters", "No Name"], 64, "No Name"),
    ])
    func aWorkersOptionsAreChecked(arguments: [String], code: Int32, says: String) async throws {
        let scratch = try Scratch()
        let ended = try await Program("mmed-worker", arguments, in: scratch).end()
        #expect(ended.code == code, "\(ended)")
        #expect(ended.errors.contains(says), "\(ended)")
    }

    @Test(arguments: ["somewhere", "tcp://192.0.2.1:7450"])
    func aWorkerStaysOnThisMachine(address: String) async throws {
        let scratch = try Scratch()
        let model = try await Lab.shared.value.model
        let ended = try await Program(
            "mmed-worker", ["--role", "learner", "--connect", address, "--model", model], in: scratch
        ).end(within: 30)
        #expect([64, 78].contains(ended.code), "\(ended)")
        #expect(ended.errors.contains(address), "\(ended)")
    }
}
