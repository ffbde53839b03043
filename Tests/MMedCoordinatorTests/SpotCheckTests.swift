import MMedCore
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedCoordinator

@Suite(.timeLimit(.minutes(10))) struct SpotCheckTests {
    private func identity(_ name: String, _ key: Character) -> Identity {
        Identity(key: PublicKey(String(repeating: key, count: 40))!, role: .learner, name: Name(name)!)
    }

    private func bench(_ fraction: Double) -> Bench {
        Bench([Tiny.stage("dsa", .supervise, .specialty, 2)]) {
            $0.spotCheck = fraction
            $0.gradientShards = 1
            $0.microbatchTokens = 1_000
        }
    }

    private func joined(_ bench: Bench, _ name: String, _ key: Character, credits: Int) async throws -> Line {
        let line = try await Line.joined(
            bench.router, Tiny.hello(.learner, name), as: identity(name, key), credits: 0)
        line.say(.canary(CanaryReport(adapter: nil, logprob: -40)))
        line.say(.ready(credits: credits))
        return line
    }

    /// Answers every lease until the run is over.
    private func work(_ line: Line) -> Task<Void, Never> {
        Task {
            while !Task.isCancelled, let lease = try? await line.gradient() {
                for chunk in FakeWork.chunks(lease, FakeWork.gradient(lease)) { line.say(.gradientChunk(chunk)) }
                line.say(.ready(credits: 1))
            }
        }
    }

    private func heads(_ bench: Bench) throws -> [Digest] {
        try #require(bench.store.saved.values.last).heads.map(\.reference.digest)
    }

    @Test func aWrongGradientIsFoundAndItsWorkerKeptOut() async throws {
        let honest = bench(0)
        let only = work(try await joined(honest, "only", "c", credits: 4))
        #expect(try await honest.running.value == .completed)
        only.cancel()

        let bench = bench(1)
        let liar = try await joined(bench, "liar", "a", credits: 1)
        let lease = try await liar.gradient()
        let hands = [try await joined(bench, "one", "b", credits: 8), try await joined(bench, "two", "c", credits: 8)]
            .map(work)
        var wrong = FakeWork.gradient(lease)
        wrong[3] ^= 1
        for chunk in FakeWork.chunks(lease, wrong) { liar.say(.gradientChunk(chunk)) }
        #expect(try await liar.end().contains("quarantined"))
        #expect(try await bench.running.value == .completed)
        for hand in hands { hand.cancel() }
        #expect(try heads(bench) == heads(honest), "an honest run's bytes")
        let caught = bench.journal.records.compactMap { record -> QuarantinedWorker? in
            if case .quarantine(let worker) = record { worker } else { nil }
        }
        #expect(caught.map(\.worker.text) == ["liar"] && caught.first?.key == identity("liar", "a").key)
        #expect(bench.telemetry.count("worker-quarantined") == 1)
    }

    /// Answers that no tokenizer can read are no voices, however many workers give the same one.
    @Test func unreadableAnswersDoNotOutvoteAnHonestPath() async throws {
        let bench = Bench([Tiny.stage("eval-base", .evaluate, .base, 1)]) {
            $0.spotCheck = 1
            $0.slotsPerLease = 64
        }
        func joined(_ name: String) async throws -> Line {
            let line = try await Line.joined(bench.router, Tiny.hello(.rollout, name), credits: 0)
            line.say(.canary(CanaryReport(adapter: nil, logprob: -40)))
            line.say(.ready(credits: 1))
            return line
        }
        let honest = try await joined("honest")
        let all = try await honest.rollout()
        // There before the paths come, so that they are who is asked.
        let liars = [try await joined("liar-1"), try await joined("liar-2")]
        bench.answer(all, on: honest)
        for liar in liars {
            let lease = try await liar.rollout()
            let question = try #require(lease.questions.first)
            var path = FakeWork.path(try #require(question.slots.first), question, seed: 5)
            path.completionIds[0] = 5_000
            liar.say(.trajectories(lease.lease, [path]))
            #expect(try await liar.revoked() == lease.lease)
        }
        #expect(bench.telemetry.count("path-unreadable") == 2)
        #expect(bench.telemetry.count("spot-check-differs") == 0)
        #expect(bench.telemetry.count("worker-quarantined") == 0)
        try await bench.stop()
    }

    /// What the journal says of a worker holds for a coordinator that was started again.
    @Test func aQuarantinedKeyIsRefusedAfterARestart() throws {
        let store = FakeStore()
        let plan = Tiny.plan([Tiny.stage("dsa", .supervise, .specialty, 1)])
        let caught = QuarantinedWorker(
            worker: Name("liar")!, party: Name("liar")!, key: identity("liar", "a").key, role: .learner,
            reason: "it lied")
        var desk = CoordinatorDesk(
            plan: plan, state: Tiny.state(plan, store), journal: [.quarantine(caught)], modelDigest: Tiny.model,
            optimizer: FakeOptimizer(store: store), reward: FakeJudge(), store: store)
        func refusal(_ name: String, _ identity: Identity, _ number: UInt64) -> String? {
            let effects = desk.take(
                .message(PeerID(number: number, identity: identity), .hello(Tiny.hello(.learner, name))),
                at: Tick(milliseconds: number))
            for case .send(.refused(let reason, let mend), _) in effects {
                #expect(mend.contains("new key"))
                return reason
            }
            return nil
        }
        #expect(refusal("liar", identity("liar", "a"), 1)?.contains("liar is quarantined: it lied") == true)
        #expect(refusal("liar.2", identity("liar", "a"), 2) != nil)
        #expect(refusal("honest", identity("honest", "b"), 3) == nil)
    }
}
