import MMedCore
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedCoordinator

@Suite(.timeLimit(.minutes(10))) struct CoordinatorSessionTests {
    private let evaluation = [Tiny.stage("eval-base", .evaluate, .base, 1)]

    @Test func aStrangerIsAskedOnceWhoItIs() async throws {
        let bench = Bench(evaluation)
        let line = Line(bench.router)
        for _ in 0..<500 { line.say(.beat(Beat(phase: .idle, progress: 0, leases: []))) }
        line.say(.hello(Tiny.hello(.rollout, "a")))
        let welcome = try await line.welcome()
        #expect(welcome.run == Name("tiny"))
        #expect(welcome.seed == 5)
        #expect(welcome.adapters.map(\.name) == Tiny.specialties)
        let questions = line.mail.values.filter { $0 == .introduceYourself }.count
        // Once a second: a slow machine may take more than one for the 500.
        #expect((1...10).contains(questions))
        try await bench.stop()
    }

    @Test func whoDoesNotFitIsRefusedAndLogged() async throws {
        let bench = Bench(evaluation)
        let line = Line(bench.router)
        line.say(.hello(Tiny.hello(.rollout, "a", model: FakeWork.digest(of: [2]))))
        #expect(try await line.refused().contains("digest"))
        #expect(try await bench.telemetry.line("worker-refused").fields.contains { $0.value == .text("a") })
        bench.router.hear(.otherVersion(line.peer, major: 7, minor: 1))
        #expect(try await line.refused().contains("7.1"))
        bench.router.hear(.malformed(line.peer, reason: "its checksum is wrong"))
        _ = try await bench.telemetry.line("malformed-message")
        try await bench.stop()
    }

    /// What was damaged may have been a credit: without it the worker would idle for ever.
    @Test func aWorkerWhoseMessageWasDamagedIsAskedToSayItAgain() async throws {
        let bench = Bench(evaluation)
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"), credits: 0)
        bench.router.hear(.malformed(line.peer, reason: "its checksum is wrong"))
        _ = try await line.mail.next("question") { $0 == .introduceYourself ? true : nil }
        line.say(.hello(Tiny.hello(.rollout, "a")))
        _ = try await line.welcome()
        line.say(.ready(credits: 1))
        _ = try await line.rollout()
        #expect(bench.telemetry.count("worker-left") == 0)
        try await bench.stop()
    }

    @Test func theSameProcessKeepsItsLeasesOnANewConnection() async throws {
        let bench = Bench(evaluation)
        let hello = Tiny.hello(.rollout, "a")
        let first = try await Line.joined(bench.router, hello)
        let lease = try await first.rollout()
        let second = try await Line.joined(bench.router, hello, credits: 0)
        bench.answer(lease, on: second)
        _ = try await second.recorded()
        #expect(bench.telemetry.count("late-paths") == 0)
        // What the old connection's end says comes too late to matter.
        bench.router.hear(.unreachable(first.peer))
        second.say(.ready(credits: 1))
        _ = try await second.rollout()
        try await bench.stop()
    }

    @Test func anotherProcessOfTheNameTakesItsPlaceAndTheFirstIsSentAway() async throws {
        let bench = Bench(evaluation)
        let first = try await Line.joined(bench.router, Tiny.hello(.rollout, "a", instance: 1))
        let lease = try await first.rollout()
        let second = try await Line.joined(bench.router, Tiny.hello(.rollout, "a", instance: 2))
        #expect(try await first.refused().contains("another process has taken the name a"))
        let again = try await second.rollout()
        #expect(again.lease > lease.lease)
        #expect(again.questions.flatMap(\.slots) == lease.questions.flatMap(\.slots))
        try await bench.stop()
    }

    @Test func aConnectionThatChangesItsNameLeavesNothingBehind() async throws {
        let bench = Bench(evaluation)
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        _ = try await line.rollout()
        line.say(.hello(Tiny.hello(.rollout, "b", instance: 2)))
        _ = try await line.welcome()
        line.say(.ready(credits: 1))
        _ = try await line.rollout()
        let left = try await bench.telemetry.line("worker-left")
        #expect(left.fields.contains { $0.value == .text("a") })
        try await bench.stop()
    }

    @Test func aWorkerThatVanishesCostsItsLeaseAlone() async throws {
        let bench = Bench(evaluation)
        let first = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        let lease = try await first.rollout()
        let second = try await Line.joined(bench.router, Tiny.hello(.rollout, "b"), credits: 0)
        bench.router.hear(.unreachable(first.peer))
        _ = try await bench.telemetry.line("worker-left")
        second.say(.ready(credits: 1))
        let again = try await second.rollout()
        #expect(Set(again.questions.flatMap(\.slots)).isSuperset(of: lease.questions.flatMap(\.slots).prefix(1)))
        try await bench.stop()
    }

    @Test func aSilentWorkerIsGivenUp() async throws {
        let bench = Bench(evaluation) {
            $0.beatMilliseconds = 20
            $0.silentBeats = 10
        }
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        _ = try await line.rollout()
        let left = try await bench.telemetry.line("worker-left")
        #expect("\(left)".contains("no sign of life"))
        // Only its link was broken: it is asked who it is, and is back.
        line.say(.beat(Beat(phase: .sampling, progress: 1, leases: [])))
        _ = try await line.mail.next("question") { $0 == .introduceYourself ? true : nil }
        line.say(.hello(Tiny.hello(.rollout, "a")))
        _ = try await line.mail.next("welcome") { if case .welcome = $0 { true } else { nil } }
        line.say(.ready(credits: 1))
        _ = try await line.rollout()
        try await bench.stop()
    }

    @Test func aBeatThatNamesAVoidLeaseHearsThatItIsVoid() async throws {
        let bench = Bench(evaluation)
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        let lease = try await line.rollout().lease
        let old = LeaseID(fence: 3)
        line.say(.beat(Beat(phase: .sampling, progress: 1, leases: [old, lease])))
        #expect(try await line.revoked() == old)
        line.say(.ready(credits: 1))
        _ = try await line.rollout()
        #expect(line.mail.values.filter { if case .leaseRevoked = $0 { true } else { false } }.count == 1)
        try await bench.stop()
    }

    @Test func aDrainEndsWhenTheLeasesAreBack() async throws {
        let bench = Bench(evaluation)
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"), credits: 2)
        let leases = [try await line.rollout(), try await line.rollout()]
        await bench.coordinator.drain()
        _ = try await line.mail.next("drain") { $0 == .drain ? true : nil }
        // Who comes now is welcome, and told the same.
        let late = try await Line.joined(bench.router, Tiny.hello(.rollout, "b"), credits: 2)
        _ = try await late.mail.next("drain") { $0 == .drain ? true : nil }
        bench.answer(leases[0], on: line)
        // The second lease comes back because its worker leaves.
        line.say(.goodbye(reason: "it was asked to stop"))
        #expect(try await bench.running.value == .stopped)
        #expect(try await late.end() == "the run was stopped; once it is resumed, start this worker again")
        #expect(!bench.store.saved.values.isEmpty)
    }

    @Test func aDrainEndsWhenTheLastWorkerVanishes() async throws {
        let bench = Bench(evaluation)
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        _ = try await line.rollout()
        bench.router.lose(line.peer)
        // The drain itself finds that the connection is gone.
        await bench.coordinator.drain()
        #expect(try await bench.running.value == .stopped)
    }

    @Test func aRunWithoutWorkersEndsAndSaysWhichAreMissing() async throws {
        let bench = Bench(evaluation) { $0.noWorkersMilliseconds = 1 }
        #expect(try await bench.running.value == .noWorkers(.rollout))
    }

    @Test func aStoreThatFailsEndsTheRunWithItsError() async throws {
        let bench = Bench(evaluation, failsFrom: 0)
        let hand = Hand(bench.router, Tiny.hello(.rollout, "a"), seed: 5) { _ in nil }
        hand.join()
        let error = try #require(await bench.error())
        #expect(error.kind == .tryAgain)
        #expect(error.problem.contains("no space left"))
        #expect(hand.isOver, "the worker is told")
    }

    @Test func aWireThatClosesIsNoEndInGoodOrder() async throws {
        let bench = Bench(evaluation)
        _ = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        await bench.router.close()
        #expect(try #require(await bench.error()).kind == .internalError)
    }
}
