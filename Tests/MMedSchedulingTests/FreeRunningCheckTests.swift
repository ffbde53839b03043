import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// Spot checks where timing chooses versions: a path is computed again by the version that it names, not by the newest.
@Suite struct FreeRunningCheckTests {
    private static let cases = [
        FreeRunningTests.Case(lag: 1, updates: 1, staleness: nil),
        FreeRunningTests.Case(lag: 3, updates: 1, staleness: 1),
        FreeRunningTests.Case(lag: 2, updates: 2, staleness: 2, resample: 2),
    ]
    private static let liar = Name("rollout-0")!

    private func cluster(_ test: FreeRunningTests.Case, seed: UInt64, _ start: Faults, fraction: Double) -> FakeCluster
    {
        var draw = Draw(seed: seed)
        var faults = start
        faults.slowLearners = UInt64(draw.int(1...4))
        faults.slowRollouts = UInt64(draw.int(1...3))
        var plan = test.plan
        (plan.settings.spotCheck, plan.settings.spotSalt) = (fraction, seed)
        return FakeCluster(plan: plan, seed: seed, faults: faults, rollouts: draw.int(3...5), learners: draw.int(3...4))
    }

    @Test(arguments: cases) func honestWorkersKeepTheirPlaceAndTheBound(_ test: FreeRunningTests.Case) {
        var (passed, old) = (0, 0)
        for seed in 5_000..<5_016 as Range<UInt64> {
            let faults = seed % 2 == 0 ? Faults.none : .heavy
            var cluster = cluster(test, seed: seed, faults, fraction: seed % 4 < 2 ? 1 : 0.25)
            #expect(cluster.run() == .completed, "seed \(seed): \(cluster.problems.prefix(3))")
            #expect(cluster.problems.isEmpty, "seed \(seed): \(cluster.problems.prefix(3))")
            #expect(cluster.caught.isEmpty, "seed \(seed): \(cluster.caught)")
            passed += cluster.core.spot.passed
            for case .path(let path) in cluster.journal where path.path.trajectory.version > 0 { old += 1 }
        }
        #expect(passed > 500 && old > 500, "\(passed) passed, \(old) of later versions")
    }

    @Test(arguments: cases) func aLiarIsCaughtAndNoneOfItsLiesIsUsed(_ test: FreeRunningTests.Case) {
        for (kind, seed) in zip([Cheat.Kind.logprobs, .tokens, .logprobs, .tokens], 6_000..<6_004 as Range<UInt64>) {
            var cluster = cluster(test, seed: seed, .none, fraction: 1)
            cluster.cheats[Self.liar] = Cheat(kind: kind, perMille: 300)
            #expect(cluster.run() == .completed, "seed \(seed): \(cluster.problems.prefix(3))")
            #expect(cluster.caught == [Self.liar], "seed \(seed), \(kind): \(cluster.caught)")
            #expect(cluster.liedSlots.isEmpty, "seed \(seed), \(kind)")
        }
    }
}
