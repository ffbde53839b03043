import MMedAlgorithms
import MMedCore
import MMedLocks
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedCoordinator

/// Nothing is said or done that rests on a record which is not on the disk.
@Suite(.timeLimit(.minutes(10))) struct DurabilityTests {
    private let evaluation = [Tiny.stage("eval-base", .evaluate, .base, 1)]

    private func isPath(_ record: JournalRecord) -> Bool { if case .path = record { true } else { false } }

    @Test func anAcknowledgementWaitsForTheDisk() async throws {
        let bench = Bench(evaluation) { $0.slotsPerLease = 2 }
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        let lease = try await line.rollout()
        bench.journal.shut()
        bench.answer(lease, on: line)
        _ = try await bench.journal.arrivals.next("the record") { $0.contains(where: isPath) ? true : nil }
        // What needs no record still goes on: a chunk of a blob is served while the disk is busy.
        let blob = bench.store.put([1, 2, 3])
        line.say(.blobRequest(blob, offset: 0))
        _ = try await line.answer(blob)
        #expect(!line.wasTold { if case .trajectoriesRecorded = $0 { true } else { false } })
        bench.journal.open()
        _ = try await line.recorded()
        #expect(bench.journal.records.contains(where: isPath))
        try await bench.stop()
    }

    /// A beat that names a lease which the core has just closed must not let the worker forget what is not on the disk.
    @Test func aRevocationDoesNotOvertakeTheRecord() async throws {
        let bench = Bench(evaluation) { $0.slotsPerLease = 2 }
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        let lease = try await line.rollout()
        bench.journal.shut()
        bench.answer(lease, on: line)
        _ = try await bench.journal.arrivals.next("the record") { $0.contains(where: isPath) ? true : nil }
        line.say(.beat(Beat(phase: .idle, progress: 1, leases: [lease.lease])))
        let blob = bench.store.put([1])
        line.say(.blobRequest(blob, offset: 0))
        _ = try await line.answer(blob)
        #expect(!line.wasTold { if case .leaseRevoked = $0 { true } else { false } })
        bench.journal.open()
        _ = try await line.recorded()
        #expect(try await line.revoked() == lease.lease)
        try await bench.stop()
    }

    /// A worker that was sent away while the disk was busy may be back under its name before the disk is done.
    @Test func aDismissalNeverMeetsTheNextProcessOfTheName() async throws {
        let bench = Bench(evaluation) { $0.slotsPerLease = 2 }
        let first = try await Line.joined(bench.router, Tiny.hello(.rollout, "a", instance: 1))
        let lease = try await first.rollout()
        let question = lease.questions[0]
        var path = FakeWork.path(question.slots[0], question, seed: 5)
        bench.journal.shut()
        first.say(.trajectories(lease.lease, [path]))
        _ = try await bench.journal.arrivals.next("the record") { $0.contains(where: isPath) ? true : nil }
        path.completionIds[0] = (path.completionIds[0] + 1) % 1_000
        first.say(.trajectories(lease.lease, [path]))
        #expect(try await first.end().contains("two different paths"))
        let second = try await Line.joined(bench.router, Tiny.hello(.rollout, "a", instance: 2))
        bench.journal.open()
        _ = try await second.rollout()
        #expect(!second.wasTold { if case .end = $0 { true } else { false } })
        try await bench.stop()
    }

    @Test func recordsThatGatherWhileTheDiskIsBusyAreOneGroup() async throws {
        let bench = Bench(evaluation) { $0.slotsPerLease = 4 }
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        let lease = try await line.rollout()
        bench.journal.shut()
        for question in lease.questions {
            for slot in question.slots {
                line.say(.trajectories(lease.lease, [FakeWork.path(slot, question, seed: 5)]))
            }
        }
        let blob = bench.store.put([1])
        line.say(.blobRequest(blob, offset: 0))
        _ = try await line.answer(blob)
        bench.journal.open()
        for _ in 0..<4 { _ = try await line.recorded() }
        #expect(try await bench.running.value == .completed)
        let paths = bench.journal.groups.values.map { $0.count(where: isPath) }.filter { $0 > 0 }
        #expect(paths == [1, 3], "the first alone, the others together: \(paths)")
    }

    @Test func aDiskThatFailsEndsTheRunAndAcknowledgesNothing() async throws {
        let bench = Bench(evaluation, journalFailsFrom: 1) { $0.slotsPerLease = 2 }
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        bench.answer(try await line.rollout(), on: line)
        let error = await bench.error()
        #expect(error.map { "\($0)" }?.contains("no space left") == true)
        #expect(!line.wasTold { if case .trajectoriesRecorded = $0 { true } else { false } })
        #expect(bench.store.saved.values.isEmpty, "a checkpoint must not rest on records that are not there")
    }

    /// Told that it is missing, an honest worker would leave for having asked.
    @Test func aBlobThatCannotBeReadEndsTheRunAndIsNotCalledMissing() async throws {
        let bench = Bench(evaluation) { $0.slotsPerLease = 2 }
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        let blob = bench.store.put([1])
        bench.store.unreadable.withLock { _ = $0.insert(blob) }
        line.say(.blobRequest(blob, offset: 0))
        let error = await bench.error()
        #expect(error.map { "\($0)" }?.contains("Input/output error") == true)
        #expect(!line.wasTold { if case .blobMissing = $0 { true } else { false } })
    }

    /// Records of the whole run are there before it ends, and a second coordinator that reads them asks for nothing.
    @Test func aRunThatIsDoneAgainFromItsJournalAsksForNoPath() async throws {
        let bench = Bench(evaluation) { $0.slotsPerLease = 8 }
        let line = try await Line.joined(bench.router, Tiny.hello(.rollout, "a"))
        bench.answer(try await line.rollout(), on: line)
        #expect(try await bench.running.value == .completed)
        #expect(bench.journal.records.count(where: isPath) == 4)
        let plan = Tiny.plan(evaluation)
        let (store, router) = (FakeStore(), FakeRouter())
        var state = Tiny.state(plan, store)
        state.epoch = 2
        let again = Coordinator(
            plan: plan, state: state, journal: bench.journal.records, modelDigest: Tiny.model, endpoint: router,
            ports: CoordinatorPorts(
                optimizer: FakeOptimizer(store: store), reward: FakeJudge(), store: store, journal: FakeJournal(),
                merge: FakeMerge(store: store), telemetry: FakeTelemetry()))
        #expect(try await again.run() == .completed)
        #expect(store.saved.values.last?.evaluations == bench.store.saved.values.last?.evaluations)
    }
}
