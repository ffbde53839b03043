import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

@Suite struct DrainTests {
    /// A stop asked for at any event ends soon, and the resumed run ends like one that was never stopped.
    @Test(arguments: [0, 2]) func aDrainAnywhereEndsAndResumesToTheSame(_ lag: Int) throws {
        let plan = Plans.whole(lag: lag, updates: 2, resample: 1)
        let expected = try ConvergenceTests.reference(plan, refusesOneIn: 0)
        var quiet = FakeCluster(plan: plan, seed: 9, rollouts: 2, learners: 2)
        _ = quiet.run()
        let events = quiet.events
        for place in stride(from: 0, to: events, by: 23) {
            var cluster = FakeCluster(plan: plan, seed: 9, rollouts: 2, learners: 2)
            while cluster.events < place, cluster.outcome == nil { _ = cluster.run(eventsMax: cluster.events + 1) }
            let asked = cluster.now
            cluster.feed(.drain)
            while cluster.stops == 0, cluster.outcome == nil, cluster.problems.isEmpty {
                _ = cluster.run(eventsMax: cluster.events + 1)
            }
            #expect(cluster.now - asked < 30_000, "drain at event \(place) took \(cluster.now - asked) ms, seed 9")
            ConvergenceTests.expectSame(&cluster, expected, "drain at event \(place), seed 9")
        }
    }

    @Test func aDrainDoesNotWaitForDeadWorkers() {
        let plan = Plans.only([Plans.evaluate("eval-base", .base)])
        var script = Script(plan)
        script.join("a", .rollout)
        script.join("b", .rollout)
        script.tell(.drain)
        #expect(script.outcome == nil)
        script.tell(.left(Name("a")!, reason: "killed"))
        #expect(script.outcome == nil)
        // b is silent: it is given up like any other.
        script.wait(14)
        #expect(script.outcome == nil)
        script.wait(1)
        #expect(script.outcome == .stopped)
    }

    @Test func aDrainWithoutLeasesStopsAtOnce() {
        var script = Script(Plans.whole(lag: 0, updates: 1))
        script.tell(.drain)
        #expect(script.outcome == .stopped)
        #expect(script.rollouts.isEmpty)
        // Nothing more is said once the run is over.
        #expect(script.tell(.tick).isEmpty)
    }

    @Test func nothingNewBeginsWhileDraining() {
        var stage = Plans.supervise(steps: 3, updates: 2)
        stage.tracks = [stage.tracks[0]]
        var script = Script(Plans.only([stage]) { $0.gradientShards = 1 })
        script.join("l", .learner, credits: 5)
        script.tell(.drain)
        script.differentiate("l", script.gradients[0])
        #expect(script.outcome == nil, "the update must be committed first")
        script.commit(script.orders[0])
        #expect(script.outcome == .stopped)
        #expect(script.gradients.count == 1)
        // Half of a step's updates is no committed step: the checkpoint's head is that of its start.
        #expect(script.core.state.tracks[0].committedSteps == 0)
        #expect(script.core.state.heads[0].reference.version == 0)
    }

    @Test func aDrainedMergeIsWaitedFor() {
        let merge = Plans.whole(lag: 0, updates: 1).stages.first { $0.kind == .merge }!
        var script = Script(Plans.only([merge, Plans.evaluate("eval-merged", .merged)]))
        script.tell(.tick)
        script.tell(.drain)
        #expect(script.outcome == nil)
        script.tell(.merged(AdapterReference(name: Name("merged")!, version: 0, digest: Bytes().digest)))
        #expect(script.outcome == .stopped)
        #expect(script.core.state.stage == 1 && script.core.state.merged != nil)
    }
}
