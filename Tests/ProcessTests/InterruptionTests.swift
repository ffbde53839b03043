import Foundation
import Testing

extension Processes {
    @Suite(.serialized) struct Interruptions {}
}

extension Processes.Interruptions {
    @Test(arguments: [
        ["dsa/adult-medicine 12 event=update"], ["gba/adult-medicine 3 event=groups-closed"],
        ["eval-dsa", "event=stage-begins"],
    ])
    func interruptedAndResumedItEndsTheSame(words: [String]) async throws {
        let run = try await Watched()
        try await run.until(words)
        run.program.signal(SIGINT)
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        #expect(ended.errors.contains("mmed-coord start --resume \(run.folder)"), "\(ended)")
        #expect(!FileManager.default.fileExists(atPath: run.folder + "/report.txt"), "the run was over already")
        for worker in run.workerIDs {
            try await eventually("the end of \(worker.name)") { !isAlive(worker.id) }
        }
        let status = try await coordinator(["status", run.folder, "--json"], in: run.scratch)
        #expect(status.output.contains(#""running":false"#), "\(status)")

        let resumed = try await run.resume()
        #expect(resumed.code == 0, "\(resumed)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        let lines = try ProgressLine.all(run.folder)
        let updates = lines.filter { $0.stage == "dsa/pediatrics" && $0.event == "update" }
        #expect(updates.map(\.step) == (1...40).map { $0 }, "a committed step was done again, or one was left out")
        #expect(lines.contains { $0.event == "run-resumes" && $0.values["epoch"] == "2" })
    }

    @Test(arguments: ["dsa/adult-medicine 12 event=update", "gba/pediatrics 3 event=groups-closed"])
    func killedAndResumedItEndsTheSame(line: String) async throws {
        let run = try await Watched()
        try await run.until(line)
        run.program.signal(SIGKILL)
        #expect(try await run.program.end().code == -SIGKILL)
        // Its workers notice that their parent is gone.
        for worker in run.workerIDs {
            try await eventually("the end of \(worker.name)") { !isAlive(worker.id) }
        }
        let resumed = try await run.resume()
        #expect(resumed.code == 0, "\(resumed)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }

    @Test func killedTwiceInARowItEndsTheSame() async throws {
        let run = try await Watched()
        try await run.until("dsa/adult-medicine 5 event=update")
        run.program.signal(SIGKILL)
        _ = try await run.program.end()
        let second = try Program("mmed-coord", ["start", "--resume", run.folder], in: run.scratch)
        try await run.until("dsa/adult-medicine 20 event=update", by: second)
        second.signal(SIGKILL)
        _ = try await second.end()
        let resumed = try await run.resume()
        #expect(resumed.code == 0, "\(resumed)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }

    @Test(arguments: [
        ("rollout-1", "eval-base/adult-medicine - event=evaluated"),
        ("learner-1", "dsa/adult-medicine 8 event=update"),
        ("rollout-2", "gba/adult-medicine 1 event=groups-closed"),
    ])
    func aKilledWorkerCostsItsLeaseOnly(worker: String, line: String) async throws {
        let run = try await Watched(Lab.cluster(rollouts: 2, learners: 2))
        try await run.until(line)
        try await run.until("event=worker-joined worker=\(worker)")
        let id = try #require(run.workerIDs.last { $0.name == worker }?.id)
        kill(id, SIGKILL)
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        // Close to the end the run may be over before the death is noticed.
        if line.hasPrefix("gba") { return }
        let lines = try ProgressLine.all(run.folder)
        #expect(
            lines.contains { $0.event == "worker-process" && $0.values["worker"] == worker && $0.level == "WARN" },
            "the death of \(worker) is not told")
    }

    @Test func theOnlyWorkersKilledAreStartedAgain() async throws {
        let run = try await Watched()
        try await run.until("dsa/adult-medicine 8 event=update")
        for worker in run.workerIDs { kill(worker.id, SIGKILL) }
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }

    @Test func aWorkerMayJoinAndLeaveAtAnyTime() async throws {
        let run = try await Watched()
        try await eventually("the address") { run.program.errors.contains("listening at tcp://") }
        let lab = try await Lab.shared.value
        let match = try #require(run.program.errors.firstMatch(of: /listening at (tcp:\/\/127\.0\.0\.1:\d+)/))
        let guest = try Program(
            "mmed-worker",
            [
                "--role", "learner", "--connect", String(match.1), "--name", "guest", "--threads", "1", "--model",
                lab.model,
            ],
            in: run.scratch)
        try await run.until("event=worker-joined worker=guest")
        guest.signal(SIGTERM)
        let left = try await guest.end()
        #expect(left.code == 0, "\(left)")
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }

    @Test func statusTellsOfARunUnderWay() async throws {
        let run = try await Watched()
        try await run.until("dsa/pediatrics 3 event=update")
        let json = try await coordinator(["status", run.folder, "--json"], in: run.scratch)
        #expect(json.code == 0, "\(json)")
        let object = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect(object["running"] as? Bool == true)
        #expect((object["adapters"] as? [String: Int])?["pediatrics"].map { $0 >= 1 } == true, "\(json)")
        let words = try await coordinator(["status", run.folder], in: run.scratch)
        #expect(words.output.contains("running      yes"), "\(words)")
        let second = try await run.resume()
        #expect(second.code == 75, "\(second)")
        #expect(second.errors.contains("another coordinator works in this run folder"), "\(second)")
        let over = try await run.program.end()
        #expect(over.code == 0, "\(over)")
    }
}
