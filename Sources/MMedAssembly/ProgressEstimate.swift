import MMedScheduling
import MMedTelemetry

/// The terminal's line, from what is logged: where the run is, how fast, and the time that is left by the speed of this process.
struct ProgressEstimate {
    private let secondsPlanned: [String: Double]
    private let secondsTotal: Double
    /// Of the plan's predicted seconds; those of an earlier process count as done, but tell nothing of this one's speed.
    private var secondsDone: Double
    private var secondsBefore: Double
    private let began: Double
    private var stage = ""
    private var stageBegan: Double
    private var stageTokens = 0
    private var steps = 0
    private var done = 0
    private var reward: Double?
    private var loss: Double?
    private var tokensPerSecond: Double?

    /// - Parameters:
    ///   - planned: predicted seconds of each stage, in their order.
    ///   - stagesDone: those that an earlier process finished.
    ///   - now: seconds of a clock that never goes back, like every later `now`.
    init(planned: [(stage: String, seconds: Double)], stagesDone: Int, now: Double) {
        secondsPlanned = Dictionary(planned.map { ($0.stage, $0.seconds) }, uniquingKeysWith: { $0 + $1 })
        secondsTotal = planned.reduce(0) { $0 + $1.seconds }
        secondsDone = planned.prefix(stagesDone).reduce(0) { $0 + $1.seconds }
        secondsBefore = secondsDone
        began = now
        stageBegan = now
    }

    /// Takes an entry in; nil before the first stage.
    mutating func take(_ entry: LogEntry, now: Double) -> ProgressStatus? {
        let named = entry.scope.split(separator: "/").first.map(String.init) ?? entry.scope
        switch entry.event {
        case "stage-begins": begin(named, steps: entry.int("steps") ?? 0, done: entry.int("done") ?? 0, now: now)
        case "update", "no-signal", "evaluated", "update-refused":
            done += 1
            secondsDone += secondsOfStep(named)
            loss = entry.double("loss") ?? loss
            tokensPerSecond = entry.double("learner_tok_s") ?? tokensPerSecond
            if entry.event == "evaluated" { evaluated(entry, now: now) }
        case "groups-closed": reward = entry.double("reward")
        default: break
        }
        guard steps > 0 else { return nil }
        let gained = secondsDone - secondsBefore
        let left = gained > 0 ? (now - began) * max(0, secondsTotal - secondsDone) / gained : nil
        return ProgressStatus(
            stage: stage, step: min(done, steps), steps: steps, reward: reward, loss: loss,
            tokensPerSecond: tokensPerSecond, secondsLeft: left)
    }

    private mutating func begin(_ name: String, steps: Int, done: Int, now: Double) {
        (stage, stageBegan, stageTokens) = (name, now, 0)
        (self.steps, self.done) = (steps, done)
        (reward, loss, tokensPerSecond) = (nil, nil, nil)
        // Steps that are done when a stage begins were done before this process.
        let before = secondsOfStep(name) * Double(done)
        secondsDone += before
        secondsBefore += before
    }

    /// Tracks are evaluated side by side, so their tokens are counted together.
    private mutating func evaluated(_ entry: LogEntry, now: Double) {
        reward = entry.double("reward")
        stageTokens += entry.int("tokens") ?? 0
        if now > stageBegan { tokensPerSecond = Double(stageTokens) / (now - stageBegan) }
    }

    private func secondsOfStep(_ stage: String) -> Double { (secondsPlanned[stage] ?? 0) / Double(max(1, steps)) }
}

extension LogEntry {
    func int(_ key: String) -> Int? {
        guard case .int(let value)? = fields.first(where: { $0.key == key })?.value else { return nil }
        return value
    }

    func double(_ key: String) -> Double? {
        guard case .double(let value)? = fields.first(where: { $0.key == key })?.value else { return nil }
        return value
    }
}
