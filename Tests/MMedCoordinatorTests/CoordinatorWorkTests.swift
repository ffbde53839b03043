import MMedAlgorithms
import MMedCore
import MMedLocks
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedCoordinator

@Suite(.timeLimit(.minutes(10))) struct CoordinatorWorkTests {
    private let evaluation = [Tiny.stage("eval-base", .evaluate, .base, 1)]
    private let supervision = [Tiny.stage("dsa", .supervise, .specialty, 1)]

    // MARK: Paths

    @Test func theRewardIsRecomputedAndADifferenceIsLogged() async throws {
        let bench = Bench(evaluation) { $0.slotsPerLease = 8 }
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        let lease = try await line.rollout()
        var truth: [Double] = []
        for question in lease.questions {
            let paths = question.slots.map { slot in
                var path = FakeWork.path(slot, question, seed: 5)
                truth.append(path.reward)
                path.reward += 0.5
                return path
            }
            line.say(.trajectories(lease.lease, paths))
        }
        #expect(try await bench.running.value == .completed)
        let records = try #require(bench.store.saved.values.last).evaluations
        #expect(records.flatMap { $0.paths.map(\.reward) } == truth, "what the worker says does not count")
        #expect(bench.telemetry.count("reward-differs") == truth.count)
    }

    @Test func aPathThatCannotBeReadGoesBackWithItsLease() async throws {
        let bench = Bench(evaluation)
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        let lease = try await line.rollout()
        let question = lease.questions[0]
        var path = FakeWork.path(question.slots[0], question, seed: 5)
        path.completionIds[0] = 5_000
        line.say(.trajectories(lease.lease, [path]))
        #expect(try await line.revoked() == lease.lease)
        _ = try await bench.telemetry.line("path-unreadable")
        line.say(.ready(credits: 1))
        let again = try await line.rollout()
        #expect(again.questions[0].slots[0] == question.slots[0])
        bench.answer(again, on: line)
        _ = try await line.recorded()
        try await bench.stop()
    }

    // MARK: Gradients

    /// A learner's line with its first lease.
    private func learner(_ bench: Bench, credits: Int = 1) async throws -> (Line, GradientLease) {
        let line = try await Line.joined(bench.router, Tiny.hello(.learner, "l"), credits: credits)
        return (line, try await line.gradient())
    }

    private func say(_ chunks: [GradientChunk], on line: Line) {
        for chunk in chunks { line.say(.gradientChunk(chunk)) }
    }

    @Test func chunksAreCountedAndAWholeGradientIsTakenOnce() async throws {
        let bench = Bench(supervision)
        let (line, lease) = try await learner(bench)
        let chunks = FakeWork.chunks(lease, FakeWork.gradient(lease))
        say(chunks, on: line)
        for bytes in [16, 32, 40] { #expect(try await line.received() == bytes) }
        // The same again after a lost acknowledgement is acknowledged again.
        say(chunks, on: line)
        #expect(try await line.received() == 40)
        #expect(bench.telemetry.count("lease-failed") == 0)
        try await bench.stop()
    }

    /// It is not the learner's fault, which another refusal would send away in the end.
    @Test func aDiskWithoutRoomForAGradientEndsTheRun() async throws {
        let bench = Bench(supervision)
        let (line, lease) = try await learner(bench)
        let chunks = FakeWork.chunks(lease, FakeWork.gradient(lease))
        bench.store.hasRoom.withLock { $0 = false }
        say(chunks, on: line)
        let error = await bench.error()
        #expect(error.map { "\($0)" }?.contains("no room for a gradient") == true)
        #expect(bench.telemetry.count("lease-failed") == 0)
    }

    @Test(arguments: ["digest", "not finite", "bytes", "follow"])
    func aGradientThatIsNotRightIsRefusedAndComputedAnew(why: String) async throws {
        let bench = Bench(supervision)
        let (line, lease) = try await learner(bench)
        var bytes = FakeWork.gradient(lease)
        if why == "not finite" { bytes[7] = 0xFF }
        var chunks = FakeWork.chunks(lease, bytes)
        switch why {
        case "digest": for index in chunks.indices { chunks[index].digest = FakeWork.digest(of: [1]) }
        case "bytes": for index in chunks.indices { chunks[index].totalBytes += 4 }
        case "follow": chunks.swapAt(1, 2)
        default: break
        }
        say(chunks, on: line)
        #expect(try await line.revoked() == lease.lease)
        let failed = try await bench.telemetry.line("lease-failed")
        #expect(failed.fields.contains { if case .text(let text) = $0.value { text.contains(why) } else { false } })
        line.say(.ready(credits: 1))
        let again = try await line.gradient()
        #expect(again.shard == lease.shard)
        #expect(again.lease > lease.lease)
        say(FakeWork.chunks(again, FakeWork.gradient(again)), on: line)
        _ = try await line.mail.next("receipt of the whole") {
            $0 == .gradientReceived(again.lease, bytes: 40) ? true : nil
        }
        try await bench.stop()
    }

    @Test func aGradientThatNobodyAwaitsIsNotKeptAndItsWorkerHearsSoOnce() async throws {
        let bench = Bench(supervision)
        let (first, lease) = try await learner(bench)
        let chunks = FakeWork.chunks(lease, FakeWork.gradient(lease))
        first.say(.gradientChunk(chunks[0]))
        _ = try await first.received()
        #expect(await bench.coordinator.desk.held.gradientBytes == 16)
        // Its worker is gone; another process of the name sends the rest under the void lease.
        let second = try await Line.joined(bench.router, Tiny.hello(.learner, "l", instance: 2), credits: 0)
        say(chunks, on: second)
        #expect(try await second.revoked() == lease.lease)
        second.say(.ready(credits: 1))
        let again = try await second.gradient()
        say(FakeWork.chunks(again, FakeWork.gradient(again)), on: second)
        _ = try await second.mail.next("receipt of the whole") {
            $0 == .gradientReceived(again.lease, bytes: 40) ? true : nil
        }
        #expect(second.mail.values.filter { if case .leaseRevoked = $0 { true } else { false } }.count == 1)
        #expect(await bench.coordinator.desk.held.gradientBytes == 40)
        try await bench.stop()
    }

    @Test func aBeginningWhoseWorkerVanishedIsForgotten() async throws {
        let bench = Bench(supervision)
        let (line, lease) = try await learner(bench)
        line.say(.gradientChunk(FakeWork.chunks(lease, FakeWork.gradient(lease))[0]))
        _ = try await line.received()
        line.say(.goodbye(reason: "it was asked to stop"))
        _ = try await bench.telemetry.line("worker-left")
        // A tick prunes it.
        while await bench.coordinator.desk.held.gradientBytes > 0 { await Task.yield() }
        try await bench.stop()
    }

    // MARK: Updates and blobs

    /// Plays the only learner until the run ends; the announcements that it heard.
    private func learn(_ bench: Bench) async throws -> (Line, [UpdateAnnouncement]) {
        let line = try await Line.joined(bench.router, Tiny.hello(.learner, "l"), credits: 8)
        while let lease = try await line.mail.next(
            "gradient lease or the end",
            { message -> GradientLease?? in
                switch message {
                case .gradient(let lease): .some(lease)
                case .end: .some(nil)
                default: nil
                }
            })
        {
            say(FakeWork.chunks(lease, FakeWork.gradient(lease)), on: line)
            line.say(.ready(credits: 1))
        }
        let updates = line.mail.values.compactMap { if case .update(let update) = $0 { update } else { nil } }
        return (line, updates)
    }

    @Test func row12_anUpdateThatIsNotFiniteIsSkippedAndTheRunGoesOn() async throws {
        let bench = Bench(supervision, updateFailure: NonFiniteUpdate("its norm is inf"))
        let (_, updates) = try await learn(bench)
        #expect(try await bench.running.value == .completed)
        #expect(updates.isEmpty)
        #expect(bench.telemetry.count("update-refused") == 2, "one for each specialty")
        #expect(bench.store.saved.values.last?.heads.map(\.reference.version) == [0, 0])
    }

    @Test func anUpdateThatFailsOtherwiseEndsTheRun() async throws {
        // A damaged blob must not pass for an update that is merely not finite.
        let bench = Bench(supervision, updateFailure: MMedError(.badData, at: "blobs/1", "it is damaged"))
        _ = try await learn(bench)
        #expect(try #require(await bench.error()).place == "blobs/1")
    }

    @Test func learnersHearOfUpdatesAndPullWhatTheyNeed() async throws {
        let bench = Bench([Tiny.stage("dsa", .supervise, .specialty, 1), Tiny.stage("eval", .evaluate, .base, 1)])
        let line = try await Line.joined(bench.router, Tiny.hello(.learner, "l"), credits: 8)
        var updates: [UpdateAnnouncement] = []
        while updates.count < 2 {
            let message = try await line.mail.next("lease or update") { message -> CoordinatorMessage? in
                switch message {
                case .gradient, .update: message
                default: nil
                }
            }
            if case .gradient(let lease) = message {
                say(FakeWork.chunks(lease, FakeWork.gradient(lease)), on: line)
                line.say(.ready(credits: 1))
            }
            if case .update(let update) = message { updates.append(update) }
        }
        for digest in updates.flatMap({ [$0.gradientDigest, $0.result.digest, $0.momentsDigest] }) {
            line.say(.blobRequest(digest, offset: 0))
            guard case .blobChunk(_, 0, let total, let bytes) = try await line.answer(digest) else {
                Issue.record("\(digest.short) is missing")
                continue
            }
            #expect(total == bytes.count)
            #expect(FakeWork.digest(of: bytes) == digest)
            for offset in [total, total + 1, Int.max, -1] {
                line.say(.blobRequest(digest, offset: offset))
                #expect(try await line.answer(digest) == .blobMissing(digest))
            }
        }
        let unknown = FakeWork.digest(of: [77])
        line.say(.blobRequest(unknown, offset: 0))
        #expect(try await line.answer(unknown) == .blobMissing(unknown))
        _ = try await bench.telemetry.line("blob-missing")
        try await bench.stop()
    }

    @Test func aReplicaThatDiffersIsSentAway() async throws {
        let bench = Bench(supervision)
        let (line, lease) = try await learner(bench)
        var reached = lease.adapter
        reached.digest = FakeWork.digest(of: [3])
        line.say(.updateApplied(reached))
        #expect(try await line.end().contains("differs"))
        try await bench.stop()
    }
}
