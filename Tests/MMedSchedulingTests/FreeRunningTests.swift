import MMedAlgorithms
import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// Where timing chooses versions: ages are bounded path by path, what is too old is asked again, and the journal alone says
/// what the run becomes.
@Suite struct FreeRunningTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let lag: Int, updates: Int, staleness: Int?
        var resample = 0
        var refusesOneIn: UInt64 = 0
        var loss = LossSettings()

        var plan: RunPlan {
            var plan = Plans.free(lag: lag, updates: updates, staleness: staleness, loss: loss, resample: resample)
            // Smaller than a question, whose paths are then sampled at different times.
            plan.settings.slotsPerLease = 3
            return plan
        }
        /// Tighter than what running ahead makes.
        var isTight: Bool { staleness.map { $0 < lag * updates } ?? false }
        var testDescription: String {
            "lag \(lag), updates \(updates), staleness \(staleness.map { "\($0)" } ?? "as lag"), resample \(resample), "
                + "refuses 1 in \(refusesOneIn), \(loss.target), KL \(loss.klCoefficient)"
        }
    }

    static let cases = [
        Case(lag: 1, updates: 1, staleness: nil), Case(lag: 3, updates: 1, staleness: nil),
        Case(lag: 2, updates: 1, staleness: 1), Case(lag: 3, updates: 1, staleness: 1),
        Case(lag: 1, updates: 3, staleness: 1), Case(lag: 2, updates: 2, staleness: 2, resample: 2),
        Case(lag: 2, updates: 2, staleness: 1, refusesOneIn: 3),
        Case(lag: 2, updates: 2, staleness: 1, loss: LossSettings(klCoefficient: 0.1)),
        Case(lag: 3, updates: 1, staleness: 1, resample: 1, loss: LossSettings(target: .stripped)),
    ]

    /// Workers and speeds of a seed: learners that are slow, or rollout workers that are.
    private func cluster(_ test: Case, seed: UInt64, _ start: Faults) -> FakeCluster {
        var draw = Draw(seed: seed)
        var faults = start
        faults.refusesOneIn = test.refusesOneIn
        faults.slowLearners = UInt64(draw.int(1...4))
        faults.slowRollouts = UInt64(draw.int(1...3))
        return FakeCluster(
            plan: test.plan, seed: seed, faults: faults, rollouts: draw.int(1...5), learners: draw.int(1...4))
    }

    private func finish(_ cluster: inout FakeCluster, _ what: String) -> VersionWalk {
        let outcome = cluster.run()
        #expect(outcome == .completed, "\(what): \(cluster.problems.prefix(3)), \(cluster.events) events")
        #expect(cluster.problems.isEmpty && cluster.liesToWorkers.isEmpty, "\(what): \(cluster.problems.prefix(3))")
        let walk = VersionWalk(cluster.journal, plan: cluster.plan)
        #expect(walk.problems.isEmpty, "\(what): \(walk.problems.prefix(3))")
        return walk
    }

    @Test(arguments: cases) func noPathIsUsedTooOldAndEachThatWasIsAskedAgain(_ test: Case) {
        var (dropped, mixed, old) = (0, 0, 0)
        for seed in 3_000..<3_016 as Range<UInt64> {
            var cluster = cluster(test, seed: seed, .none)
            let walk = finish(&cluster, "seed \(seed)")
            let most = VersionWalk.most(test.plan, stage: 3, track: 0)
            // A slot is asked again only after more versions than that, and so many are made while its step waits.
            let times = test.lag * test.updates / (most + 1)
            #expect(
                walk.asked.values.allSatisfy { $0 <= times },
                "seed \(seed): a slot was asked again \(walk.asked.values.max() ?? 0) times, at most \(times)")
            dropped += walk.takenBack + walk.lateStale
            mixed += walk.mixedQuestions
            old += walk.ages.reduce(0) { $0 + ($1.key > 0 ? $1.value : 0) }
            if !test.isTight { #expect(walk.asked.isEmpty, "seed \(seed): sampled in vain") }
        }
        // What this test is about did happen.
        #expect(old > 50 && mixed > 0, "\(old) old paths, \(mixed) mixed questions")
        #expect(test.isTight == (dropped > 0), "\(dropped) paths were too old")
    }

    @Test(arguments: cases) func theBoundHoldsWhateverDies(_ test: Case) {
        var (restarts, deaths, stops, dropped) = (0, 0, 0, 0)
        for seed in 4_000..<4_016 as Range<UInt64> {
            var cluster = cluster(test, seed: seed, .heavy)
            let walk = finish(&cluster, "seed \(seed), faults")
            restarts += cluster.restarts
            deaths += cluster.deaths
            stops += cluster.stops
            dropped += walk.takenBack + walk.lateStale
        }
        #expect(restarts > 8 && stops > 0 && deaths > 40, "\(restarts) restarts, \(stops) stops, \(deaths) deaths")
        #expect(!test.isTight || dropped > 0)
    }

    // MARK: The journal alone

    /// A coordinator that has nothing but the journal, and other workers: it computes the same and writes nothing new.
    private func expectReplay(_ cluster: FakeCluster, _ test: Case, seed: UInt64, _ what: String) {
        var faults = Faults.none
        faults.refusesOneIn = test.refusesOneIn
        var again = FakeCluster(plan: test.plan, seed: seed, faults: faults, rollouts: 2, learners: 3)
        again.core = CoordinatorCore(plan: test.plan, state: again.checkpoint, journal: cluster.journal)
        ConvergenceTests.expectSame(&again, cluster.checkpoint, what)
        let news = again.journal.filter { if case .session = $0 { false } else { true } }
        #expect(news.isEmpty, "\(what): \(news.count) new records, first \(news.first.map { "\($0)" } ?? "")")
    }

    @Test(arguments: cases) func theSameJournalGivesTheSameBytes(_ test: Case) {
        for seed in 5_000..<5_003 as Range<UInt64> {
            for faults in [Faults.none, .heavy] {
                var cluster = cluster(test, seed: seed, faults)
                _ = finish(&cluster, "seed \(seed)")
                expectReplay(cluster, test, seed: seed + 1, "the journal of seed \(seed), played again by \(seed + 1)")
            }
        }
    }

    @Test(arguments: [cases[3], cases[4], cases[5]]) func aDeathAfterAnyRecordKeepsTheBoundAndTheJournal(_ test: Case) {
        var quiet = FakeCluster(plan: test.plan, seed: 6, rollouts: 3, learners: 2)
        #expect(quiet.run() == .completed)
        let records = quiet.journal.count
        for record in stride(from: 0, to: records - 1, by: 11) {
            var cluster = FakeCluster(plan: test.plan, seed: 6, rollouts: 3, learners: 2)
            cluster.killAfterRecord = record
            _ = finish(&cluster, "killed after record \(record), seed 6")
            #expect(cluster.restarts == 1)
            expectReplay(cluster, test, seed: 7, "the journal of a run killed after record \(record), seed 6")
        }
    }

    @Test func timingChoosesVersions() {
        let test = Case(lag: 2, updates: 1, staleness: nil)
        var heads: Set<[Digest]> = []
        for seed in 8_000..<8_006 as Range<UInt64> {
            var cluster = cluster(test, seed: seed, .none)
            _ = finish(&cluster, "seed \(seed)")
            heads.insert(cluster.checkpoint.heads.map(\.reference.digest))
        }
        #expect(heads.count > 1)
    }

    // MARK: The other mode

    /// The settings of this mode do not reach into the other: nothing is too old, and the bytes are the same.
    @Test func fixedLagKnowsNoAge() throws {
        var plan = Plans.whole(lag: 2, updates: 2, resample: 1)
        let expected = try ConvergenceTests.reference(plan, refusesOneIn: 0)
        plan.settings.maxStaleness = 1
        for seed in 9_000..<9_004 as Range<UInt64> {
            var cluster = FakeCluster(plan: plan, seed: seed, faults: .heavy, rollouts: 3, learners: 2)
            ConvergenceTests.expectSame(&cluster, expected, "seed \(seed)")
            for case .drop(let drop) in cluster.journal { #expect(!drop.isVoided && !drop.isStale, "seed \(seed)") }
        }
    }

    /// Exactly on policy however the modes are set, when nothing runs ahead.
    @Test func withoutALeadBothModesAreOne() throws {
        for updates in [1, 3] {
            let expected = try ConvergenceTests.reference(Plans.whole(lag: 0, updates: updates), refusesOneIn: 0)
            var cluster = FakeCluster(
                plan: Plans.free(lag: 0, updates: updates, staleness: nil), seed: 10, faults: .heavy, rollouts: 3,
                learners: 2)
            #expect(cluster.run() == .completed)
            #expect(cluster.checkpoint.heads == expected.heads)
        }
    }
}
