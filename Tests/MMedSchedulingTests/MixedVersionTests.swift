import MMedAlgorithms
import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// A step whose paths are of several versions, driven by hand.
@Suite struct MixedVersionTests {
    /// Two steps of two questions with two paths each, two updates a step, one lease a path.
    private func plan() -> RunPlan {
        var stage = Plans.reinforce(steps: 2, updates: 2, spares: 0)
        stage.tracks = [stage.tracks[1]]
        for step in stage.tracks[0].steps.indices {
            stage.tracks[0].steps[step].questions = (0..<2).map {
                Plans.question("m\(step)-\($0)", prompts: 1, paths: 2)
            }
        }
        var plan = Plans.only([stage]) {
            $0.mode = .freeRunning
            $0.maxLag = 1
            $0.maxStaleness = 1
            $0.slotsPerLease = 1
            $0.gradientShards = 1
        }
        // With a divergence term every path has a gradient.
        plan.loss = LossSettings(updatesPerStep: 2, klCoefficient: 0.1)
        return plan
    }

    private func slots(_ leases: some Sequence<RolloutLease>) -> [String] {
        leases.flatMap(\.questions).flatMap { question in
            question.slots.map { "\($0.step)/\($0.question)/\($0.sample) v\(question.adapter?.version ?? -1)" }
        }
    }

    /// To where the second step's groups have closed over versions 1 and 2.
    private func mixed() -> Script {
        var script = Script(plan())
        script.tell(.tick, "the run begins")
        script.join("r", .rollout, credits: 5)
        script.join("l", .learner, credits: 8)
        for lease in script.rollouts.prefix(4) { script.sample("r", lease) }
        script.differentiate("l", script.gradients[0])
        script.commit(script.orders[0])
        script.tell(.ready(Name("r")!, credits: 2), "r is ready for 2 between two updates")
        script.sample("r", script.rollouts[4])
        script.differentiate("l", script.gradients[1])
        script.commit(script.orders[1])
        script.sample("r", script.rollouts[5])
        script.sample("r", script.rollouts[6])
        script.tell(.ready(Name("r")!, credits: 2), "r is ready for 2")
        script.sample("r", script.rollouts[7])
        script.sample("r", script.rollouts[8])
        return script
    }

    @Test func leasesAskForTheNewestVersionAndTheOldPathIsAskedAgain() {
        let script = mixed()
        #expect(slots(script.rollouts.prefix(4)) == ["0/0/0 v0", "0/0/1 v0", "0/1/0 v0", "0/1/1 v0"])
        // Ahead, at the version before any update; then at the version between two updates of the step.
        #expect(slots(script.rollouts[4..<7]) == ["1/0/0 v0", "1/0/1 v1", "1/1/0 v1"])
        #expect(slots(script.rollouts[7...]) == ["1/0/0 v2", "1/1/1 v2"])
        #expect(
            script.lines.contains(
                "  INFO gba/brain 2 stale-paths paths=1 oldest=0 version=2 max_staleness=1 "
                    + "why=\"too old, they are asked again\""))
        #expect(script.lines.contains("  record 1 path void: stale"))
        let closed = script.lines.last { $0.contains("gba/brain 2 groups-closed") }
        #expect(closed?.contains("stale_min=0 stale_mean=0.5 stale_max=1 stale_dropped=1") == true, "\(closed ?? "")")
    }

    @Test func eachPathIsLearnedFromWithItsOwnVersionsLogProbs() throws {
        var script = mixed()
        let sampled = Dictionary(
            uniqueKeysWithValues: script.rollouts[5...].flatMap { script.paths(of: $0) }.map { ($0.completionIds, $0) })
        #expect(sampled.count == 4)
        func expect(_ lease: GradientLease, hasStart: Bool) {
            for tree in lease.microbatches.joined() {
                for (path, target) in zip(tree.tree.paths, tree.targets) {
                    guard let trajectory = sampled[path.completionIds] else {
                        Issue.record("a path is learned from that was not sampled")
                        continue
                    }
                    #expect(target.rollLogprobs == trajectory.logprobs)
                    // The start of the step is version 2: what it sampled has the start's log-probs already.
                    #expect(target.proxLogprobs == (trajectory.version == 2 ? trajectory.logprobs : []))
                }
                #expect(tree.targets.count == 2 && tree.targets.contains { $0.proxLogprobs.isEmpty })
            }
            #expect(lease.prox == (hasStart ? script.core.tracks[0].steps[0].learningBase : nil))
        }
        // The first update is at the start itself; the second needs its log-probs for the older path.
        #expect(script.gradients[2].shard.update == 0 && script.gradients[2].adapter.version == 2)
        expect(script.gradients[2], hasStart: false)
        script.differentiate("l", script.gradients[2])
        script.commit(script.orders[2])
        #expect(script.gradients[3].shard.update == 1 && script.gradients[3].adapter.version == 3)
        expect(script.gradients[3], hasStart: true)
        #expect(script.gradients[3].prox?.version == 2)
        script.differentiate("l", script.gradients[3])
        script.commit(script.orders[3])
        #expect(script.outcome == .completed)
    }

    /// A path that is on its way while its adapter moves on is looked at when it comes; it is nobody's failure.
    @Test func aPathThatComesTooOldIsAskedAgainWithoutBlame() {
        var script = Script(plan())
        script.tell(.tick, "the run begins")
        script.join("r", .rollout, credits: 5)
        script.join("l", .learner, credits: 8)
        for lease in script.rollouts.prefix(4) { script.sample("r", lease) }
        for update in 0..<2 {
            script.differentiate("l", script.gradients[update])
            script.commit(script.orders[update])
        }
        let actions = script.sample("r", script.rollouts[4])
        let dropped = actions.compactMap { action -> DroppedPath? in
            guard case .record(.drop(let drop)) = action else { return nil }
            return drop
        }
        #expect(dropped.map(\.reason) == ["stale"] && !dropped[0].isVoided && dropped[0].worker == Name("r"))
        #expect(script.lines.contains("  r <- recorded 1 of L5"))
        #expect(script.core.workers[Name("r")!]?.strikes == 0)
        script.tell(.ready(Name("r")!, credits: 4), "r is ready for 4")
        #expect(slots(script.rollouts[5...]) == ["1/0/0 v2", "1/0/1 v2", "1/1/0 v2", "1/1/1 v2"])
        // The same bytes again, as if the acknowledgement had been lost: they are answered and change nothing.
        script.sample("r", script.rollouts[4])
        #expect(script.lines.contains("  record 1 path dropped: its lease was over"))
    }

    /// Another version than the lease's is refused, though the run has made it.
    @Test func row14_aKnownVersionThatWasNotAskedForIsRefused() {
        var script = Script(plan())
        script.tell(.tick, "the run begins")
        script.join("r", .rollout, credits: 4)
        script.join("l", .learner, credits: 8)
        for lease in script.rollouts { script.sample("r", lease) }
        script.differentiate("l", script.gradients[0])
        script.commit(script.orders[0])
        script.tell(.ready(Name("r")!, credits: 1), "r is ready for 1")
        var lease = script.rollouts[4]
        #expect(slots([lease]) == ["1/0/0 v1"])
        lease.questions[0].adapter = script.rollouts[0].questions[0].adapter
        script.sample("r", lease)
        #expect(script.lines.contains { $0.contains("paths-refused worker=r paths=1") && $0.contains("version 0") })
    }
}
