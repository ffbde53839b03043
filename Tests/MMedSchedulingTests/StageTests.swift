import MMedAlgorithms
import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// Stages, tracks and steps at their edges.
@Suite struct StageTests {
    private func finish(_ plan: RunPlan, seed: UInt64 = 3) -> FakeCluster {
        var cluster = FakeCluster(plan: plan, seed: seed, rollouts: 2, learners: 2)
        cluster.invariantsEvery = 1
        _ = cluster.run()
        #expect(cluster.outcome == .completed, "\(cluster.problems.prefix(3)), \(cluster.events) events")
        return cluster
    }

    @Test func emptyStagesTracksAndStepsEndAtOnce() {
        let nothing = StepPlan()
        func stage(_ kind: StageKind, steps: Int) -> StagePlan {
            StagePlan(
                name: "\(kind)-\(steps)", kind: kind,
                sampling: SamplingSettings(temperature: 1, topK: 0, topP: 1, maxTokens: 4),
                tracks: Plans.specialties.map {
                    TrackPlan(
                        specialty: $0, adapter: .specialty, steps: [StepPlan](repeating: nothing, count: steps))
                })
        }
        var stages: [StagePlan] = []
        for kind in [StageKind.evaluate, .supervise, .reinforce] {
            for steps in [0, 1, 500] { stages.append(stage(kind, steps: steps)) }
            stages.append(
                StagePlan(
                    name: "\(kind)-none", kind: kind,
                    sampling: SamplingSettings(temperature: 1, topK: 0, topP: 1, maxTokens: 4), tracks: []))
        }
        var script = Script(Plans.only(stages) { $0.maxLag = 2 })
        script.tell(.tick)
        #expect(script.outcome == .completed)
        #expect(script.core.state.heads == Plans.initialState(script.core.plan).heads)
        #expect(Script(Plans.only([])).core.plan.stages.isEmpty)
        var none = Script(Plans.only([]))
        none.tell(.tick)
        #expect(none.outcome == .completed)
    }

    @Test func promptsWithoutPathsAndQuestionsWithoutPromptsEndAtOnce() {
        var stage = Plans.reinforce(steps: 2, updates: 1)
        for track in stage.tracks.indices {
            for step in stage.tracks[track].steps.indices {
                stage.tracks[track].steps[step].questions = [
                    Plans.question("none", prompts: 2, paths: 0), Plans.question("bare", prompts: 0, paths: 2),
                ]
            }
        }
        var script = Script(Plans.only([stage]))
        script.tell(.tick)
        #expect(script.outcome == .completed)
    }

    @Test func aStepWithoutLearningRatesLearnsNothing() {
        var stage = Plans.supervise(steps: 2, updates: 0)
        stage.tracks = [stage.tracks[0]]
        var script = Script(Plans.only([stage]))
        script.tell(.tick)
        #expect(script.outcome == .completed)
        #expect(script.core.state.heads[0].reference.version == 0)
    }

    @Test func evaluationsAreInPlanOrderAndWhole() {
        let plan = Plans.only([Plans.evaluate("one", .base, steps: 4), Plans.evaluate("two", .specialty, steps: 1)])
        for seed in 0..<20 as Range<UInt64> {
            let state = finish(plan, seed: seed).checkpoint
            let expected = plan.stages.flatMap { stage in stage.tracks.map { (stage.name, $0.specialty) } }
            #expect(state.evaluations.map(\.stage) == expected.map(\.0), "seed \(seed)")
            #expect(state.evaluations.map(\.specialty) == expected.map(\.1), "seed \(seed)")
            for (record, track) in zip(state.evaluations, plan.stages.flatMap(\.tracks)) {
                let asked = track.steps.flatMap(\.questions).flatMap { question in
                    question.promptNames.map { "\(question.id) \($0)" }
                }
                #expect(record.paths.map { "\($0.question) \($0.prompt)" } == asked, "seed \(seed)")
            }
        }
    }

    /// Every slot is in the statistics once, whatever was delivered how often.
    @Test func everySlotIsCountedOnce() {
        let plan = Plans.whole(lag: 2, updates: 2, resample: 2)
        for seed in 0..<12 as Range<UInt64> {
            var faults = Faults.heavy
            (faults.restart, faults.drain) = (0, 0)
            var cluster = FakeCluster(plan: plan, seed: seed, faults: faults, rollouts: 3, learners: 2)
            #expect(cluster.run() == .completed, "seed \(seed): \(cluster.problems.prefix(3))")
            let groups = cluster.metrics.filter { $0.event == "groups" }
            let steps = plan.stages[3].tracks.reduce(0) { $0 + $1.steps.count }
            #expect(groups.count == steps, "seed \(seed)")
            for entry in groups {
                func number(_ key: String) -> Int {
                    guard case .int(let value)? = entry.fields.first(where: { $0.key == key })?.value else { return -1 }
                    return value
                }
                // Three questions of four paths, and four for each spare that was drawn.
                let drawn = cluster.entries.filter {
                    $0.event == "resample" && $0.scope == entry.scope && $0.step == entry.step
                }.reduce(0) { sum, line in
                    guard case .int(let value)? = line.fields.first(where: { $0.key == "questions" })?.value else {
                        return sum
                    }
                    return sum + value
                }
                #expect(number("paths") == 4 * (3 + drawn), "seed \(seed): \(Script.text(of: entry))")
                #expect(number("failed") == 0, "seed \(seed)")
            }
        }
    }

    @Test func sparesReplaceTiedQuestionsOnceEach() {
        var stage = Plans.reinforce(steps: 1, updates: 1, spares: 2)
        stage.tracks = [stage.tracks[0]]
        // All three are tied, the first spare is too, the second is not.
        stage.tracks[0].steps[0].questions = (0..<3).map {
            Plans.question("t\($0)", prompts: 1, paths: 2, isTied: true)
        }
        var script = Script(
            Plans.only([stage]) {
                $0.resampleRounds = 5
                $0.slotsPerLease = 64
            })
        script.join("r", .rollout, credits: 9)
        script.sample("r", script.rollouts[0])
        #expect(script.entries.filter { $0.event == "resample" }.count == 1)
        let step = script.core.tracks[0].steps[0]
        #expect(step.questions.map(\.id).suffix(2) == ["adult-s0-0", "adult-s0-1"])
        #expect(step.replaced == [true, true, false, false, false])
        // The spares are used up: the tied one stays, and the groups close.
        script.sample("r", script.rollouts[1])
        #expect(script.entries.contains { $0.event == "groups-closed" })
    }

    @Test func questionsWithTooFewValidPathsAreDiscarded() {
        var stage = Plans.reinforce(steps: 1, updates: 1)
        stage.tracks = [stage.tracks[1]]
        var script = Script(
            Plans.only([stage]) {
                $0.retries = 0
                $0.minimumValidSamples = 4
                $0.slotsPerLease = 4
            })
        script.join("r", .rollout, credits: 3)
        var paths = script.paths(of: script.rollouts[0])
        paths[0].reward = .nan
        script.tell(.trajectories(Name("r")!, script.rollouts[0].lease, script.judged(paths)))
        for lease in script.rollouts.dropFirst() { script.sample("r", lease) }
        let line = script.entries.first { $0.event == "groups-closed" }
        #expect(line?.fields.contains(.init("discarded_questions", .int(1))) == true, "\(script.text)")
        #expect(line?.fields.contains(.init("failed", .int(1))) == true)
    }

    @Test func aPlanThatCannotBeFollowedIsRefusedAtOnce() {
        let base = Plans.whole(lag: 0, updates: 1)
        func reason(_ change: (inout RunPlan, inout RunState) -> Void) -> String {
            var (plan, state) = (base, Plans.initialState(base))
            change(&plan, &state)
            var script = Script(plan, state: state)
            script.tell(.tick)
            if case .failed(let reason)? = script.outcome { return reason }
            return "it began"
        }
        #expect(reason { plan, _ in plan.stages.remove(at: 5) }.contains("merged adapter before any merge"))
        #expect(reason { plan, _ in plan.adapters.removeLast() }.contains("3 adapters, the plan 2"))
        #expect(reason { _, state in state.stage = 8 }.contains("the plan has 7"))
        #expect(reason { _, state in state.stage = -1 }.contains("the plan has 7"))
        #expect(
            reason { _, state in state.tracks = [TrackProgress(committedSteps: 0, blend: BlendState())] }
                .contains("1 tracks"))
        #expect(
            reason { _, state in
                state.tracks = Plans.specialties.map { _ in TrackProgress(committedSteps: 9, blend: BlendState()) }
            }.contains("at step 9"))
        #expect(reason { plan, _ in plan.stages[1].tracks[0].adapter = .base }.contains("its own adapter"))
        #expect(
            reason { plan, _ in plan.stages[1].tracks[0].specialty = Plans.specialties[1] }.contains("two tracks train")
        )
        #expect(
            reason { plan, _ in plan.stages[1].tracks[0].specialty = Name("foreign")! }.contains("no adapter foreign"))
        #expect(
            reason { plan, _ in plan.stages[0].tracks[0].steps[0].questions[0].promptNames = [] }
                .contains("0 names for 2 prompts"))
        #expect(
            reason { plan, _ in plan.stages[0].tracks[0].steps[0].questions[0].reward.answerIndex = 3 }
                .contains("answer 3 of 3 options"))
        #expect(reason { _, _ in } == "it began")
    }

    @Test func settingsThatDoNotFitThePromptsEndTheRunWithAReason() {
        var stage = Plans.reinforce(steps: 1, updates: 1)
        stage.tracks = [stage.tracks[0]]
        var plan = Plans.only([stage]) { $0.slotsPerLease = 64 }
        plan.advantages = AdvantageSettings(weights: .list([1]))
        var script = Script(plan)
        script.join("r", .rollout)
        script.sample("r", script.rollouts[0])
        guard case .failed(let reason) = script.outcome else {
            Issue.record("the run went on")
            return
        }
        #expect(reason.contains("gba/adult step 1") && reason.contains("weight"))
    }

    /// Two hundred thousand slots in one evaluation: nothing may walk over all of them for each event.
    @Test func manySlotsStayCheap() {
        var stage = Plans.evaluate("eval-base", .base, steps: 1)
        stage.tracks = [stage.tracks[0]]
        stage.tracks[0].steps = [
            StepPlan(questions: (0..<50_000).map { Plans.question("q\($0)", prompts: 2, paths: 2) })
        ]
        var script = Script(Plans.only([stage]) { $0.slotsPerLease = 40 })
        script.join("r", .rollout, credits: 1)
        var next = 0
        while next < script.rollouts.count, script.outcome == nil {
            let lease = script.rollouts[next]
            next += 1
            // One message for each path, as a worker sends them.
            for path in script.judged(script.paths(of: lease)) {
                script.tell(.trajectories(Name("r")!, lease.lease, [path]))
            }
            script.tell(.ready(Name("r")!, credits: 1))
        }
        #expect(script.outcome == .completed)
        #expect(script.core.state.evaluations[0].paths.count == 200_000)
    }
}
