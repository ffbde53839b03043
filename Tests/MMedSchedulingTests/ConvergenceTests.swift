import MMedAlgorithms
import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// Whatever workers there are, whatever arrives when, whoever dies: the result is that of the quietest run.
@Suite struct ConvergenceTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let lag: Int, updates: Int
        var resample = 0
        var refusesOneIn: UInt64 = 0
        var loss = LossSettings()

        var plan: RunPlan { Plans.whole(lag: lag, updates: updates, loss: loss, resample: resample) }
        var testDescription: String {
            "lag \(lag), updates \(updates), resample \(resample), refuses 1 in \(refusesOneIn), \(loss.target), "
                + "KL \(loss.klCoefficient)"
        }
    }

    static let cases = [
        Case(lag: 0, updates: 1), Case(lag: 0, updates: 3), Case(lag: 2, updates: 1), Case(lag: 2, updates: 3),
        Case(lag: 1, updates: 2, resample: 2), Case(lag: 0, updates: 2, resample: 1, refusesOneIn: 3),
        Case(lag: 2, updates: 2, loss: LossSettings(klCoefficient: 0.1)),
        Case(lag: 2, updates: 2, resample: 1, loss: LossSettings(target: .stripped)),
    ]

    /// One rollout worker, one learner, nothing goes wrong.
    static func reference(_ plan: RunPlan, refusesOneIn: UInt64) throws -> RunState {
        var faults = Faults.none
        faults.refusesOneIn = refusesOneIn
        var quiet = FakeCluster(plan: plan, seed: 1, faults: faults, rollouts: 1, learners: 1)
        #expect(quiet.run() == .completed)
        #expect(quiet.problems.isEmpty, "\(quiet.problems.prefix(3))")
        try #require(quiet.outcome == .completed)
        return quiet.checkpoint
    }

    /// A state without the epoch, which counts restarts.
    static func comparable(_ state: RunState) -> RunState {
        var state = state
        state.epoch = 0
        return state
    }

    static func expectSame(_ cluster: inout FakeCluster, _ expected: RunState, _ what: String) {
        let outcome = cluster.run()
        #expect(outcome == .completed, "\(what): \(cluster.problems.prefix(3)), \(cluster.events) events")
        #expect(cluster.problems.isEmpty, "\(what): \(cluster.problems.prefix(3))")
        #expect(
            cluster.checkpoint.heads.map(\.reference.digest) == expected.heads.map(\.reference.digest), "\(what): heads"
        )
        #expect(comparable(cluster.checkpoint) == comparable(expected), "\(what): the final state differs")
    }

    @Test(arguments: cases) func anyNumberOfWorkersGivesTheSameBytes(_ test: Case) throws {
        let expected = try Self.reference(test.plan, refusesOneIn: test.refusesOneIn)
        var faults = Faults.none
        faults.refusesOneIn = test.refusesOneIn
        for learners in [1, 2, 4] {
            for rollouts in [1, 2, 5] {
                for seed in 0..<2 as Range<UInt64> {
                    var cluster = FakeCluster(
                        plan: test.plan, seed: 100 + seed, faults: faults, rollouts: rollouts, learners: learners)
                    Self.expectSame(
                        &cluster, expected, "seed \(100 + seed), \(learners) learners, \(rollouts) rollouts")
                }
            }
        }
    }

    @Test(arguments: cases) func faultsChangeNothing(_ test: Case) throws {
        let expected = try Self.reference(test.plan, refusesOneIn: test.refusesOneIn)
        var faults = Faults.heavy
        faults.refusesOneIn = test.refusesOneIn
        var (restarts, stops, deaths) = (0, 0, 0)
        for seed in 1_000..<1_024 as Range<UInt64> {
            var draw = Draw(seed: seed)
            let (rollouts, learners) = (draw.int(1...5), draw.int(1...4))
            var cluster = FakeCluster(
                plan: test.plan, seed: seed, faults: faults, rollouts: rollouts, learners: learners)
            Self.expectSame(&cluster, expected, "seed \(seed), \(learners) learners, \(rollouts) rollouts, faults")
            restarts += cluster.restarts
            stops += cluster.stops
            deaths += cluster.deaths
        }
        // The faults that this test is about did happen.
        #expect(restarts > 10 && stops > 2 && deaths > 50, "\(restarts) restarts, \(stops) stops, \(deaths) deaths")
    }

    @Test(arguments: cases) func everyCheckpointIsAPlaceToGoOnFrom(_ test: Case) throws {
        let expected = try Self.reference(test.plan, refusesOneIn: test.refusesOneIn)
        var faults = Faults.none
        faults.refusesOneIn = test.refusesOneIn
        var quiet = FakeCluster(plan: test.plan, seed: 5, faults: faults, rollouts: 2, learners: 2)
        _ = quiet.run()
        #expect(quiet.checkpoints > 20)
        for place in 0..<quiet.checkpoints {
            var cluster = FakeCluster(plan: test.plan, seed: 5, faults: faults, rollouts: 2, learners: 2)
            cluster.restartAfterCheckpoint = place
            Self.expectSame(&cluster, expected, "restart after checkpoint \(place), seed 5")
            #expect(cluster.restarts <= 1)
        }
    }

    /// Eight runs of one seed: hash order differs between processes, so this holds the order inside one at least.
    @Test func theSameEventsGiveTheSameActions() {
        let plan = Plans.whole(lag: 2, updates: 2, resample: 1)
        var transcripts: Set<[LogEntry]> = []
        for _ in 0..<8 {
            var cluster = FakeCluster(plan: plan, seed: 77, faults: .heavy, rollouts: 4, learners: 3)
            #expect(cluster.run() == .completed)
            transcripts.insert(cluster.entries)
        }
        #expect(transcripts.count == 1)
    }
}
