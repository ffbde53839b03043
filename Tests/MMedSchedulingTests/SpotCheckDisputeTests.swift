import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// What two differing answers prove, and what they do not.
@Suite struct SpotCheckDisputeTests {
    /// A run of one step in which all is checked; `first` holds every path, the others have asked for work.
    private func script(_ others: [String], marks: [String: Double] = [:]) -> (Script, RolloutLease) {
        var stage = Plans.evaluate("eval-base", .base, steps: 1)
        stage.tracks = [stage.tracks[0]]
        var script = Script(Plans.only([stage]) { $0.spotCheck = 1 })
        script.tell(.tick)
        join("first", to: &script, mark: marks["first"] ?? -40)
        for name in others { join(name, to: &script, mark: marks[name] ?? -40) }
        return (script, script.rollouts[0])
    }

    private func join(_ name: String, to script: inout Script, mark: Double = -40, identity: Identity? = nil) {
        let hello = script.join(name, .rollout, credits: 0)
        if let identity { script.tell(.joined(hello, by: identity)) }
        script.tell(.canary(Name(name)!, CanaryReport(adapter: nil, logprob: mark)))
        script.tell(.ready(Name(name)!, credits: 8))
    }

    private func lie(_ lease: RolloutLease, _ script: Script, by amount: Float = 1) -> [JudgedTrajectory] {
        var paths = script.paths(of: lease)
        for index in paths.indices { paths[index].logprobs[0] -= amount }
        return script.judged(paths)
    }

    private func isQuarantined(_ name: String, _ script: Script) -> Bool {
        script.core.quarantineReason(of: Name(name)!, nil) != nil
    }

    /// The lease that a worker was given last and still holds.
    private func held(_ name: String, _ script: Script) -> RolloutLease? {
        guard let lease = script.core.workers[Name(name)!]?.leases.last else { return nil }
        return script.rollouts.last { $0.lease == lease }
    }

    /// Who can check whom changes with whoever comes and goes, so that what was said before is said again where it is true.
    @Test func whatWasSaidOfAMissingJudgeIsForgottenWhenAWorkerComesOrGoes() throws {
        var (script, _) = script([])
        let said: [WorkerRole: Set<String>] = [.rollout: ["one-worker"], .learner: ["one-worker"]]
        script.core.spot.said = said
        script.tell(.tick)
        #expect(script.core.spot.said == said)
        join("second", to: &script)
        #expect(script.core.spot.said == [.learner: ["one-worker"]])
        script.core.spot.said = said
        script.tell(.left(Name("second")!, reason: "gone"))
        #expect(script.core.spot.said == [.learner: ["one-worker"]])
    }

    @Test func anHonestAnswerSettlesACheck() throws {
        var (script, lease) = script(["second"])
        script.sample("first", lease)
        #expect(script.outcome == nil, "the evaluation waits for its checks")
        while script.outcome == nil { script.sample("second", try #require(held("second", script))) }
        #expect(script.outcome == .completed && script.core.spot.passed == 6)
        #expect(!script.entries.contains { $0.event == "spot-check-differs" })
        let done = try #require(script.entries.last { $0.event == "stage-done" })
        #expect(done.fields.suffix(3) == SpotTally(agreed: 6, differed: 0, letThrough: 0).fields[...])
    }

    /// Everybody answers what it holds, `turns` times or until `isOver`; `lies` says by how much a worker's log-probs are off
    /// in a turn. Returns the names of the log's lines.
    private func take(
        turns: Int = 64, _ names: [String], _ script: inout Script, lies: (String, Int) -> Float,
        until isOver: (Script) -> Bool = { $0.outcome != nil }
    ) -> [String] {
        var events: [String] = []
        for turn in 0..<turns where !isOver(script) {
            for name in names {
                guard let lease = held(name, script) else { continue }
                script.tell(.trajectories(Name(name)!, lease.lease, lie(lease, script, by: lies(name, turn))))
                events += script.entries.map(\.event)
                script.tell(.ready(Name(name)!, credits: 1))
                events += script.entries.map(\.event)
            }
        }
        return events
    }

    @Test func twoWorkersThatDifferAreBothNamedAndWaitForAThird() throws {
        var (script, lease) = script(["second"])
        script.tell(.trajectories(Name("first")!, lease.lease, lie(lease, script)))
        // Both are asked again, and stand by what they said.
        let events = take(["first", "second"], &script, lies: { name, _ in name == "first" ? 1 : 0 })
        #expect(events.contains("spot-check-differs"))
        #expect(events.count { $0 == "spot-check-undecided" } == 6 && script.outcome == nil)
        #expect(!isQuarantined("first", script) && !isQuarantined("second", script))
        join("third", to: &script)
        script.sample("third", try #require(held("third", script)))
        #expect(isQuarantined("first", script) && !isQuarantined("second", script))
        #expect(script.core.tracks[0].steps[0].pendingSlots == 6, "all that it brought is asked for again")
        #expect(script.core.workers[Name("first")!] == nil)
        script.join("first", .rollout, credits: 0)
        #expect(script.core.workers[Name("first")!] == nil && script.last.contains { "\($0)".contains("quarantined") })
        _ = take(["second", "third"], &script, lies: { _, _ in 0 })
        #expect(script.outcome == .completed)
    }

    @Test func withoutAThirdTheRunEndsAndCanBeResumed() throws {
        var (script, lease) = script(["second"])
        script.tell(.trajectories(Name("first")!, lease.lease, lie(lease, script)))
        _ = take(["first", "second"], &script, lies: { name, _ in name == "first" ? 1 : 0 })
        script.wait(130, beating: ["first", "second"])
        #expect(script.outcome == .noWorkers(.rollout))
        #expect(script.core.state.evaluations.isEmpty, "nothing that is disputed was committed")
    }

    @Test func whoAnswersDifferentlyTheSecondTimeGivesItselfAway() throws {
        var (script, lease) = script(["second"])
        script.tell(.trajectories(Name("first")!, lease.lease, lie(lease, script)))
        _ = take(
            ["first", "second"], &script, lies: { name, turn in name == "first" ? Float(turn + 2) : 0 },
            until: { isQuarantined("first", $0) })
        #expect(isQuarantined("first", script) && !isQuarantined("second", script))
    }

    /// Nobody can judge what an absent worker brought: it is done again.
    @Test func whatAWorkerThatLeftCannotDefendIsDoneAgain() throws {
        var (script, lease) = script(["second"])
        script.tell(.trajectories(Name("first")!, lease.lease, lie(lease, script)))
        _ = take(turns: 1, ["second"], &script, lies: { _, _ in 0 })
        script.tell(.left(Name("first")!, reason: "its connection is gone"))
        _ = take(["second"], &script, lies: { _, _ in 0 })
        #expect(script.outcome == .completed && !isQuarantined("first", script))
        let truth = try #require(script.core.state.evaluations.first)
        #expect(truth.paths.count == 6)
    }

    @Test func aCheckerThatLiesIsOutvoted() throws {
        var (script, lease) = script(["second", "third"])
        script.sample("first", lease)
        _ = take(["first", "second", "third"], &script, lies: { name, _ in name == "second" ? 1 : 0 })
        #expect(script.outcome == .completed)
        #expect(isQuarantined("second", script) && !isQuarantined("first", script))
        #expect(!isQuarantined("third", script))
    }

    /// Another kind of processor rounds otherwise, which the canary of the base model shows: it can judge nobody.
    @Test func anotherKindOfProcessorIsNoJudge() throws {
        var (script, lease) = script(["second"], marks: ["second": -40.0001])
        script.sample("first", lease)
        #expect(script.outcome == .completed && script.core.spot.passed == 0)
        #expect(script.entries.contains { $0.event == "spot-check-idle" })
    }

    @Test func processesOfOneKeyDoNotVouchForEachOther() throws {
        let identity = Identity(
            key: PublicKey(String(repeating: "a", count: 40))!, role: .rollout, name: Name("gpu")!)
        var script = Script(Plans.only([Plans.evaluate("eval-base", .base, steps: 1)]) { $0.spotCheck = 1 })
        script.tell(.tick)
        let hello = Hello(
            role: .rollout, name: Name("gpu.1")!, instance: 90, modelDigest: Bytes().digest, threads: 1, adapters: [],
            host: "host", processID: 1)
        var other = hello
        (other.name, other.instance) = (Name("gpu.2")!, 91)
        for hello in [hello, other] {
            script.tell(.joined(hello, by: identity))
            script.tell(.canary(hello.name, CanaryReport(adapter: nil, logprob: -40)))
        }
        script.tell(.ready(hello.name, credits: 1))
        script.tell(.ready(other.name, credits: 8))
        script.sample("gpu.1", script.rollouts[0])
        #expect(script.outcome == .completed && script.core.spot.passed == 0)
    }

    /// A checker that never answers costs time, and no more than that.
    @Test func aSilentCheckerDoesNotHoldTheStepForEver() throws {
        var (script, lease) = script(["second"])
        script.sample("first", lease)
        #expect(script.outcome == nil)
        for _ in 0..<100 where script.outcome == nil { script.wait(10, beating: ["first", "second"]) }
        #expect(script.outcome == .completed)
    }

    /// A liar that only the next coordinator catches: the journal has groups with its paths, which close anew and are
    /// recorded anew.
    @Test func groupsOfTheJournalGoWithTheVoidPathsOfTheirStep() throws {
        var stage = Plans.reinforce(steps: 1, updates: 1, spares: 0)
        stage.tracks = [stage.tracks[1]]
        var script = Script(Plans.only([stage]) { $0.spotCheck = 1 })
        var journal: [JournalRecord] = []
        func keep(_ actions: [Action]) { for case .record(let record) in actions { journal.append(record) } }
        keep(script.tell(.tick))
        join("first", to: &script)
        while let lease = held("first", script) {
            keep(script.tell(.trajectories(Name("first")!, lease.lease, lie(lease, script))))
            keep(script.tell(.ready(Name("first")!, credits: 1)))
        }
        guard case .groups(let former) = journal.last else {
            Issue.record("alone it was checked by nobody: \(journal.count) records")
            return
        }
        var state = script.core.state
        state.epoch = 2
        script.core = CoordinatorCore(plan: script.core.plan, state: state, journal: journal)
        keep(script.tell(.tick))
        for name in ["first", "second", "third"] { join(name, to: &script) }
        for _ in 0..<64 {
            for name in ["first", "second", "third"] {
                guard let lease = held(name, script) else { continue }
                let paths = name == "first" ? lie(lease, script) : lie(lease, script, by: 0)
                keep(script.tell(.trajectories(Name(name)!, lease.lease, paths)))
                keep(script.tell(.ready(Name(name)!, credits: 1)))
            }
        }
        #expect(isQuarantined("first", script) && script.outcome == nil)
        let lastVoid = journal.lastIndex { if case .drop(let drop) = $0 { drop.isVoided } else { false } }
        let lastGroups = journal.lastIndex { if case .groups = $0 { true } else { false } }
        #expect(try #require(lastGroups) > #require(lastVoid), "the groups closed and no record tells of it")
        guard case .groups(let closed) = journal[try #require(lastGroups)] else { return }
        #expect(closed.place == former.place && closed.members.count == former.members.count)
        // What the next coordinator reads is whole.
        let open = OpenWork(journal, after: state)
        #expect(open.groups[closed.place] == closed && open.paths.count == closed.members.count)
    }

    /// What a stopped coordinator could not hear is no silence of a checker: else a pause would let lies through.
    @Test(arguments: [60.0, 3_000]) func aPauseOfTheCoordinatorLetsNothingThrough(_ pause: Double) throws {
        var (script, lease) = script(["second", "third"])
        script.tell(.trajectories(Name("first")!, lease.lease, lie(lease, script)))
        script.wait(1, beating: ["first", "second", "third"])
        for _ in 0..<3 {
            script.sleep(pause)
            #expect(script.outcome == nil, "unchecked work is counted after a pause")
        }
        _ = take(["second", "third"], &script, lies: { _, _ in 0 })
        #expect(isQuarantined("first", script) && script.outcome == .completed)
        #expect(!script.entries.contains { $0.event == "spot-check-idle" })
    }

    /// What a coordinator leaves that died when all paths of a lease were recorded and none was checked.
    private func uncheckedAtDeath(_ former: Script, _ lease: RolloutLease) -> (RunState, [JournalRecord]) {
        var state = former.core.state
        state.epoch = 2
        let paths = former.judged(former.paths(of: lease)).map { path in
            JournalRecord.path(
                RecordedPath(
                    path: path, lease: lease.lease, sentUnder: lease.lease, worker: Name("first")!, question: "",
                    prompt: "", specialty: Plans.specialties[0]))
        }
        return (state, [.session(epoch: 1)] + paths)
    }

    /// The cluster starts one rollout worker: once it is back there is nobody else to wait for.
    @Test func whoStartsAllWorkersWaitsForNoOthers() throws {
        var (script, lease) = script(["second"])
        let (state, journal) = uncheckedAtDeath(script, lease)
        var plan = script.core.plan
        plan.settings.workersExpected = [.rollout: 1, .learner: 1]
        script.core = CoordinatorCore(plan: plan, state: state, journal: journal)
        script.tell(.tick)
        #expect(script.outcome == nil)
        #expect(script.entries.count { $0.event == "spot-check-waits" } == 1)
        join("first", to: &script)
        #expect(script.outcome == .completed)
    }

    /// A coordinator that was started again waits for its workers for as long as it runs, not while it is stopped.
    @Test func aPauseAfterAStartIsNoTimeToComeBackIn() throws {
        let (former, lease) = script(["second"])
        let (state, journal) = uncheckedAtDeath(former, lease)
        var core = CoordinatorCore(plan: former.core.plan, state: state, journal: journal)
        _ = core.step(.tick, at: Tick(milliseconds: 1_000))
        _ = core.step(.tick, at: Tick(milliseconds: 900_000))
        #expect(core.ending == nil && core.spot.open.count == 6)
        for second in 901..<914 { _ = core.step(.tick, at: Tick(milliseconds: UInt64(second) * 1_000)) }
        #expect(core.ending == nil)
        for second in 914..<920 { _ = core.step(.tick, at: Tick(milliseconds: UInt64(second) * 1_000)) }
        #expect(core.ending == .completed)
    }

    @Test func aQuarantineStandsForItsKeyAndEveryNameOfIt() {
        let key = PublicKey(String(repeating: "a", count: 40))!
        let caught = QuarantinedWorker(
            worker: Name("gpu.1")!, party: Name("gpu")!, key: key, role: .rollout, reason: "it lied")
        let plan = Plans.only([Plans.evaluate("eval-base", .base, steps: 1)])
        let core = CoordinatorCore(
            plan: plan, state: Plans.initialState(plan), journal: [.session(epoch: 1), .quarantine(caught)])
        func isRefused(_ name: String, _ key: PublicKey?, _ party: String) -> Bool {
            let identity = key.map { Identity(key: $0, role: .rollout, name: Name(party)!) }
            return core.quarantineReason(of: Name(name)!, identity) != nil
        }
        let other = PublicKey(String(repeating: "b", count: 40))!
        #expect(isRefused("gpu.1", key, "gpu") && isRefused("gpu.7", key, "gpu") && isRefused("else", key, "else"))
        #expect(isRefused("gpu.1", nil, "") && isRefused("gpu.2", other, "gpu"))
        #expect(!isRefused("gpu-2", other, "gpu-2") && !isRefused("other", nil, ""))
    }
}
