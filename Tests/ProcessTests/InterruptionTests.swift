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
        // Its exit code does not tell a drained run from a complete one; this does.
        #expect(status.output.contains(#""complete":false"#), "\(status)")

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

    /// A resume by the same program says nothing of it, one of a folder that another build wrote does.
    @Test func aRunThatAnotherBuildWentOnWithSaysSo() async throws {
        let run = try await Watched(environment: ["MMED_FAILPOINT": "journal-committed:40"])
        #expect(try await run.program.end().code == -SIGKILL)
        let again = try Program(
            "mmed-coord", ["start", "--resume", run.folder], in: run.scratch,
            environment: ["MMED_FAILPOINT": "journal-committed:40"])
        #expect(try await again.end().code == -SIGKILL)
        func differences() throws -> [ProgressLine] {
            try ProgressLine.all(run.folder).filter { $0.event == "machine-differs" }
        }
        #expect(try differences().isEmpty)
        let launch = URL(fileURLWithPath: run.folder + "/launch.json")
        let former = text(of: launch.path)
        let changed = former.replacing(/"kernels":"[a-z0-9]+"/, with: #""kernels":"of-another""#)
        try #require(changed != former, "\(former)")
        try Data(changed.utf8).write(to: launch)
        let resumed = try await run.resume()
        #expect(resumed.code == 0, "\(resumed)")
        #expect(try differences().count == 1)
        #expect(try differences().first?.values["was"]?.contains("of-another") == true)
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

    /// The first signal waits for a learner that does not go on; the second does not, and says how to go on as well.
    @Test func aSecondSignalStopsAtOnceAndSaysHowToGoOn() async throws {
        let run = try await Watched(Lab.cluster(), ["--set", "leases.stallSeconds=1"])
        try await run.until("dsa/adult-medicine 8 event=update")
        let learner = try #require(run.workerIDs.first { $0.name == "learner-1" })
        kill(learner.id, SIGSTOP)
        defer { kill(learner.id, SIGCONT) }
        try await run.until("event=waiting")
        run.program.signal(SIGINT)
        try await eventually("the first signal's answer") { run.program.errors.contains("stopping: ") }
        // What comes together with the first is the same wish.
        try await eventually("the end at once", within: 10) {
            run.program.signal(SIGINT)
            return !run.program.isRunning
        }
        let ended = try await run.program.end()
        #expect(ended.code == 130, "\(ended)")
        let last = ended.errors.split(separator: "\n").last ?? ""
        #expect(last.contains("mmed-coord start --resume \(run.folder)"), "\(ended)")
        kill(learner.id, SIGCONT)
        try await eventually("the end of the learner") { !isAlive(learner.id) }
        #expect(try await run.resume().code == 0)
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
    }

    /// It dies between an update's record and its step's checkpoint: what the update made is gone on from.
    @Test func anUpdateOfTheJournalIsNotMadeAgain() async throws {
        let run = try await Watched(environment: ["MMED_FAILPOINT": "store-save-before:12"])
        let ended = try await run.program.end()
        #expect(ended.code == -SIGKILL, "\(ended)")
        let made = run.lines.compactMap { ProgressLine($0) }.filter { $0.event == "update" }
        #expect(try await run.resume().code == 0)
        let all = run.lines.compactMap { ProgressLine($0) }
        let kept = all.filter { $0.event == "update-kept" }
        #expect(!kept.isEmpty)
        for line in kept {
            let same = all.filter { $0.stage == line.stage && $0.step == line.step && $0.event == "update" }
            #expect(same.count == 1 && made.contains { $0.values["digest"] == line.values["digest"] }, "\(line)")
        }
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        try await expectVerified(run.folder, in: run.scratch)
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

    @Test func aWorkerSaysThatItsCoordinatorIsGoneAndWaits() async throws {
        let run = try await Watched()
        let address = try await boundAddress(of: run.program)
        let guest = try Program(
            "mmed-worker",
            [
                "--role", "rollout", "--connect", address, "--name", "guest", "--threads", "1", "--model",
                try await Lab.shared.value.model,
            ], in: run.scratch)
        // Its own word: the coordinator's line is earlier, and whoever was never welcomed waits for a first answer.
        try await eventually("the welcome") { guest.errors.contains("joined run") }
        run.program.signal(SIGKILL)
        try await eventually("the word of it") { guest.errors.contains("the connection to \(address) is gone") }
        #expect(guest.isRunning)
        guest.signal(SIGTERM)
        guest.signal(SIGTERM)
        _ = try await guest.end()
        _ = try await run.program.end()
    }

    @Test func statusOfACompleteRunTellsItsResult() async throws {
        let scratch = try Scratch()
        _ = try await Lab.unbroken.value
        let folder = try await Lab.shared.value.unbrokenFolder
        let words = try await coordinator(["status", folder], in: scratch)
        #expect(words.output.contains("complete     yes"), "\(words)")
        #expect(words.output.contains("report       \(folder)/report.txt"), "\(words)")
        #expect(!words.output.contains("--resume"), "there is nothing to go on with: \(words)")
        let json = try await coordinator(["status", folder, "--json"], in: scratch)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect(object["complete"] as? Bool == true, "\(json)")
        #expect(object["running"] as? Bool == false, "\(json)")
        #expect((object["digests"] as? [String: String])?["pediatrics"]?.count == 64, "\(json)")
        let rows = try #require(object["evaluations"] as? [[String: Any]])
        // Four evaluations of the plain prompt, two judgements of three prompts, for two specialties.
        #expect(rows.count == 20, "\(json)")
        let wanted = rows.first { row in
            let (stage, specialty) = (row["stage"] as? String, row["specialty"] as? String)
            return stage == "eval-merged" && specialty == "pediatrics"
        }
        let merged = try #require(wanted)
        #expect(merged["answers"] as? Int == 4)
        #expect(merged["strict"] is Double && merged["choice"] is Double)
    }

    @Test func statusTellsOfARunUnderWay() async throws {
        let run = try await Watched()
        try await run.until("dsa/pediatrics 3 event=update")
        let json = try await coordinator(["status", run.folder, "--json"], in: run.scratch)
        #expect(json.code == 0, "\(json)")
        let object = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect(object["running"] as? Bool == true)
        #expect((object["adapters"] as? [String: Int])?["pediatrics"].map { $0 >= 1 } == true, "\(json)")
        #expect(object["complete"] as? Bool == false && object["stages"] as? Int == 9, "\(json)")
        #expect(object["stage"] as? String == "dsa" && object["stageNumber"] as? Int == 2, "\(json)")
        let steps = try #require(object["steps"] as? [[String: Any]])
        #expect(
            steps.map { $0["specialty"] as? String } == Lab.specialties && steps.allSatisfy { $0["of"] as? Int == 40 })
        let words = try await coordinator(["status", run.folder], in: run.scratch)
        #expect(words.output.contains("running      yes"), "\(words)")
        #expect(words.output.contains("stage        dsa, 2 of 9"), "\(words)")
        #expect(words.output.contains(#/steps done +adult-medicine \d+ of 40, pediatrics \d+ of 40/#), "\(words)")
        let second = try await run.resume()
        #expect(second.code == 75, "\(second)")
        #expect(second.errors.contains("another coordinator works in this run folder"), "\(second)")
        let over = try await run.program.end()
        #expect(over.code == 0, "\(over)")
    }
}
