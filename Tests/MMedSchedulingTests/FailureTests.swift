import MMedAlgorithms
import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// Workers that err, lie or come too late.
@Suite struct FailureTests {
    let rollout = Name("r")!
    let learner = Name("l")!

    private func evaluation(_ change: (inout SchedulingSettings) -> Void = { _ in }) -> RunPlan {
        var stage = Plans.evaluate("eval-base", .base, steps: 1)
        stage.tracks = [stage.tracks[0]]
        return Plans.only([stage], change)
    }

    private func supervision(_ change: (inout SchedulingSettings) -> Void = { _ in }) -> RunPlan {
        var stage = Plans.supervise(steps: 2, updates: 1)
        stage.tracks = [stage.tracks[0]]
        return Plans.only([stage], change)
    }

    private func spoil(_ script: inout Script, _ change: (inout Trajectory) -> Void) -> [LogEntry] {
        script.join("r", .rollout)
        var paths = script.paths(of: script.rollouts[0])
        change(&paths[0])
        script.tell(.trajectories(rollout, script.rollouts[0].lease, script.judged(paths)))
        return script.entries
    }

    @Test func aMalformedPathIsRefusedAndSampledAgain() {
        let spoilers: [(String, (inout Trajectory) -> Void)] = [
            ("reward", { $0.reward = .nan }), ("reward", { $0.reward = .infinity }),
            ("log-prob", { $0.logprobs[0] = .nan }), ("log-prob", { $0.logprobs[0] = 0.5 }),
            ("log-probs", { $0.logprobs.append(-1) }), ("tokens", { $0.completionIds = [] }),
            (
                "tokens",
                {
                    $0.completionIds = [Int32](repeating: 1, count: 7)
                    $0.logprobs = [Float](repeating: -1, count: 7)
                }
            ), ("version", { $0.version = 3 }), ("version", { $0.adapterDigest = Bytes().digest }),
            ("letter", { $0.choiceLogprobs = [-1] }), ("letter", { $0.choiceLogprobs = [-1, .nan, -1] }),
        ]
        for (word, change) in spoilers {
            var script = Script(evaluation())
            let entries = spoil(&script, change)
            let line = entries.first { $0.event == "paths-refused" }
            #expect(line.map(Script.text)?.contains(word) == true, "\(word): \(entries.map(Script.text))")
            // The slot is open again, the others are done, and the worker's lease is over.
            #expect(script.core.tracks[0].openSlots == 1 && script.core.tracks[0].pendingSlots == 1)
            #expect(script.core.leases.isEmpty)
            script.tell(.ready(rollout, credits: 1))
            #expect(script.rollouts.last?.questions.flatMap(\.slots).count == 1)
            script.sample("r", script.rollouts[1])
            #expect(script.outcome == .completed)
        }
    }

    @Test func aSlotThatFailsTooOftenIsCountedAndLeftOut() {
        var script = Script(evaluation { $0.retries = 1 })
        script.join("a", .rollout)
        script.tell(.leaseFailed(Name("a")!, script.rollouts[0].lease, reason: "it broke"))
        #expect(script.core.tracks[0].openSlots == 6)
        script.join("b", .rollout)
        script.tell(.leaseFailed(Name("b")!, script.rollouts[1].lease, reason: "it broke again"))
        // The half that b had failed twice; the rest is still to do.
        let failed = script.rollouts[1].questions.flatMap(\.slots).count
        #expect(script.core.tracks[0].pendingSlots == 6 - failed)
        script.join("c", .rollout, credits: 9)
        for lease in script.rollouts.dropFirst(2) { script.sample("c", lease) }
        #expect(script.outcome == .completed)
        #expect(script.core.state.evaluations[0].paths.count == 6 - failed)
    }

    @Test func aShardThatFailsTooOftenEndsTheRun() {
        var script = Script(
            supervision {
                $0.retries = 2
                $0.gradientShards = 1
            })
        for round in 0..<3 {
            script.join("l\(round)", .learner)
            #expect(script.outcome == nil)
            script.tell(.leaseFailed(Name("l\(round)")!, script.gradients[round].lease, reason: "out of memory"))
            script.tell(.left(Name("l\(round)")!, reason: "gone"))
        }
        guard case .failed(let reason) = script.outcome else {
            Issue.record("the run went on: \(String(describing: script.outcome))")
            return
        }
        #expect(reason.contains("dsa/adult step 1") && reason.contains("3 times") && reason.contains("out of memory"))
    }

    @Test func aRefusedUpdateKeepsTheAdapter() {
        var script = Script(supervision { $0.gradientShards = 1 })
        script.join("l", .learner)
        script.differentiate("l", script.gradients[0])
        script.tell(.updateRefused(script.orders[0], reason: "not finite"))
        #expect(script.core.state.tracks[0].committedSteps == 1)
        #expect(script.core.state.heads == Plans.initialState(script.core.plan).heads)
        #expect(script.entries.contains { $0.event == "update-refused" && $0.level == .warn })
        script.tell(.ready(learner, credits: 1))
        #expect(script.gradients[1].adapter.version == 0)
    }

    @Test func workersThatFailInARowStandBackAndThenGo() {
        var script = Script(evaluation { $0.slotsPerLease = 1 })
        script.join("bad", .rollout, credits: 9)
        let lease = script.rollouts[0]
        #expect(script.rollouts.count == 6)
        script.join("good", .rollout, credits: 0)
        script.tell(.leaseFailed(Name("bad")!, lease.lease, reason: "no"))
        // The slot that came back waits for the other, though the first has credits left.
        #expect(script.core.tracks[0].openSlots == 1 && script.core.workers[Name("bad")!]?.credits == 3)
        script.tell(.ready(Name("good")!, credits: 1))
        #expect(script.core.tracks[0].openSlots == 0)
        for other in script.rollouts[1...3] {
            script.tell(.leaseFailed(Name("bad")!, other.lease, reason: "no"))
        }
        #expect(script.core.hello(of: Name("bad")!) == nil)
        #expect(script.last.contains { if case .dismiss(let name, _) = $0 { name == Name("bad")! } else { false } })
        #expect(Invariants.problems(of: script.core).isEmpty)
    }

    @Test func theOnlyWorkerNeverStandsBack() {
        var script = Script(evaluation())
        script.join("r", .rollout, credits: 2)
        script.tell(.leaseFailed(rollout, script.rollouts[0].lease, reason: "no"))
        #expect(script.rollouts.count == 2)
    }

    @Test func creditsAreBoundedAndSpreadFairly() {
        var script = Script(evaluation { $0.slotsPerLease = 1 })
        script.tell(.joined(script.join("b", .rollout, credits: 0)))
        script.tell(.ready(Name("b")!, credits: .min))
        #expect(script.core.workers[Name("b")!]?.credits == 0)
        script.join("a", .rollout, credits: 0)
        script.tell(.ready(Name("unknown")!, credits: 5))
        var greedy = script
        greedy.tell(.ready(Name("a")!, credits: .max))
        greedy.tell(.ready(Name("a")!, credits: .max))
        #expect(greedy.core.leases.count == 6)
        #expect(greedy.core.workers[Name("a")!]?.credits == CoordinatorCore.leasesPerWorker - 6)
        // Shards go round as well: two learners with two credits each get two of four.
        var learners = Script(supervision { $0.microbatchTokens = 8 })
        learners.join("x", .learner, credits: 0)
        learners.join("y", .learner, credits: 0)
        learners.core.workers[Name("x")!]?.credits = 2
        learners.core.workers[Name("y")!]?.credits = 2
        learners.tell(.tick)
        #expect(learners.gradients.count == 4)
        for name in ["x", "y"] { #expect(learners.core.workers[Name(name)!]?.leases.count == 2) }
    }

    @Test func row13_foreignAndStaleResultsChangeNothing() {
        var script = Script(evaluation())
        script.join("r", .rollout)
        script.join("thief", .rollout, credits: 0)
        let lease = script.rollouts[0]
        let paths = script.judged(script.paths(of: lease))
        // Another worker under this lease, this worker under a lease that never was, and slots that never were.
        script.tell(.trajectories(Name("thief")!, lease.lease, paths))
        script.tell(.trajectories(rollout, LeaseID(fence: 5), paths))
        for change: (inout SlotID) -> Void in [
            { $0.stage = 9 }, { $0.stage = -1 }, { $0.track = 9 }, { $0.track = -1 }, { $0.step = 7 }, { $0.step = -1 },
            { $0.question = .max }, { $0.question = -1 }, { $0.guideline = 2 }, { $0.guideline = -1 },
            { $0.sample = 1 },
            { $0.sample = .min },
        ] {
            var path = paths[0]
            change(&path.trajectory.slot)
            script.tell(.trajectories(rollout, lease.lease, [path]))
            #expect(script.core.rewardTask(of: path.trajectory.slot) == nil)
        }
        #expect(script.core.tracks[0].pendingSlots == 6)
        #expect(script.core.leases.count == 1)
        let shard = ShardID(stage: 0, track: 0, step: 0, update: 0, shard: 0)
        script.tell(.gradient(rollout, lease.lease, shard, ShardStatistics()))
        #expect(script.core.adapterName(of: shard) == nil)
        script.sample("r", lease)
        #expect(script.outcome == .completed)
    }

    @Test func theFirstRecordStandsAndAContradictionIsEvidence() {
        var plan = evaluation()
        plan.stages.append(plan.stages[0])
        var script = Script(plan)
        script.join("r", .rollout)
        let lease = script.rollouts[0]
        let paths = script.paths(of: lease)
        script.tell(.trajectories(rollout, lease.lease, script.judged([paths[0]])))
        // The same again is a lost acknowledgement.
        script.tell(.trajectories(rollout, lease.lease, script.judged([paths[0], paths[0]])))
        #expect(script.core.tracks[0].pendingSlots == 5)
        #expect(script.core.hello(of: rollout) != nil)
        #expect(script.entries.isEmpty)
        var other = paths[0]
        other.completionIds[0] += 1
        script.tell(.trajectories(rollout, lease.lease, script.judged([other])))
        #expect(script.core.hello(of: rollout) == nil)
        #expect(script.entries.contains { $0.event == "path-contradicts" })
        guard case .done(let stands, _) = script.core.tracks[0].steps[0].slots[0][0].status else {
            Issue.record("the first record is gone")
            return
        }
        #expect(stands.trajectory == paths[0])
        #expect(script.core.leases.isEmpty && script.core.tracks[0].openSlots == 5)
    }

    @Test func aLateGradientIsNotAwaited() {
        var script = Script(supervision { $0.gradientShards = 1 })
        script.join("l", .learner)
        let lease = script.gradients[0]
        #expect(script.core.awaits(lease.shard, under: lease.lease, from: learner))
        #expect(!script.core.awaits(lease.shard, under: lease.lease, from: Name("x")!))
        #expect(!script.core.awaits(lease.shard, under: LeaseID(fence: 1), from: learner))
        script.wait(61, beating: ["l"])
        #expect(!script.core.awaits(lease.shard, under: lease.lease, from: learner))
        script.differentiate("l", lease)
        #expect(script.orders.isEmpty)
        #expect(script.entries.contains { $0.event == "late-gradient" })
        // The same shard under its new lease.
        script.tell(.ready(learner, credits: 1))
        script.differentiate("l", script.gradients[1])
        #expect(script.orders.count == 1)
        script.differentiate("l", script.gradients[1])
        #expect(script.orders.count == 1)
        script.commit(script.orders[0])
        let version = script.core.tracks[0].head?.reference.version
        // The same completion again belongs to no update under way.
        script.commit(script.orders[0])
        #expect(script.core.tracks[0].head?.reference.version == version)
    }

    @Test func aReplicaThatDiffersIsDismissed() {
        var script = Script(supervision())
        script.join("l", .learner)
        var head = script.core.state.heads[0].reference
        script.tell(.replica(learner, head))
        #expect(script.core.hello(of: learner) != nil)
        head.digest = Bytes().digest
        script.tell(.replica(learner, head))
        #expect(script.core.hello(of: learner) == nil)
        #expect(script.core.leases.isEmpty)
        #expect(script.entries.contains { $0.event == "replica-differs" && $0.level == .error })
    }
}
