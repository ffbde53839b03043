import MMedCore
import MMedProtocol
import Testing

@testable import MMedWorker

@Suite(.timeLimit(.minutes(10))) struct SessionTests {
    @Test func itIntroducesItselfAndSaysItsCredits() async throws {
        let bench = Bench()
        #expect(try await bench.wire.hello() == Sample.hello())
        bench.wire.say(Sample.welcome())
        #expect(try await bench.wire.ready() == 2)
        try await bench.end()
        // On a slow machine the welcome may come so late that it introduced itself again, and a beat be due.
        let rest = bench.wire.said.values.filter {
            switch $0 {
            case .hello, .beat: false
            default: true
            }
        }
        #expect(rest.count == 2, "ready, goodbye and nothing else: \(rest)")
    }

    @Test func oneIntroductionAnswersAThousandQuestions() async throws {
        let bench = try await Bench.joined()
        for _ in 0..<1_000 { bench.wire.say(.introduceYourself) }
        _ = try await bench.wire.hello()
        bench.wire.say(Sample.welcome())
        #expect(try await bench.wire.ready() == 2)
        // An answer to an introduction that was said twice gives no further credits.
        bench.wire.say(Sample.welcome())
        bench.wire.say(Sample.rollout(1, paths: 1))
        _ = try await bench.wire.path()
        #expect(try await bench.wire.ready() == 1)
        try await bench.end()
        #expect(bench.wire.said.values.filter { if case .hello = $0 { true } else { false } }.count == 2)
    }

    /// What was damaged may have been a lease or an acknowledgement; a new introduction brings it again.
    @Test func aDamagedMessageIsAnsweredByANewIntroduction() async throws {
        let bench = try await Bench.joined()
        bench.wire.say(Sample.rollout(1, paths: 1))
        _ = try await bench.wire.path()
        bench.wire.hear(.malformed(reason: "its checksum is wrong"))
        _ = try await bench.wire.hello()
        bench.wire.say(Sample.welcome())
        let (lease, paths) = try await bench.wire.path()
        #expect(lease.fence == 1 && paths == [Sample.path(Sample.slot(0), nil)])
        try await bench.end()
    }

    @Test func anUnansweredIntroductionIsSaidAgain() async throws {
        let bench = Bench(timing: Sample.shortWaits)
        for _ in 0..<3 { _ = try await bench.wire.hello() }
        #expect(bench.log.lines.values.contains { $0.contains("tcp://127.0.0.1:7450") }, "whom it waits for")
        bench.wire.say(Sample.welcome())
        _ = try await bench.wire.ready()
        try await bench.end()
    }

    @Test func whenNobodyAnswersItLeavesAndNamesTheAddress() async throws {
        var timing = Sample.shortWaits
        timing.answer = .milliseconds(30)
        let bench = Bench(timing: timing)
        let error = try #require(await bench.error())
        #expect(error.kind == .tryAgain && error.place == "tcp://127.0.0.1:7450", "\(error)")
        #expect(error.mend.contains("mmed-coord") && error.mend.contains("--wait-seconds"))
    }

    /// The time counts from the last time that somebody was there.
    @Test func anAnswerEndsTheWaiting() async throws {
        var timing = Sample.shortWaits
        timing.answer = .seconds(1)
        let bench = Bench(timing: timing)
        _ = try await bench.wire.hello()
        bench.wire.say(Sample.welcome(beat: 1))
        _ = try await bench.wire.ready()
        let joined = ContinuousClock.now
        try await bench.until("time past the limit") { ContinuousClock.now - joined > .milliseconds(1_100) }
        bench.wire.say(Sample.rollout(1, paths: 1))
        _ = try await bench.wire.path()
        try await bench.end()
    }

    @Test func leasesAreWorkedOnInOrder() async throws {
        let bench = try await Bench.joined()
        bench.wire.say(Sample.rollout(5, paths: 2))
        bench.wire.say(Sample.rollout(4, paths: 1))
        for (fence, sample) in [(5, 0), (5, 1), (4, 0)] as [(UInt64, Int)] {
            let (lease, paths) = try await bench.wire.path()
            #expect(lease.fence == fence)
            #expect(paths == [Sample.path(Sample.slot(sample), nil)])
            if sample == 1 || fence == 4 { #expect(try await bench.wire.ready() == 1) }
        }
        try await bench.end()
    }

    @Test func aHandshakeThatFailsIsToldAndTriedAgain() async throws {
        let bench = Bench()
        _ = try await bench.wire.hello()
        // Nothing proves who said so: it is no reason to leave.
        bench.wire.hear(.handshakeFailed(reason: "the key is not taken", mend: "add it"))
        _ = try await bench.log.lines.next("reason") { $0.contains("the key is not taken; trying again") ? true : nil }
        bench.wire.say(Sample.welcome())
        #expect(try await bench.wire.ready() == 2)
        try await bench.end()
    }

    @Test func whoIsNeverLetInLeavesWithTheReasonAndWhatHelps() async throws {
        var timing = Sample.shortWaits
        timing.answer = .milliseconds(30)
        let bench = Bench(timing: timing)
        bench.wire.hear(.handshakeFailed(reason: "the key is not taken", mend: "add it"))
        let error = try #require(await bench.error())
        #expect(error.kind == .badConfig && error.place == "tcp://127.0.0.1:7450", "\(error)")
        #expect(error.problem == "the key is not taken" && error.mend == "add it")
    }

    @Test func whoIsKeptOutLaterAsksAgainAndStaysWhenItIsLetIn() async throws {
        let bench = try await Bench.joined(beat: 20)
        bench.wire.hear(.handshakeFailed(reason: "the key is not taken", mend: "add it"))
        _ = try await bench.wire.hello()
        bench.wire.say(Sample.welcome(beat: 20))
        #expect(try await bench.wire.ready() == 2)
        try await bench.end()
    }

    @Test func whoIsKeptOutLaterLeavesWithTheReasonWhenItsPatienceEnds() async throws {
        var timing = Sample.shortWaits
        // The first welcome must come within it, on a busy machine too.
        timing.answer = .seconds(3)
        let bench = try await Bench.joined(beat: 20, timing: timing)
        bench.wire.hear(.handshakeFailed(reason: "the key is not taken any more", mend: "add it"))
        let error = try #require(await bench.error())
        #expect(error.kind == .badConfig && error.problem == "the key is not taken any more", "\(error)")
    }

    @Test func aCoordinatorThatStopsInGoodOrderIsToldWithWhatToDoAfterwards() async throws {
        let bench = try await Bench.joined()
        bench.wire.say(.drain)
        _ = try await bench.log.lines.next("what to do") { $0.contains("start this worker again") ? true : nil }
        #expect(await bench.error() == nil)
    }

    @Test func aLostConnectionIsToldAndTheWorkerStays() async throws {
        let bench = try await Bench.joined()
        bench.wire.hear(.connectionLost)
        _ = try await bench.log.lines.next("the loss") { $0.contains("tcp://127.0.0.1:7450 is gone") ? true : nil }
        bench.wire.say(Sample.rollout(1, paths: 1))
        _ = try await bench.wire.path()
        try await bench.end()
    }

    /// A coordinator that asks who is there and dies takes the answer with it; the next one must not wait until the worker
    /// wonders why it has no answer.
    @Test(arguments: [false, true]) func anIntroductionThatWentWithItsConnectionIsSaidAgain(hasJoined: Bool)
        async throws
    {
        var timing = Sample.shortWaits
        timing.introduction = .seconds(300)
        let bench = hasJoined ? try await Bench.joined(timing: timing) : Bench(timing: timing)
        if hasJoined { bench.wire.say(.introduceYourself) }
        _ = try await bench.wire.hello()
        bench.wire.hear(.connectionLost)
        _ = try await bench.wire.hello()
        bench.wire.say(Sample.welcome())
        #expect(try await bench.wire.ready() == 2)
        // Who has joined is asked by the next coordinator at its first word, which comes long before a beat is due.
        bench.wire.hear(.connectionLost)
        _ = try await bench.wire.said.next("a beat") { if case .beat = $0 { true } else { nil } }
        bench.wire.say(Sample.rollout(1, paths: 1))
        _ = try await bench.wire.path()
        let hellos = bench.wire.said.values.count { if case .hello = $0 { true } else { false } }
        #expect(hellos == (hasJoined ? 3 : 2))
        try await bench.end()
    }

    /// Nobody can take what it holds; to wait for a coordinator that may never come would need a second signal.
    @Test(arguments: [false, true]) func whoIsToLeaveAndIsCutOffLeavesAtOnce(isAskedFirst: Bool) async throws {
        let bench = try await Bench.joined()
        bench.wire.say(Sample.rollout(1, paths: 1))
        _ = try await bench.wire.path()
        if isAskedFirst {
            await bench.worker.drain()
            bench.wire.hear(.connectionLost)
        } else {
            bench.wire.hear(.connectionLost)
            _ = try await bench.log.lines.next("the loss") { $0.contains("is gone") ? true : nil }
            await bench.worker.drain()
        }
        #expect(await bench.error() == nil)
        #expect(bench.log.lines.values.contains { $0.contains("nobody is there to take what this worker holds") })
    }

    @Test func aRefusalEndsWithWhatTheCoordinatorSaid() async throws {
        let bench = Bench()
        _ = try await bench.wire.hello()
        bench.wire.say(.refused(reason: "its model is another", mend: "give it the right one"))
        let error = try #require(await bench.error())
        #expect(error.kind == .badConfig)
        #expect("\(error)" == "the coordinator refuses this worker: its model is another; give it the right one")
    }

    @Test func anotherWireVersionEndsWithBothVersions() async throws {
        let bench = Bench()
        bench.wire.hear(.otherVersion(major: 9, minor: 4))
        let error = try #require(await bench.error())
        #expect(error.kind == .badConfig)
        #expect("\(error)".contains("9.4"))
        #expect("\(error)".contains("\(WireVersion.major).\(WireVersion.minor)"))
    }

    @Test func anotherRunAtTheAddressEndsTheWorker() async throws {
        let bench = try await Bench.joined()
        bench.wire.say(.introduceYourself)
        _ = try await bench.wire.hello()
        bench.wire.say(Sample.welcome(run: Name("other")!))
        let error = try #require(await bench.error())
        #expect(error.kind == .tryAgain, "leases and fences of one run mean nothing in another")
    }

    @Test func aMalformedMessageIsDroppedAndLogged() async throws {
        let bench = try await Bench.joined()
        bench.wire.hear(.malformed(reason: "its checksum is wrong"))
        bench.wire.say(Sample.rollout(1, paths: 1))
        _ = try await bench.wire.path()
        try await bench.end()
        #expect(bench.log.lines.values.contains { $0.contains("its checksum is wrong") })
    }

    @Test func beatsNameTheLeasesAndGrowWithTheWork() async throws {
        let bench = try await Bench.joined(beat: 1)
        bench.engine.gate.close()
        bench.wire.say(Sample.rollout(1, paths: 2))
        bench.wire.say(Sample.rollout(2, paths: 1))
        let before = try await bench.wire.beat { $0.leases.count == 2 }
        #expect(before.leases == [LeaseID(fence: 1), LeaseID(fence: 2)])
        bench.engine.gate.open()
        let after = try await bench.wire.beat { $0.leases.isEmpty }
        #expect(after.progress >= before.progress + 3)
        #expect(after.phase == .idle)
        try await bench.end()
    }

    @Test func theEndFreesAWorkerWhoseWireIsFull() async throws {
        let bench = try await Bench.joined(timing: Sample.shortWaits)
        bench.wire.fill(after: 0)
        bench.wire.say(Sample.rollout(1, paths: 3))
        _ = try await bench.wire.stalls.next("stall") { $0 }
        await bench.worker.stop("the parent process is gone")
        try await bench.running.value
    }

    @Test func theEndFreesAWorkerThatLoads() async throws {
        let bench = try await Bench.joined()
        bench.wire.say(Sample.rollout(1, paths: 1, adapter: Sample.adapter(1).reference))
        _ = try await bench.wire.request()
        try await bench.end()
        #expect(try await bench.wire.goodbye() == "the test is over")
        let failures = bench.wire.said.values.filter { if case .leaseFailed = $0 { true } else { false } }
        #expect(failures.isEmpty, "an end is no failure of the lease")
    }

    @Test func anEngineThatHangsEndsTheWorker() async throws {
        let bench = try await Bench.joined(beat: 1, timing: Sample.shortWaits)
        bench.engine.gate.close()
        bench.wire.say(Sample.rollout(1, paths: 1, milliseconds: 5))
        _ = try await bench.engine.calls.next("call") { $0 }
        bench.wire.say(.leaseRevoked(LeaseID(fence: 1), reason: "it expired without progress"))
        let error = try #require(await bench.error())
        #expect(error.kind == .internalError)
        #expect(error.place == "engine")
        #expect(try await bench.wire.goodbye().hasPrefix("engine"), "the coordinator hears it")
        bench.engine.gate.open()
    }

    @Test func anEngineThatIsSlowToStopIsLeftBehind() async throws {
        let bench = try await Bench.joined(timing: Sample.shortWaits)
        bench.engine.gate.close()
        bench.wire.say(Sample.rollout(1, paths: 1))
        _ = try await bench.engine.calls.next("call") { $0 }
        try await bench.end()
        #expect(bench.log.lines.values.contains { $0.contains("still busy") })
        bench.engine.gate.open()
    }

    @Test func aClosedWireEndsTheWorker() async throws {
        let bench = try await Bench.joined()
        await bench.wire.close()
        try await bench.running.value
    }
}
