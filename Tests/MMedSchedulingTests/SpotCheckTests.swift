import MMedAlgorithms
import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// A fraction of what workers return is computed again by another: honest workers lose nothing by it, a liar is found.
@Suite struct SpotCheckTests {
    private func plan(_ test: ConvergenceTests.Case, _ fraction: Double, salt: UInt64 = 7) -> RunPlan {
        var plan = test.plan
        plan.settings.spotCheck = fraction
        plan.settings.spotSalt = salt
        return plan
    }

    private static let liar = Name("rollout-0")!
    private static let wrongLearner = Name("learner-0")!

    // MARK: Honest workers

    @Test(arguments: ConvergenceTests.cases) func honestWorkersKeepTheirPlaceAndTheBytes(_ test: ConvergenceTests.Case)
        throws
    {
        let expected = try ConvergenceTests.reference(test.plan, refusesOneIn: test.refusesOneIn)
        var passed = 0
        for workers in [1, 2, 4] {
            for (fraction, seed) in zip([0.02, 0.3, 1], 40..<43 as Range<UInt64>) {
                var faults = Faults.none
                faults.refusesOneIn = test.refusesOneIn
                var cluster = FakeCluster(
                    plan: plan(test, fraction, salt: seed), seed: seed, faults: faults, rollouts: workers,
                    learners: workers)
                ConvergenceTests.expectSame(&cluster, expected, "seed \(seed), \(workers) of each, \(fraction)")
                #expect(cluster.caught.isEmpty, "seed \(seed): \(cluster.caught)")
                passed += cluster.core.spot.passed
            }
        }
        #expect(passed > 200)
    }

    @Test(arguments: ConvergenceTests.cases) func noFaultMakesAnHonestWorkerALiar(_ test: ConvergenceTests.Case) throws
    {
        let expected = try ConvergenceTests.reference(test.plan, refusesOneIn: test.refusesOneIn)
        var faults = Faults.heavy
        faults.refusesOneIn = test.refusesOneIn
        for seed in 3_000..<3_008 as Range<UInt64> {
            var cluster = FakeCluster(
                plan: plan(test, seed % 2 == 0 ? 0.25 : 1, salt: seed), seed: seed, faults: faults,
                rollouts: 2 + Int(seed % 3), learners: 1 + Int(seed % 5))
            ConvergenceTests.expectSame(&cluster, expected, "seed \(seed)")
            #expect(cluster.caught.isEmpty, "seed \(seed): \(cluster.caught)")
        }
    }

    @Test func aLoneWorkerIsNotWaitedForAndItIsSaidOnce() {
        var cluster = FakeCluster(
            plan: plan(.init(lag: 0, updates: 1), 1), seed: 5, rollouts: 1, learners: 1)
        #expect(cluster.run() == .completed)
        let idle = cluster.entries.filter { $0.event == "spot-check-idle" }
        #expect(idle.count == 2 && cluster.core.spot.passed == 0)
        let counted = cluster.entries.filter { entry in
            entry.event == "stage-done" && entry.fields.contains { $0.key == "checks_agreed" }
        }
        #expect(!counted.isEmpty)
        for done in counted {
            #expect(done.fields.contains(.init("checks_agreed", .int(0))), "\(done)")
            #expect(!done.fields.contains(.init("checks_let_through", .int(0))), "\(done)")
        }
        #expect(idle.allSatisfy { $0.fields.contains(.init("reason", .text("one-worker"))) })
    }

    // MARK: The draw

    @Test func theDrawTakesTheFractionThatWasAskedFor() {
        for (fraction, seed) in [(0.02, 1), (0.1, 2), (0.5, 3)] as [(Double, UInt64)] {
            let core = CoordinatorCore(
                plan: plan(.init(lag: 0, updates: 1), fraction, salt: seed),
                state: Plans.initialState(Plans.whole(lag: 0, updates: 1)))
            let count = 20_000
            let paths = (0..<Int32(count)).count { index in
                core.isChecked(
                    SlotID(stage: 1, track: 0, step: index / 64, question: index % 64, guideline: 2, sample: 1))
            }
            let shards = (0..<Int32(count)).count { index in
                core.isChecked(ShardID(stage: 1, track: 0, step: index / 4, update: 0, shard: index % 4))
            }
            let deviation = (Double(count) * fraction * (1 - fraction)).squareRoot()
            for drawn in [paths, shards] {
                #expect(
                    abs(Double(drawn) - Double(count) * fraction) < 4 * deviation,
                    "salt \(seed): \(drawn) of \(count), expected \(fraction)")
            }
        }
    }

    // MARK: Liars

    /// One evaluation is one group: a liar is caught exactly when one of its lies was drawn, or when it lied about another's
    /// path, and then none of its paths is left.
    @Test(arguments: [Cheat.Kind.logprobs, .tokens])
    func aLiarIsCaughtWhenOneOfItsLiesIsDrawn(_ kind: Cheat.Kind) throws {
        var stage = Plans.evaluate("eval-base", .base, steps: 6)
        stage.tracks = [stage.tracks[0]]
        var plan = Plans.only([stage]) { $0.slotsPerLease = 2 }
        let expected = try ConvergenceTests.reference(plan, refusesOneIn: 0)
        plan.settings.spotCheck = 0.08
        var caught = 0
        for seed in 7_000..<7_100 as Range<UInt64> {
            plan.settings.spotSalt = seed
            var cluster = FakeCluster(plan: plan, seed: seed, rollouts: 3, learners: 0)
            let cheat = Cheat(kind: kind, perMille: 400)
            cluster.cheats[Self.liar] = cheat
            #expect(cluster.run() == .completed, "seed \(seed): \(cluster.problems.prefix(3))")
            var isDrawn = false
            for case .path(let path) in cluster.journal where path.worker == Self.liar {
                let slot = path.path.trajectory.slot
                isDrawn = isDrawn || cheat.lies(about: .path(slot)) && cluster.core.isChecked(slot)
            }
            #expect(cluster.caught == (isDrawn || cluster.liedChecks > 0 ? [Self.liar] : []), "seed \(seed)")
            guard !cluster.caught.isEmpty else { continue }
            caught += 1
            #expect(cluster.liedSlots.isEmpty, "seed \(seed)")
            #expect(cluster.checkpoint.evaluations == expected.evaluations, "seed \(seed)")
        }
        #expect(caught > 20 && caught < 95, "\(caught)")
    }

    /// A worker that lies n times is caught with 1 - (1 - q)^n.
    @Test(arguments: [1, 4, 12]) func theChanceOfACatchIsThatOfItsLies(_ lies: Int) {
        let (fraction, runs) = (0.1, 400)
        var caught = 0
        for salt in 1...UInt64(runs) {
            var script = Script(
                Plans.only([Plans.evaluate("eval-base", .base, steps: 1)]) {
                    ($0.spotCheck, $0.spotSalt) = (fraction, salt)
                })
            script.tell(.tick)
            for name in ["a", "b", "liar"] {
                script.join(name, .rollout, credits: 0)
                script.tell(FakeCluster.canary(of: Name(name)!))
            }
            script.tell(.ready(Name("liar")!, credits: 1))
            for name in ["a", "b"] { script.tell(.ready(Name(name)!, credits: 1)) }
            let lease = script.rollouts[0]
            var paths = script.paths(of: lease)
            #expect(paths.count == 18 && script.rollouts.count == 1)
            for index in 0..<lies { paths[index].logprobs[0] -= 1 }
            script.tell(.trajectories(Name("liar")!, lease.lease, script.judged(paths)))
            var answered = 1
            while answered < script.rollouts.count {
                let check = script.rollouts[answered]
                answered += 1
                guard let holder = script.core.leases[check.lease]?.worker else { continue }
                script.sample(holder.text, check)
                script.tell(.ready(holder, credits: 1))
            }
            caught += script.core.quarantineReason(of: Name("liar")!, nil) == nil ? 0 : 1
        }
        let chance = 1 - pow(1 - fraction, lies)
        let deviation = (Double(runs) * chance * (1 - chance)).squareRoot()
        #expect(
            abs(Double(caught) - Double(runs) * chance) < 4 * deviation,
            "salts 1...\(runs): \(caught), chance \(chance)")
    }

    private func pow(_ base: Double, _ exponent: Int) -> Double {
        (0..<exponent).reduce(1) { product, _ in product * base }
    }

    /// Where all is checked no lie reaches an adapter: the run ends with an honest run's bytes.
    @Test(arguments: ConvergenceTests.cases) func row15_noLieReachesAnAdapter(_ test: ConvergenceTests.Case) throws {
        let expected = try ConvergenceTests.reference(test.plan, refusesOneIn: test.refusesOneIn)
        for (kind, seed) in zip(Cheat.Kind.allCases, 60..<63 as Range<UInt64>) {
            var faults = Faults.none
            faults.refusesOneIn = test.refusesOneIn
            var cluster = FakeCluster(
                plan: plan(test, 1, salt: seed), seed: seed, faults: faults, rollouts: 4, learners: 5)
            let name = kind == .gradient ? Self.wrongLearner : Self.liar
            cluster.cheats[name] = Cheat(kind: kind, perMille: 300)
            ConvergenceTests.expectSame(&cluster, expected, "seed \(seed), \(kind)")
            #expect(cluster.caught == [name], "seed \(seed), \(kind)")
            #expect(cluster.liedSlots.isEmpty && cluster.core.hello(of: name) == nil)
        }
    }

    /// Two liars of four, each with lies of its own: neither finds a second voice.
    @Test func liarsThatDisagreeAreBothCaught() throws {
        let test = ConvergenceTests.Case(lag: 1, updates: 1)
        let expected = try ConvergenceTests.reference(test.plan, refusesOneIn: 0)
        for seed in 80..<84 as Range<UInt64> {
            var cluster = FakeCluster(plan: plan(test, 1, salt: seed), seed: seed, rollouts: 4, learners: 1)
            cluster.cheats[Self.liar] = Cheat(kind: .logprobs, perMille: 500)
            cluster.cheats[Name("rollout-3")!] = Cheat(kind: .tokens, perMille: 500)
            ConvergenceTests.expectSame(&cluster, expected, "seed \(seed)")
            #expect(Set(cluster.caught.map(\.text)) == ["rollout-0", "rollout-3"], "seed \(seed)")
        }
    }

    /// A liar that is caught late: groups that had closed with its unchecked paths are opened again, whatever dies meanwhile.
    @Test func groupsWithItsUncheckedWorkAreSampledAgain() {
        let test = ConvergenceTests.Case(lag: 1, updates: 2, resample: 1)
        var (reopened, caught) = (0, 0)
        for seed in 9_000..<9_040 as Range<UInt64> {
            var faults = Faults.heavy
            faults.restart = seed % 2 == 0 ? 3 : 0
            let plan = plan(test, 0.15, salt: seed)
            var cluster = FakeCluster(plan: plan, seed: seed, faults: faults, rollouts: 4, learners: 2)
            cluster.cheats[Self.liar] = Cheat(kind: .tokens, perMille: 300)
            #expect(cluster.run() == .completed, "seed \(seed): \(cluster.problems.prefix(3))")
            #expect(cluster.problems.isEmpty, "seed \(seed): \(cluster.problems.prefix(3))")
            #expect(Set(cluster.caught).isSubset(of: [Self.liar]), "seed \(seed): \(cluster.caught)")
            caught += cluster.caught.count
            let places = cluster.journal.compactMap { record -> StepPlace? in
                if case .groups(let closed) = record { closed.place } else { nil }
            }
            reopened += places.count - Set(places).count
            guard !cluster.caught.isEmpty else { continue }
            let again = CoordinatorCore(plan: plan, state: cluster.checkpoint, journal: cluster.journal)
            #expect(again.quarantineReason(of: Self.liar, nil) != nil)
        }
        #expect(caught >= 30 && reopened > 0, "\(caught) caught, \(reopened) groups opened again")
    }

    /// No check drew the lie, so it is part of the run: a death behind its update must not ask for it again, which an honest
    /// learner would answer otherwise.
    @Test func anUpdateOfAnUndrawnLieSurvivesADeath() throws {
        var stage = Plans.supervise(steps: 2, updates: 2)
        stage.tracks = [stage.tracks[0]]
        let plan = Plans.only([stage])
        var lies = 0
        for seed in 200..<220 as Range<UInt64> {
            for record in 1..<5 {
                var cluster = FakeCluster(plan: plan, seed: seed, rollouts: 0, learners: 3)
                cluster.cheats[Self.wrongLearner] = Cheat(kind: .gradient, perMille: 600)
                cluster.killAfterRecord = record
                #expect(cluster.run() == .completed, "seed \(seed), killed after record \(record)")
                #expect(cluster.problems.isEmpty && cluster.restarts == 1, "seed \(seed): \(cluster.problems)")
                lies += cluster.entries.contains { $0.event == "update-kept" } ? 1 : 0
            }
        }
        #expect(lies > 40, "\(lies) runs went on from an update")
    }

    /// A death between any two records, those of the quarantine among them.
    @Test func aQuarantineOutlivesADeathAfterAnyRecord() throws {
        var stage = Plans.reinforce(steps: 2, updates: 1)
        stage.tracks = [stage.tracks[1]]
        var plan = Plans.whole(lag: 0, updates: 1)
        plan.stages = [stage]
        let expected = try ConvergenceTests.reference(plan, refusesOneIn: 0)
        (plan.settings.spotCheck, plan.settings.spotSalt) = (1, 3)
        func cluster() -> FakeCluster {
            var cluster = FakeCluster(plan: plan, seed: 21, rollouts: 4, learners: 1)
            cluster.cheats[Self.liar] = Cheat(kind: .logprobs, perMille: 500)
            return cluster
        }
        var quiet = cluster()
        ConvergenceTests.expectSame(&quiet, expected, "unbroken")
        #expect(quiet.caught == [Self.liar])
        for record in 0..<quiet.journal.count - 1 {
            var broken = cluster()
            broken.killAfterRecord = record
            ConvergenceTests.expectSame(&broken, expected, "killed after record \(record)")
            #expect(broken.caught == [Self.liar], "killed after record \(record)")
        }
    }
}
