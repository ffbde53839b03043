import MMedAlgorithms
import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// What the journal holds is kept: a coordinator that dies between any two records goes on as if it had not.
@Suite struct JournalTests {
    @Test(arguments: [ConvergenceTests.Case(lag: 0, updates: 2), .init(lag: 1, updates: 1, resample: 2)])
    func aDeathAfterAnyRecordLosesNoFinishedPath(_ test: ConvergenceTests.Case) throws {
        let expected = try ConvergenceTests.reference(test.plan, refusesOneIn: 0)
        var quiet = FakeCluster(plan: test.plan, seed: 3, rollouts: 2, learners: 2)
        #expect(quiet.run() == .completed)
        let records = quiet.journal.count
        #expect(records > 150)
        for record in 0..<records - 1 {
            var cluster = FakeCluster(plan: test.plan, seed: 3, rollouts: 2, learners: 2)
            cluster.killAfterRecord = record
            // Also that no slot is recorded twice: what was sampled before the death is not sampled again.
            ConvergenceTests.expectSame(&cluster, expected, "killed after record \(record), seed 3")
            #expect(cluster.restarts == 1 && cluster.liesToWorkers.isEmpty)
        }
    }

    @Test func anAcknowledgementMeansThatARecordWasWrittenBefore() {
        for seed in 500..<512 as Range<UInt64> {
            var cluster = FakeCluster(
                plan: Plans.whole(lag: 1, updates: 2, resample: 1), seed: seed, faults: .heavy, rollouts: 3, learners: 2
            )
            #expect(cluster.run() == .completed, "seed \(seed)")
            #expect(cluster.liesToWorkers.isEmpty, "seed \(seed): \(cluster.liesToWorkers.prefix(3))")
        }
    }

    /// Every slot of a closed step is told of once, and trained paths have an advantage.
    @Test func closedGroupsNameEverySlotOnce() {
        var cluster = FakeCluster(
            plan: Plans.whole(lag: 0, updates: 2, resample: 1), seed: 8, rollouts: 2, learners: 1)
        #expect(cluster.run() == .completed)
        var slots = Set<SlotID>()
        var uses: [PathUse: Int] = [:]
        for case .groups(let closed) in cluster.journal {
            #expect(closed.members.map(\.slot) == closed.members.map(\.slot).sorted())
            for member in closed.members {
                #expect(slots.insert(member.slot).inserted, "slot \(member.slot) is in two groups")
                uses[member.use, default: 0] += 1
                #expect(member.use != .trained || (member.advantage != 0 && member.update != nil))
            }
        }
        let sampled = cluster.journal.compactMap { record -> SlotID? in
            guard case .path(let path) = record, path.path.trajectory.slot.stage == 3 else { return nil }
            return path.path.trajectory.slot
        }
        #expect(Set(sampled) == slots)
        #expect(uses[.trained, default: 0] > 20 && uses[.replaced, default: 0] > 0 && uses[.noSignal, default: 0] > 0)
    }

    @Test func supervisedUpdatesNameTheirExamples() {
        var stage = Plans.supervise(steps: 1, updates: 2)
        stage.tracks = [stage.tracks[0]]
        stage.tracks[0].steps[0].exampleIds = ["a", "b", "c", "d", "e"]
        var cluster = FakeCluster(plan: Plans.only([stage]), seed: 1, rollouts: 0, learners: 1)
        #expect(cluster.run() == .completed)
        let examples = cluster.journal.compactMap { record -> [String]? in
            guard case .update(let update) = record else { return nil }
            return update.examples
        }
        #expect(examples == [["a", "b"], ["c", "d", "e"]])
    }

    /// What the store has lost is made again, and nothing else: weights without their moments are no place to go on from.
    @Test(arguments: [true, false]) func anUpdateIsGoneOnFromWhereTheStoreHasItsWeightsAndMoments(hasMoments: Bool)
        throws
    {
        var stage = Plans.supervise(steps: 1, updates: 2)
        stage.tracks = [stage.tracks[0]]
        let plan = Plans.only([stage])
        var quiet = FakeCluster(plan: plan, seed: 1, rollouts: 0, learners: 1)
        #expect(quiet.run() == .completed)
        let first = try #require(
            quiet.journal.compactMap { record in if case .update(let update) = record { update } else { nil } }.first)
        let journal: [JournalRecord] = [.update(first)]
        var state = Plans.initialState(plan)
        state.epoch = 2
        #expect(state.openUpdates(in: journal) == [first])
        let digests = hasMoments ? first.result.head.digests : [first.result.head.reference.digest]
        var script = Script(plan)
        script.core = CoordinatorCore(plan: plan, state: state, journal: journal, kept: Set(digests))
        script.tell(.tick, "the run goes on")
        script.join("l", .learner)
        let lease = try #require(script.gradients.first)
        #expect(lease.shard.update == (hasMoments ? 1 : 0))
        #expect(lease.adapter == (hasMoments ? first.result.head.reference : first.base))
        #expect(script.lines.contains { $0.contains("update-kept") } == hasMoments, "\(script.text)")
    }

    // MARK: A path that was finished while the coordinator was away

    private func interrupted() -> (script: Script, lease: RolloutLease, state: RunState) {
        var stage = Plans.evaluate("eval-base", .base, steps: 1)
        stage.tracks = [stage.tracks[0]]
        var script = Script(Plans.only([stage]))
        script.tell(.tick, "the run begins")
        script.join("a", .rollout)
        var state = script.core.state
        state.epoch += 1
        return (script, script.rollouts[0], state)
    }

    @Test func itIsTakenUnderANewFence() throws {
        let (script, lease, state) = interrupted()
        var second = Script(script.core.plan, state: state)
        second.tell(.tick, "the run goes on")
        second.join("a", .rollout, credits: 0)
        let actions = second.sample("a", lease)
        let records = actions.compactMap { action -> RecordedPath? in
            guard case .record(.path(let path)) = action else { return nil }
            return path
        }
        #expect(records.map(\.sentUnder) == Array(repeating: lease.lease, count: 6))
        #expect(Set(records.map(\.lease)).count == 6)
        #expect(records.allSatisfy { $0.lease.fence >> LeaseID.grantBits == 2 })
        #expect(second.lines.contains { $0.contains("paths-kept worker=a paths=6") })
        #expect(second.lines.contains("  a <- recorded 6 of L1"))
        #expect(second.lines.last == "  finish completed")
    }

    @Test func itIsTooLateWhenTheSlotIsHeldBySomebodyElse() {
        let (script, lease, state) = interrupted()
        var second = Script(script.core.plan, state: state)
        second.tell(.tick, "the run goes on")
        second.join("b", .rollout)
        second.join("a", .rollout, credits: 0)
        second.sample("a", lease)
        #expect(second.lines.contains("  record 6 path dropped: its lease was over"))
        #expect(second.lines.contains { $0.contains("late-paths worker=a paths=6") })
    }

    @Test func itIsRefusedWhenItIsNotWhatIsAskedFor() {
        let (script, lease, state) = interrupted()
        var second = Script(script.core.plan, state: state)
        second.tell(.tick, "the run goes on")
        second.join("a", .rollout, credits: 0)
        var paths = second.paths(of: lease)
        paths[0].logprobs = []
        paths[1].adapterDigest = Bytes().digest
        second.tell(.trajectories(Name("a")!, lease.lease, second.judged(paths)), "a returns six, two of them wrong")
        #expect(second.lines.contains("  record 4 path"))
        #expect(second.lines.contains { $0.contains("late-paths worker=a paths=2") })
    }

    /// Only a restart of the coordinator excuses an old fence.
    @Test func aLeaseThatExpiredUnderThisCoordinatorStaysRefused() {
        var stage = Plans.evaluate("eval-base", .base, steps: 1)
        stage.tracks = [stage.tracks[0]]
        var script = Script(Plans.only([stage]))
        script.tell(.tick, "the run begins")
        script.join("a", .rollout)
        script.tell(.left(Name("a")!, reason: "its connection is gone"), "a is gone")
        script.join("a", .rollout, credits: 0)
        script.sample("a", script.rollouts[0])
        #expect(script.lines.contains("  record 6 path dropped: its lease was over"))
    }

    // MARK: A journal that says something else

    @Test func aStepThatComesOutDifferentlyStopsTheRun() throws {
        let plan = Plans.whole(lag: 0, updates: 1)
        var quiet = FakeCluster(plan: plan, seed: 4, rollouts: 1, learners: 1)
        #expect(quiet.run() == .completed)
        func outcome(_ change: (JournalRecord) -> JournalRecord) -> Outcome? {
            var cluster = FakeCluster(plan: plan, seed: 4, rollouts: 1, learners: 1)
            cluster.core = CoordinatorCore(plan: plan, state: cluster.checkpoint, journal: quiet.journal.map(change))
            return cluster.run()
        }
        #expect(outcome { $0 } == .completed)
        func reason(_ outcome: Outcome?) -> String { if case .failed(let reason) = outcome { reason } else { "" } }
        let otherGroups = outcome { record in
            guard case .groups(var closed) = record, closed.place.step == 1 else { return record }
            closed.members[0].advantage += 1
            return .groups(closed)
        }
        #expect(reason(otherGroups).contains("step 2 close in another way"))
        let otherUpdate = outcome { record in
            guard case .update(var update) = record, update.place.stage == 1 else { return record }
            update.result.head.reference.digest = Bytes().digest
            return .update(update)
        }
        #expect(reason(otherUpdate).contains("update 1 of dsa/"))
        let otherMerge = outcome { record in
            guard case .merge(var merge) = record else { return record }
            merge.result.digest = Bytes().digest
            return .merge(merge)
        }
        #expect(reason(otherMerge).contains("the merge made"))
        let otherPath = outcome { record in
            guard case .path(var path) = record, path.path.trajectory.slot.stage == 0 else { return record }
            path.path.trajectory.adapterDigest = Bytes().digest
            return .path(path)
        }
        #expect(reason(otherPath).contains("it was sampled by"))
    }
}
