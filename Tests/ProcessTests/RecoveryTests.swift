import Foundation
import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling
import MMedStore
import Testing

/// `make recovery` sets how many records; without it there is nothing to measure.
private let recordsAsked = ProcessInfo.processInfo.environment["MMED_RECOVERY_RECORDS"].flatMap { Int($0) }
private let triesAsked = ProcessInfo.processInfo.environment["MMED_RECOVERY_TRIES"].flatMap { Int($0) } ?? 30

extension Processes {
    @Suite(.serialized) struct Recovery {}
}

extension Processes.Recovery {
    /// From the start of the process that goes on to its first lease, with a journal of so many records, and the whole chain.
    @Test(.enabled(if: recordsAsked != nil, "make recovery"))
    func aLongJournalDoesNotSlowARestart() async throws {
        let records = try #require(recordsAsked)
        let first = try await Watched()
        try await first.until("gba/adult-medicine 1 event=groups-closed")
        try await kill(first.program, in: first)
        let began = Date()
        try await lengthen(first.folder, by: records)
        let made = Date().timeIntervalSince(began)
        let size = try FileManager.default.attributesOfItem(atPath: first.folder + "/journal.db")[.size] as? Int ?? 0
        print(
            "recovery: \(records) records in \(format(made)) s (\(Int(Double(records) / made)) a second), \(size / 1_000_000) MB"
        )
        // One start goes through all of them, as after a step that was a million records long; then a step is committed.
        try await measure(first, "with all of them behind the checkpoint", tries: 1, until: "event=update")
        try await measure(first, "with a checkpoint after them", tries: triesAsked, until: "event=first-lease")
        let start = Date()
        let verified = try await Program("mmed-coord", ["verify", first.folder], in: first.scratch).end(within: 3_600)
        #expect(verified.code == 0, "\(verified)")
        let taken = Date().timeIntervalSince(start)
        print("recovery: verify of the whole chain \(format(taken)) s, load \(load())")
        let again = try await first.resume()
        #expect(again.code == 0, "\(again)")
        try RunResult(first.folder).expectSame(as: try await Lab.unbroken.value)
    }

    private func kill(_ program: Program, in run: Watched) async throws {
        program.signal(SIGKILL)
        _ = try await program.end()
        for worker in run.workerIDs { try await eventually("the end of \(worker.name)") { !isAlive(worker.id) } }
    }

    /// Paths of a stage that is over, as a long run would have left them.
    private func lengthen(_ folder: String, by count: Int) async throws {
        let journal = try Journal(existingIn: folder)
        let specialty = try #require(Name("adult-medicine"))
        let worker = try #require(Name("rollout-1"))
        let parts = RewardParts(
            strictOption: 0, lenientOption: 0, isStrictCorrect: true, isLenientCorrect: true, total: 1)
        let group = 2_000
        for base in stride(from: 0, to: count, by: group) {
            let records = (base..<min(count, base + group)).map { index -> JournalRecord in
                let slot = SlotID(
                    stage: 0, track: 0, step: Int32(1 + index / 1_000), question: Int32(index % 1_000 / 10),
                    guideline: 0,
                    sample: Int32(index % 10))
                let trajectory = Trajectory(
                    slot: slot, version: 3, adapterDigest: ContentDigest.of([7]),
                    completionIds: (0..<24).map { Int32($0 + index % 100) },
                    logprobs: (0..<24).map { -Float($0) / 8 }, stop: .endToken, choiceLogprobs: [], reward: 1)
                return .path(
                    RecordedPath(
                        path: JudgedTrajectory(trajectory: trajectory, parts: parts),
                        lease: LeaseID(fence: 1 << 40 | UInt64(index)),
                        sentUnder: LeaseID(fence: 1 << 40 | UInt64(index)),
                        worker: worker, question: "adult-medicine-train-\(index)", prompt: "analytical",
                        specialty: specialty))
            }
            try await journal.append(records)
        }
        try journal.close()
    }

    private func measure(_ run: Watched, _ what: String, tries: Int, until event: String) async throws {
        var seconds: [Double] = []
        for _ in 0..<tries {
            let before = run.lines.count
            let started = Date()
            let program = try Program("mmed-coord", ["start", "--resume", run.folder], in: run.scratch)
            var firstLease: Date?
            try await eventually(event, within: 600) {
                guard program.isRunning else { throw Failure("it ended: \(program.errors)") }
                let fresh = run.lines.dropFirst(before)
                if firstLease == nil, fresh.contains(where: { $0.contains("event=first-lease") }) {
                    firstLease = Date()
                }
                return fresh.contains { $0.contains(event) }
            }
            seconds.append((firstLease ?? Date()).timeIntervalSince(started))
            try await kill(program, in: run)
        }
        seconds.sort()
        let (p50, p99) = (seconds[seconds.count / 2], seconds[min(seconds.count - 1, seconds.count * 99 / 100)])
        print(
            "recovery: process start to first lease \(what): p50 \(format(p50)) s, p99 \(format(p99)) s of \(tries) tries, "
                + "load \(load())")
    }
}

private func format(_ value: Double) -> String { String(format: "%.2f", value) }
