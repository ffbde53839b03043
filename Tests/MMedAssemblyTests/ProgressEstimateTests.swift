import MMedScheduling
import MMedTelemetry
import Testing

@testable import MMedAssembly

@Suite struct ProgressEstimateTests {
    private let planned = [
        (stage: "eval-base", seconds: 100.0), (stage: "dsa", seconds: 300.0), (stage: "eval-dsa", seconds: 100.0),
    ]

    private func begins(_ stage: String, steps: Int, done: Int = 0) -> LogEntry {
        LogEntry(
            .info, scope: stage, event: "stage-begins",
            fields: [.init("steps", .int(steps))] + (done > 0 ? [.init("done", .int(done))] : []))
    }

    private func update(_ rate: Double) -> LogEntry {
        LogEntry(
            .info, scope: "dsa/pediatrics", step: 1, event: "update",
            fields: [.init("loss", .double(2)), .init("learner_tok_s", .double(rate))])
    }

    private func evaluated(_ stage: String, tokens: Int) -> LogEntry {
        LogEntry(
            .info, scope: "\(stage)/pediatrics", event: "evaluated",
            fields: [.init("reward", .double(0.5)), .init("tokens", .int(tokens))])
    }

    @Test func theTimeLeftIsThatOfThePlanAtPresentSpeed() {
        var estimate = ProgressEstimate(planned: planned, stagesDone: 0, now: 1_000)
        #expect(estimate.take(begins("eval-base", steps: 2), now: 1_000)?.secondsLeft == nil)
        // Half of 100 predicted seconds took 25: the other 450 take 225.
        let status = estimate.take(evaluated("eval-base", tokens: 500), now: 1_025)
        #expect(status?.secondsLeft == 225)
        #expect(status?.step == 1 && status?.steps == 2 && status?.reward == 0.5)
    }

    /// What an earlier process did is done, and tells nothing of the speed of this one.
    @Test func aResumedRunCountsWhatWasDone() {
        var estimate = ProgressEstimate(planned: planned, stagesDone: 1, now: 50)
        _ = estimate.take(begins("dsa", steps: 30, done: 20), now: 50)
        // Ten predicted seconds took 20; 90 of dsa and 100 of eval-dsa are left.
        let status = estimate.take(update(120), now: 70)
        #expect(status?.secondsLeft == 380)
        #expect(status?.step == 21 && status?.tokensPerSecond == 120)
    }

    @Test func eachStageTellsItsOwnSpeed() {
        var estimate = ProgressEstimate(planned: planned, stagesDone: 1, now: 0)
        _ = estimate.take(begins("dsa", steps: 1), now: 0)
        #expect(estimate.take(update(120), now: 10)?.tokensPerSecond == 120)
        let entered = estimate.take(begins("eval-dsa", steps: 2), now: 20)
        #expect(entered?.tokensPerSecond == nil && entered?.loss == nil, "the learner's figures are over")
        #expect(estimate.take(evaluated("eval-dsa", tokens: 300), now: 22)?.tokensPerSecond == 150)
        #expect(estimate.take(evaluated("eval-dsa", tokens: 500), now: 24)?.tokensPerSecond == 200)
    }
}
