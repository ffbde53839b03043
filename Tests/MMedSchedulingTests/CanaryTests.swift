import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// Workers prove with a log-prob that they compute with what they say they have loaded.
@Suite struct CanaryTests {
    private let adapter = AdapterReference(name: Plans.specialties[0], version: 3, digest: Bytes().digest)

    private func script(_ workers: [String]) -> Script {
        let plan = Plans.only([Plans.evaluate("eval-base", .base, steps: 1)])
        var state = Plans.initialState(plan)
        state.heads[0].reference = adapter
        var script = Script(plan, state: state)
        script.tell(.tick, "the run begins")
        for worker in workers { script.join(worker, .rollout, credits: 0) }
        return script
    }

    private func report(_ script: inout Script, _ worker: String, _ adapter: AdapterReference?, _ logprob: Double) {
        script.tell(.canary(Name(worker)!, CanaryReport(adapter: adapter, logprob: logprob)), "\(worker) sings")
    }

    private func alarms(_ script: Script) -> [String] { script.lines.filter { $0.contains("canary-") } }

    @Test func equalNumbersAreNoNews() {
        var script = script(["a", "b"])
        for worker in ["a", "b"] {
            report(&script, worker, nil, -40)
            // Another processor rounds otherwise.
            report(&script, worker, adapter, worker == "a" ? -38.5 : -38.5004)
        }
        #expect(alarms(script).isEmpty)
    }

    @Test func ofTwoThatDifferBothAreNamedAndNoneIsGivenUp() {
        var script = script(["a", "b"])
        report(&script, "a", adapter, -38.5)
        report(&script, "b", adapter, -39)
        #expect(alarms(script).count == 1)
        #expect(alarms(script)[0].contains("ERROR run - canary-differs adapter=\"adult v3\" worker=b"))
        #expect(alarms(script)[0].contains("other_worker=a"))
        #expect(script.core.workers.count == 2)
    }

    @Test(arguments: ["a", "b", "c"]) func ofThreeTheOneThatDiffersIsGivenUp(liar: String) {
        var script = script(["a", "b", "c"])
        for worker in ["a", "b", "c"] { report(&script, worker, adapter, worker == liar ? -40 : -38.5) }
        #expect(script.core.workerNames.map(\.text) == ["a", "b", "c"].filter { $0 != liar })
        #expect(script.lines.contains { $0.hasPrefix("  dismiss \(liar): its canary of adult v3 is -40.0") })
    }

    /// What was wrong is gone with its worker: a new process of another name is not held against it.
    @Test func aWorkerThatLeftNoLongerCounts() {
        var script = script(["a", "b"])
        report(&script, "a", adapter, -40)
        script.tell(.left(Name("a")!, reason: "killed"), "a is gone")
        report(&script, "b", adapter, -38.5)
        #expect(alarms(script).isEmpty)
    }

    @Test func aTrainedVersionThatScoresAsTheBaseModelDoesIsNamed() {
        var script = script(["a"])
        report(&script, "a", nil, -40)
        report(&script, "a", AdapterReference(name: adapter.name, version: 0, digest: Bytes().digest), -40)
        #expect(alarms(script).isEmpty, "an adapter that was not trained yet changes nothing")
        report(&script, "a", adapter, -40)
        #expect(alarms(script).count == 1 && alarms(script)[0].contains("canary-like-base worker=a adapter=adult"))
    }

    @Test func aForeignAdapterIsNotRemembered() {
        var script = script(["a"])
        report(&script, "a", AdapterReference(name: Name("foreign")!, version: 1, digest: Bytes().digest), -1)
        for version in 0..<200 {
            var other = adapter
            other.version = version
            report(&script, "a", other, -Double(version))
        }
        #expect(script.core.canaries.map(\.adapter) == [adapter], "only what the run has handed out has a place")
    }

    @Test func thePlanSaysWhichTokens() {
        let plan = Plans.only([Plans.evaluate("eval-base", .base, steps: 1)])
        let question = plan.stages[0].tracks[0].steps[0].questions[0]
        #expect(plan.canaryIds == question.prefixIds + question.suffixIds[0])
        let supervised = Plans.only([Plans.supervise(steps: 1, updates: 1)])
        #expect(supervised.canaryIds == [0, 1, 2, 3])
    }
}
