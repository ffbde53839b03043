import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// Readable scenarios: what the coordinator is told (at second `@`) and what it says to do.
@Suite struct TranscriptTests {
    private func expect(_ script: Script, _ expected: String) {
        let (got, wanted) = (script.lines, expected.split(separator: "\n").map(String.init))
        let first = zip(got, wanted).enumerated().first { $0.element.0 != $0.element.1 }?.offset
        #expect(
            got == wanted,
            "line \((first ?? min(got.count, wanted.count)) + 1) differs; the whole transcript:\n\(script.text)")
    }

    @Test func anEvaluationIsSharedByTwoWorkersAndSurvivesOne() {
        var stage = Plans.evaluate("eval-base", .base, steps: 1)
        stage.tracks = [stage.tracks[0]]
        var script = Script(Plans.only([stage]))
        script.tell(.tick, "the run begins")
        script.join("a", .rollout)
        script.join("b", .rollout)
        script.tell(.left(Name("a")!, reason: "its connection is gone"), "a is gone")
        script.wait(2, beating: ["b"])
        script.sample("a", script.rollouts[0])
        script.sample("b", script.rollouts[1])
        expect(
            script,
            """
            @0.0 the run begins
              record 1 session: epoch 1
              INFO run - run-begins run=test stages=1 adapters=3 epoch=1
              INFO eval-base - stage-begins number=1/1 kind=evaluate tracks=1 steps=1
            @0.0 a joins
              INFO run - worker-joined worker=a role=rollout threads=2 host=host pid=7
            @0.0 a is ready for 1
              a <- L1: 0/0/0/0/0/0 0/0/0/0/1/0 0/0/0/1/0/0 0/0/0/1/1/0 0/0/0/2/0/0 0/0/0/2/1/0
            @0.0 b joins
              INFO run - worker-joined worker=b role=rollout threads=2 host=host pid=7
            @0.0 b is ready for 1
            @0.0 a is gone
              WARN run - worker-left worker=a role=rollout leases=1 reason="its connection is gone"
              b <- L2: 0/0/0/0/0/0 0/0/0/0/1/0 0/0/0/1/0/0 0/0/0/1/1/0 0/0/0/2/0/0 0/0/0/2/1/0
            @2.0 a returns L1
              record 6 path dropped: its lease was over
              a <- recorded 6 of L1
              WARN run - late-paths worker=a paths=6
              a <- revoked L1: it is not valid any more
            @2.0 b returns L2
              record 6 path
              b <- recorded 6 of L2
              INFO eval-base/adult - evaluated paths=6 strict=1 lenient=1 choice=3 unparsed=2 reward=0.2333 tokens=19 eval_s=2.0
              metric eval-base/adult evaluation
              INFO eval-base - stage-done stage_s=2.0
              INFO run - completed
              checkpoint stage 1 steps [] heads [0, 0, 0]
              finish completed
            """)
    }

    @Test func aSupervisedStepIsSharedByTwoLearners() {
        var stage = Plans.supervise(steps: 1, updates: 2)
        stage.tracks = [stage.tracks[0]]
        var script = Script(Plans.only([stage]) { $0.gradientShards = 2 })
        script.tell(.tick, "the run begins")
        script.join("x", .learner)
        script.join("y", .learner)
        script.wait(3, beating: ["x", "y"])
        script.differentiate("y", script.gradients[1])
        script.differentiate("x", script.gradients[0])
        script.commit(script.orders[0])
        script.tell(.ready(Name("y")!, credits: 2), "y is ready for 2")
        script.differentiate("y", script.gradients[2])
        script.differentiate("y", script.gradients[3])
        script.commit(script.orders[1])
        expect(
            script,
            """
            @0.0 the run begins
              record 1 session: epoch 1
              INFO run - run-begins run=test stages=1 adapters=3 epoch=1
              INFO dsa - stage-begins number=1/1 kind=supervise tracks=1 steps=1
            @0.0 x joins
              INFO run - worker-joined worker=x role=learner threads=2 host=host pid=7
            @0.0 x is ready for 1
              x <- L1: shard 0 of update 0, adult v0
            @0.0 y joins
              INFO run - worker-joined worker=y role=learner threads=2 host=host pid=7
            @0.0 y is ready for 1
              y <- L2: shard 1 of update 0, adult v0
            @3.0 y returns L2
            @3.0 x returns L1
              apply 2 shards to adult v0
            @3.0 update 1 is committed
              record 1 update: adult v0 -> v1
              INFO dsa/adult 1 update of=1 update=1/2 loss=0.014 grad_norm=0.5 lr=0.001 tokens=24 loss_tokens=14 version=1 digest=a607fd6bd88e step_s=3.0
              metric dsa/adult update
              broadcast adult v1
              forget shard 0
              forget shard 1
            @3.0 y is ready for 2
              y <- L3: shard 0 of update 1, adult v1
              y <- L4: shard 1 of update 1, adult v1
            @3.0 y returns L3
            @3.0 y returns L4
              apply 2 shards to adult v1
            @3.0 update 2 is committed
              record 1 update: adult v1 -> v2
              INFO dsa/adult 1 update of=1 update=2/2 loss=0.051 grad_norm=0.5 lr=0.0005 tokens=66 loss_tokens=51 version=2 digest=4e6f98877ccb step_s=3.0
              metric dsa/adult update
              broadcast adult v2
              forget shard 0
              forget shard 1
              INFO dsa/adult - track-done adapter=adult version=2 digest=4e6f98877ccb
              INFO dsa - stage-done stage_s=3.0
              INFO run - completed
              checkpoint stage 1 steps [] heads [2, 0, 0]
              finish completed
            """)
    }

    @Test func reinforcementWithALagSamplesAhead() {
        var stage = Plans.reinforce(steps: 3, updates: 1)
        stage.tracks = [stage.tracks[1]]
        for step in stage.tracks[0].steps.indices {
            stage.tracks[0].steps[step].questions = [stage.tracks[0].steps[step].questions[0]]
        }
        var script = Script(
            Plans.only([stage]) {
                $0.maxLag = 1
                $0.gradientShards = 1
            })
        script.tell(.tick, "the run begins")
        script.join("r", .rollout)
        script.join("l", .learner)
        script.sample("r", script.rollouts[0])
        script.differentiate("l", script.gradients[0])
        script.commit(script.orders[0])
        script.tell(.ready(Name("r")!, credits: 1), "r is ready for 1")
        script.tell(.drain, "the user asks to stop")
        script.sample("r", script.rollouts[1])
        expect(
            script,
            """
            @0.0 the run begins
              record 1 session: epoch 1
              INFO run - run-begins run=test stages=1 adapters=3 epoch=1
              INFO gba - stage-begins number=1/1 kind=reinforce tracks=1 steps=3
            @0.0 r joins
              INFO run - worker-joined worker=r role=rollout threads=2 host=host pid=7
            @0.0 r is ready for 1
              r <- L1: 0/0/0/0/0/0 0/0/0/0/0/1 0/0/0/0/1/0 0/0/0/0/1/1 0/0/1/0/0/0 0/0/1/0/0/1 0/0/1/0/1/0 0/0/1/0/1/1
            @0.0 l joins
              INFO run - worker-joined worker=l role=learner threads=2 host=host pid=7
            @0.0 l is ready for 1
            @0.0 r returns L1
              record 8 path
              r <- recorded 8 of L1
              record 1 step's groups: 4 trained
              INFO gba/brain 1 groups-closed of=3 reward=0.05 correct=0 paths=4 failed=0 tied_questions=0 tied_guidelines=0 k_eff=2.0 lambda=1.0 tokens=11 sample_s=0.0 reward_p0=0.05 reward_p1=0.05
              metric gba/brain groups
              l <- L2: shard 0 of update 0, brain v0
            @0.0 l returns L2
              apply 1 shards to brain v0
            @0.0 update 1 is committed
              record 1 update: brain v0 -> v1
              INFO gba/brain 1 update of=3 loss=0.011 grad_norm=0.5 lr=0.0001 tokens=21 loss_tokens=11 logprob_gap=0.0 clipped=0 version=1 digest=c9dfbf72f155 step_s=0.0
              metric gba/brain update
              broadcast brain v1
              forget shard 0
              record 1 step's groups: 4 trained
              INFO gba/brain 2 groups-closed of=3 reward=0.825 correct=3 paths=4 failed=0 tied_questions=0 tied_guidelines=1 k_eff=2.0 lambda=1.0 tokens=13 sample_s=0.0 reward_p0=1.1 reward_p1=0.55
              metric gba/brain groups
              checkpoint stage 0 steps [1] heads [0, 1, 0]
            @0.0 r is ready for 1
              r <- L3: 0/0/2/0/0/0 0/0/2/0/0/1 0/0/2/0/1/0 0/0/2/0/1/1
            @0.0 the user asks to stop
              INFO run - drain leases=1 why="asked to stop: what is leased is finished, nothing new begins"
            @0.0 r returns L3
              record 4 path
              r <- recorded 4 of L3
              INFO run - stopped resume="it goes on from the last committed step"
              checkpoint stage 0 steps [1] heads [0, 1, 0]
              finish stopped
            """)
    }

    @Test func nobodyComes() {
        var stage = Plans.evaluate("eval-base", .base, steps: 1)
        stage.tracks = [stage.tracks[0]]
        var script = Script(Plans.only([stage]) { $0.noWorkersMilliseconds = 25_000 })
        script.tell(.tick, "the run begins")
        script.wait(60, shown: true)
        expect(
            script,
            """
            @0.0 the run begins
              record 1 session: epoch 1
              INFO run - run-begins run=test stages=1 adapters=3 epoch=1
              INFO eval-base - stage-begins number=1/1 kind=evaluate tracks=1 steps=1
            @10.0 tick
              WARN run - waiting for="a rollout worker" still_s=10.0 run_ends_in_s=15
            @20.0 tick
              WARN run - waiting for="a rollout worker" still_s=20.0 run_ends_in_s=5
            @25.0 tick
              ERROR run - no-workers missing="a rollout worker" waited_s=25.0 mend="resume the run and start mmed-worker --role rollout"
              checkpoint stage 0 steps [0] heads [0, 0, 0]
              finish noWorkers(MMedProtocol.WorkerRole.rollout)
            """)
    }
}
