import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling
import Synchronization
import Testing

@testable import MMedCoordinator

/// What a peer does a million times must cost little, fill nothing and tell enough.
@Suite(.timeLimit(.minutes(10))) struct HostileWorkerTests {
    private let evaluation = [Tiny.stage("eval-base", .evaluate, .base, 1)]

    private func line(_ event: String, _ worker: String?) -> LogEntry {
        LogEntry(
            .warn, scope: "run", event: event, fields: worker.map { [.init("worker", .text($0))] } ?? [])
    }

    @Test func aThousandLinesOfOnePeerAreAFewAndACount() {
        var throttle = LogThrottle()
        let start = Tick(milliseconds: 5)
        let written = (0..<1_000).count { _ in throttle.admit(line("late-paths", "liar"), at: start) != nil }
        #expect(written == 20)
        // Another peer and another kind have allowances of their own, and the run's own lines are never left out.
        #expect(throttle.admit(line("late-paths", "honest"), at: start) != nil)
        #expect(throttle.admit(line("late-gradient", "liar"), at: start) != nil)
        #expect((0..<1_000).allSatisfy { _ in throttle.admit(line("update", nil), at: start) != nil })
        #expect(throttle.summary(at: start + 9_000).isEmpty)
        let summary = throttle.summary(at: start + 10_000)
        #expect(summary.map(\.event) == ["lines-left-out"])
        #expect(summary[0].fields == [.init("of", .text("late-paths")), .init("count", .int(980))])
        #expect(throttle.admit(line("late-paths", "liar"), at: start + 10_000) != nil, "time brings lines back")
        #expect(throttle.summary(at: start + 30_000, isLast: true).isEmpty)
    }

    @Test func peersOfOneKindShareAnAllowanceAndInventedNamesAreForgotten() {
        var throttle = LogThrottle()
        let written = (0..<50_000).count { number in
            throttle.admit(line("worker-refused", "w\(number)"), at: Tick(milliseconds: 5)) != nil
        }
        #expect(written == 200)
        #expect(throttle.bucketCount == 1_024)
        _ = throttle.admit(line("worker-refused", "late"), at: Tick(milliseconds: 60_000))
        #expect(throttle.bucketCount == 1)
        #expect(throttle.summary(at: Tick(milliseconds: 60_000), isLast: true)[0].fields[1].value == .int(49_800))
    }

    @Test func malformedFramesDoNotFillTheLog() async throws {
        let bench = Bench(evaluation)
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        for _ in 0..<5_000 { bench.router.hear(.malformed(line.peer, reason: "its checksum is wrong")) }
        line.say(.ready(credits: 1))
        _ = try await line.rollout()
        #expect((20...120).contains(bench.telemetry.count("malformed-message")))
        try await bench.stop()
    }

    @Test func everyRefusalIsCountedWhateverTheLogLeavesOut() {
        let (plan, store) = (Tiny.plan(evaluation), FakeStore(failsFrom: .max))
        var desk = CoordinatorDesk(
            plan: plan, state: Tiny.state(plan, store), modelDigest: Tiny.model,
            optimizer: FakeOptimizer(store: store, failure: nil), reward: FakeJudge(), store: store)
        let (known, stranger) = (PeerID(number: 1), PeerID(number: 2))
        let start = Tick(milliseconds: 5)
        _ = desk.take(.message(known, .hello(Tiny.hello(.rollout, "a"))), at: start)
        let fence = LeaseID(fence: 7)
        let said: [(Int, InboundFromWorkers)] = [
            (300, .malformed(known, reason: "its checksum is wrong")), (200, .message(stranger, .ready(credits: 1))),
            (100, .message(known, .leaseFailed(fence, reason: "no"))),
            (50, .message(known, .beat(Beat(phase: .idle, progress: 0, leases: [fence])))),
            (1, .message(known, .updateApplied(AdapterReference(name: Name("x")!, version: 1, digest: Tiny.model)))),
        ]
        for (count, message) in said { for _ in 0..<count { _ = desk.take(message, at: start) } }
        let expected: [LogEntry.Field] = [
            .init("malformed-message", .int(300)), .init("unintroduced", .int(200)), .init("void-lease", .int(100)),
            .init("wrong-role", .int(1)),
        ]
        func metrics(_ effects: [DeskEffect]) -> [[LogEntry.Field]] {
            effects.compactMap {
                if case .metric(let entry) = $0, entry.event == "refusals" { entry.fields } else { nil }
            }
        }
        #expect(metrics(desk.tick(at: start)) == [])
        #expect(metrics(desk.tick(at: start + 10_000)) == [expected])
        #expect(metrics(desk.tick(at: start + 30_000)) == [], "nothing was refused since")
    }

    /// One that introduces itself and is refused, again and again, gets no more questions than one that never does.
    @Test func whoIsRefusedIsAskedNoMoreOftenThanOtherStrangers() {
        let (plan, store) = (Tiny.plan(evaluation), FakeStore(failsFrom: .max))
        var desk = CoordinatorDesk(
            plan: plan, state: Tiny.state(plan, store), modelDigest: Tiny.model,
            optimizer: FakeOptimizer(store: store, failure: nil), reward: FakeJudge(), store: store)
        let peer = PeerID(number: 1)
        var questions = 0
        func hear(_ message: WorkerMessage, at milliseconds: UInt64) {
            for case .send(.introduceYourself, _) in desk.take(
                .message(peer, message), at: Tick(milliseconds: milliseconds))
            {
                questions += 1
            }
        }
        for turn in 0..<500 as Range<UInt64> {
            hear(.ready(credits: 1), at: 5 + turn)
            hear(.hello(Tiny.hello(.rollout, "a", model: FakeWork.digest(of: [2]))), at: 5 + turn)
        }
        #expect(questions == 1)
        hear(.ready(credits: 1), at: 1_005)
        #expect(questions == 2)
        // Once it is in, its next connection is a stranger again.
        hear(.hello(Tiny.hello(.rollout, "a")), at: 1_006)
        #expect(desk.name(of: peer) == Name("a"))
    }

    /// 1,024 void leases in a beat of ten kilobytes would be 1,024 answers.
    @Test func beatsAboutVoidLeasesAreAnsweredWithFewWords() async throws {
        let bench = Bench(evaluation) { $0.beatMilliseconds = 60_000 }
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"), credits: 0)
        let void = (0..<1_024).map { LeaseID(fence: UInt64($0)) }
        for progress in 1...50 { line.say(.beat(Beat(phase: .sampling, progress: UInt64(progress), leases: void))) }
        line.say(.ready(credits: 1))
        _ = try await line.rollout()
        let answers = line.mail.values.count { if case .leaseRevoked = $0 { true } else { false } }
        #expect(answers == CoordinatorDesk.voidLeasesTold)
        try await bench.stop()
    }

    /// To read a path's text costs more than to see that it is not its sender's to give.
    @Test func pathsThatCannotBeTakenAreNotRead() async throws {
        let bench = Bench(evaluation)
        let honest = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        let lease = try await honest.rollout()
        let liar = try await Line.joined(bench.router, Tiny.hello(.rollout, "liar"), credits: 0)
        // Token 1,000 and above make the judge throw, so that reading one shows in the log.
        let unreadable = lease.questions.flatMap { question in
            question.slots.map { slot in
                var path = FakeWork.path(slot, question, seed: 5)
                path.completionIds = path.completionIds.map { _ in 5_000 }
                return path
            }
        }
        for fence in [lease.lease.fence, lease.lease.fence + 7, 0] {
            liar.say(.trajectories(LeaseID(fence: fence), unreadable))
        }
        _ = try await liar.recorded()
        bench.answer(lease, on: honest)
        _ = try await honest.recorded()
        #expect(bench.telemetry.count("path-unreadable") == 0)
        try await bench.stop()
    }

    /// While the disk is slow nothing gathers without end: the wire is not read until it has caught up.
    @Test func whatWaitsForASlowDiskIsBounded() async throws {
        let bench = Bench(evaluation)
        let honest = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        let lease = try await honest.rollout()
        let flood = try await Line.joined(bench.router, Tiny.hello(.learner, "b"), credits: 0)
        // A record that the disk keeps waiting, then words that wait behind it.
        bench.journal.shut()
        let arrived = bench.journal.arrivals.values.count
        bench.answer(lease, on: honest)
        while bench.journal.arrivals.values.count == arrived { await Task.yield() }
        let shard = ShardID(stage: 0, track: 0, step: 0, update: 9, shard: 0)
        for fence in 0..<20_000 {
            flood.say(
                .gradientChunk(
                    GradientChunk(
                        lease: LeaseID(fence: UInt64(fence)), shard: shard, offset: 0, totalBytes: 4,
                        digest: Tiny.model, bytes: [0, 0, 0, 0], statistics: ShardStatistics())))
        }
        while await bench.coordinator.desk.held.waitingActions < Outbox.actionsWaiting { await Task.yield() }
        #expect(await bench.coordinator.desk.held.waitingActions <= Outbox.actionsWaiting + 64)
        bench.journal.open()
        _ = try await flood.mail.next("the last answer") {
            if case .leaseRevoked(LeaseID(fence: 19_999), _) = $0 { true } else { nil }
        }
        try await bench.stop()
    }
}
