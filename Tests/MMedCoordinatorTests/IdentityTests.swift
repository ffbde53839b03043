import MMedCore
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedCoordinator

private func identity(_ role: WorkerRole, _ name: String, key: Character = "a") -> Identity {
    Identity(key: PublicKey(String(repeating: key, count: 40))!, role: role, name: Name(name)!)
}

@Suite(.timeLimit(.minutes(10))) struct IdentityTests {
    private let handshake = Handshake(modelDigest: Tiny.model, adapters: Tiny.specialties)
    private let training = [Tiny.stage("dsa", .supervise, .specialty, 2)]
    private let evaluation = [Tiny.stage("eval-base", .evaluate, .base, 1)]

    private func reason(_ hello: Hello, _ identity: Identity?, holder: Hello? = nil, of other: Identity? = nil)
        -> String?
    {
        let directive = handshake.judge(hello, by: identity, holder: holder, holderIdentity: other)
        guard case .refuse(let reason, let mend) = directive else { return nil }
        #expect(!mend.isEmpty)
        return reason
    }

    @Test(arguments: [
        (WorkerRole.rollout, "gpu-7", Optional<String>.none), (.rollout, "gpu-7.1", nil),
        (.learner, "gpu-7", "its key is a rollout's"), (.rollout, "gpu-8", "its key is that of gpu-7"),
        (.rollout, "gpu-71", "its key is that of gpu-7"),
    ])
    func aWorkerIsWhatItsKeySays(role: WorkerRole, name: String, refusal: String?) {
        let found = reason(Tiny.hello(role, name), identity(.rollout, "gpu-7"))
        #expect(found?.contains(refusal ?? "") == (refusal == nil ? nil : true), "\(found ?? "accepted")")
    }

    @Test func aNameOfALiveWorkerIsNotGivenToAnotherKey() {
        let (mine, other) = (identity(.rollout, "a"), identity(.rollout, "a", key: "b"))
        let hello = Tiny.hello(.rollout, "a", instance: 2)
        let holder = Tiny.hello(.rollout, "a", instance: 1)
        #expect(reason(hello, mine, holder: holder, of: mine) == nil)
        #expect(reason(hello, other, holder: holder, of: mine)?.contains("another key") == true)
        // The same instance is no proof: it goes over the wire, and could be repeated.
        #expect(reason(holder, other, holder: holder, of: mine)?.contains("another key") == true)
        #expect(reason(hello, other) == nil, "nobody holds it")
    }

    @Test func aWorkerThatLiesAboutItsRoleIsRefusedAndLogged() async throws {
        let bench = Bench(evaluation)
        let line = Line(bench.router, as: identity(.rollout, "a"))
        line.say(.hello(Tiny.hello(.learner, "a")))
        #expect(try await line.refused().contains("its key is a rollout's"))
        line.say(.ready(credits: 1))
        _ = try await line.mail.next("question") { $0 == .introduceYourself ? true : nil }
        #expect(try await bench.telemetry.line("worker-refused").fields.contains { $0.value == .text("a") })
        // The same key in its own role is welcome.
        line.say(.hello(Tiny.hello(.rollout, "a")))
        _ = try await line.welcome()
        try await bench.stop()
    }

    @Test(arguments: [true, false])
    func aGradientFromARolloutIsRefused(hasKeys: Bool) async throws {
        let bench = Bench(training)
        let learner = try await Line.joined(
            bench.router, Tiny.hello(.learner, "l"), as: hasKeys ? identity(.learner, "l") : nil, credits: 1)
        let rollout = try await Line.joined(
            bench.router, Tiny.hello(.rollout, "r"), as: hasKeys ? identity(.rollout, "r", key: "b") : nil)
        let lease = try await learner.gradient()
        let chunks = FakeWork.chunks(lease, FakeWork.gradient(lease))
        // It names the learner's own lease and shard, and its bytes are right.
        for chunk in chunks { rollout.say(.gradientChunk(chunk)) }
        #expect(try await rollout.refused().contains("no business with gradientChunk"))
        #expect(try await bench.telemetry.line("wrong-role").fields.contains { $0.value == .text("r") })
        #expect(try await bench.telemetry.line("worker-left").fields.contains { $0.value == .text("r") })
        let answers = rollout.mail.values.filter { if case .gradientReceived = $0 { true } else { false } }
        #expect(answers.isEmpty)
        // The learner's work is not disturbed.
        for chunk in chunks { learner.say(.gradientChunk(chunk)) }
        #expect(try await learner.received() > 0)
        #expect(!learner.mail.values.contains { if case .leaseRevoked = $0 { true } else { false } })
        try await bench.stop()
    }

    @Test func anUpdateFromARolloutIsRefused() async throws {
        let bench = Bench(evaluation)
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "r"))
        line.say(.updateApplied(AdapterReference(name: Tiny.specialties[0], version: 0, digest: Tiny.model)))
        #expect(try await line.refused().contains("updateApplied"))
        #expect(bench.telemetry.count("replica-differs") == 0)
        try await bench.stop()
    }

    @Test func pathsFromALearnerAreRefused() async throws {
        let bench = Bench(evaluation)
        let rollout = try await Line.joined(bench.router, Tiny.hello(.rollout, "r"), as: identity(.rollout, "r"))
        let learner = try await Line.joined(
            bench.router, Tiny.hello(.learner, "l"), as: identity(.learner, "l", key: "b"), credits: 0)
        let lease = try await rollout.rollout()
        bench.answer(lease, on: learner)
        #expect(try await learner.refused().contains("trajectories"))
        #expect(!learner.mail.values.contains { if case .trajectoriesRecorded = $0 { true } else { false } })
        bench.answer(lease, on: rollout)
        #expect(!(try await rollout.recorded()).isEmpty)
        try await bench.stop()
    }

    @Test func anEndpointThatClosesByItselfEndsTheRunWithItsError() async throws {
        let bench = Bench(evaluation)
        _ = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        let why = MMedError(.internalError, at: "the wire", "the thread that checks keys has ended")
        bench.router.hear(.closed(why))
        #expect(try #require(await bench.error()) == why)
    }
}
