import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// Workers that come, stay silent, hang, return and wait; and a coordinator that was away itself.
@Suite struct WorkerLifeTests {
    let rollout = Name("r")!

    private func plan(_ change: (inout SchedulingSettings) -> Void = { _ in }) -> RunPlan {
        var stage = Plans.evaluate("eval-base", .base, steps: 1)
        stage.tracks = [stage.tracks[0]]
        return Plans.only([stage], change)
    }

    private func learning(_ change: (inout SchedulingSettings) -> Void = { _ in }) -> RunPlan {
        Plans.only([Plans.supervise(steps: 2, updates: 1)], change)
    }

    @Test func withoutWorkersTheRunEndsAfterExactlyTheSetTime() {
        var script = Script(plan { $0.noWorkersMilliseconds = 40_000 })
        script.tell(.tick)
        script.wait(39)
        #expect(script.outcome == nil)
        script.wait(1)
        #expect(script.outcome == .noWorkers(.rollout))
        #expect(script.entries.contains { $0.event == "no-workers" && $0.level == .error })
    }

    @Test func aWorkerInBetweenStartsTheWaitAnew() {
        var script = Script(plan { $0.noWorkersMilliseconds = 40_000 })
        script.tell(.tick)
        script.wait(30)
        script.join("r", .rollout)
        script.wait(5, beating: ["r"])
        script.tell(.left(rollout, reason: "gone"))
        #expect(script.core.leases.isEmpty)
        script.wait(39)
        #expect(script.outcome == nil)
        script.wait(1)
        #expect(script.outcome == .noWorkers(.rollout))
    }

    @Test func anAdapterThatNobodyHoldsIsWaitedFor() {
        var script = Script(learning { $0.noWorkersMilliseconds = 40_000 })
        script.join("l", .learner, adapters: [Plans.specialties[0]], credits: 4)
        #expect(script.gradients.allSatisfy { $0.adapter.name == Plans.specialties[0] })
        var lines: [String] = []
        for _ in 0..<39 {
            script.wait(1, beating: ["l"])
            lines += script.entries.map(Script.text)
        }
        #expect(lines.contains { $0.contains("a learner worker that holds brain") })
        #expect(script.outcome == nil)
        script.wait(1, beating: ["l"])
        #expect(script.outcome == .noWorkers(.learner))
    }

    @Test func silenceCostsTheLease() {
        var script = Script(plan())
        script.join("r", .rollout)
        script.wait(14)
        #expect(script.core.leases.count == 1)
        script.wait(1)
        #expect(script.core.leases.isEmpty && script.core.workers.isEmpty)
        #expect(script.last.contains { if case .lose = $0 { true } else { false } })
        #expect(script.core.tracks[0].openSlots == 6)
    }

    @Test func aBeatRenewsWhatComputesAndNothingElse() {
        var script = Script(plan())
        script.join("r", .rollout)
        let lease = script.rollouts[0].lease
        for progress in 1...9 {
            script.wait(10, beating: ["r"])
            script.tell(.beat(rollout, Beat(phase: .sampling, progress: UInt64(progress), leases: [lease])))
        }
        #expect(script.core.leases.count == 1)
        // Signs of life without progress: the engine hangs.
        script.wait(59, beating: ["r"])
        #expect(script.core.leases.count == 1)
        script.wait(1, beating: ["r"])
        #expect(script.core.leases.isEmpty)
        #expect(script.core.workers[rollout] != nil)
        #expect(script.entries.contains { $0.event == "lease-expired" })
    }

    @Test func aNewProcessOfTheSameNameLosesTheOldLeases() {
        var script = Script(plan())
        script.join("r", .rollout)
        script.join("r", .rollout)
        #expect(script.rollouts.count == 2)
        #expect(script.core.leases.keys.sorted() == [script.rollouts[1].lease])
        script.sample("r", script.rollouts[0])
        #expect(script.core.tracks[0].pendingSlots == 6)
        script.sample("r", script.rollouts[1])
        #expect(script.outcome == .completed)
    }

    @Test func theSameProcessKeepsItsLeasesAndNamesThem() {
        var script = Script(
            plan {
                $0.slotsPerLease = 2
                $0.silentBeats = 20
            })
        let hello = script.join("r", .rollout, credits: 2)
        let (kept, lost) = (script.rollouts[0].lease, script.rollouts[1].lease)
        script.tell(.joined(hello))
        #expect(script.core.leases.count == 2)
        #expect(script.core.workers[rollout]?.credits == 0)
        script.tell(.beat(rollout, Beat(phase: .sampling, progress: 1, leases: [kept])))
        // Results of the other may still be on their second way.
        #expect(script.core.leases.keys.sorted() == [kept, lost])
        script.wait(15)
        script.tell(.beat(rollout, Beat(phase: .sampling, progress: 2, leases: [kept])))
        #expect(script.core.leases.keys.sorted() == [kept])
        #expect(script.core.tracks[0].steps[0].slots.joined().allSatisfy { $0.failures == 0 })
        script.tell(.ready(rollout, credits: 5))
        for lease in script.rollouts where lease.lease != lost { script.sample("r", lease) }
        #expect(script.outcome == .completed)
    }

    @Test func thePauseOfTheCoordinatorIsNobodysFault() {
        var script = Script(plan())
        script.join("r", .rollout)
        // The coordinator was stopped for an hour: one event, then the next.
        _ = script.core.step(.tick, at: Tick(milliseconds: 3_600_000))
        #expect(script.core.workers.count == 1 && script.core.leases.count == 1)
        _ = script.core.step(.tick, at: Tick(milliseconds: 3_601_000))
        #expect(script.core.workers.count == 1 && script.core.leases.count == 1)
    }

    @Test func stallLinesSayWhoWaitsOnWhom() {
        var script = Script(plan { $0.leaseMilliseconds = 300_000 })
        script.tell(.tick)
        script.wait(9)
        #expect(script.entries.isEmpty)
        script.wait(1)
        #expect(
            script.entries.map(Script.text)
                == ["WARN run - waiting for=\"a rollout worker\" still_s=10.0 run_ends_in_s=110"])
        script.join("r", .rollout)
        script.wait(10, beating: ["r"])
        #expect(
            script.entries.map(Script.text) == [
                "WARN run - waiting for=\"r with 6 paths\" still_s=10.0 phase=sampling silent_s=0.0 lease_ends_in_s=290"
            ])
        // One line each ten seconds, not one each tick.
        script.wait(1, beating: ["r"])
        #expect(script.entries.isEmpty)
        script.wait(9, beating: ["r"])
        #expect(script.entries.count == 1)
    }

    @Test func aWorkerThatNeverSaysItIsReadyIsNamed() {
        var script = Script(plan())
        script.join("r", .rollout, credits: 0)
        script.wait(10, beating: ["r"])
        #expect(
            script.entries.map(Script.text) == ["WARN run - waiting for=\"r to say it is ready\" still_s=10.0"])
    }

    @Test func slowCommitsAndMergesAreNamed() {
        var plan = learning { $0.gradientShards = 1 }
        plan.stages[0].tracks = [plan.stages[0].tracks[0]]
        var script = Script(plan)
        script.join("l", .learner)
        script.differentiate("l", script.gradients[0])
        script.wait(10, beating: ["l"])
        #expect(
            script.entries.map(Script.text)
                == ["INFO run - waiting for=\"the update of dsa/adult to be applied\" still_s=10.0"])
        // Nobody is missing while the coordinator itself works, however long it takes.
        script.tell(.left(Name("l")!, reason: "gone"))
        script.wait(500)
        #expect(script.outcome == nil)
    }

    @Test func longWorkThatMovesGetsALineNowAndThen() {
        var script = Script(plan { $0.slotsPerLease = 2 })
        script.join("r", .rollout)
        var lines: [String] = []
        for progress in 1...25 {
            script.wait(1)
            lines += script.entries.map(Script.text)
            script.tell(.beat(rollout, Beat(phase: .sampling, progress: UInt64(progress), leases: [])))
            lines += script.entries.map(Script.text)
        }
        #expect(
            lines == [String](repeating: "INFO eval-base - progress steps=0/1 paths=0/6 workers=1", count: 2),
            "\(lines)")
    }
}
