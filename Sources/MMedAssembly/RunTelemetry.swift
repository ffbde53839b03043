import Foundation
import MMedCoordinator
import MMedCore
import MMedScheduling
import MMedTelemetry
import Synchronization

/// progress.log, metrics.jsonl and the terminal's line, behind the coordinator's port.
final class RunTelemetry: TelemetryPort {
    private let progress: ProgressLog
    private let metrics: MetricsLog
    private let terminal = TerminalProgress()
    /// Updates and evaluations of the whole plan, for the time that is left.
    private let tokensPlanned: [String: Double]
    private let tokensTotal: Double
    private let isTerminal = isatty(2) == 1

    private struct Seen {
        var started = Date()
        var stage = ""
        var steps = 0
        var done = 0
        var reward: Double?
        var loss: Double?
        var tokensPerSecond: Double?
        var tokensDone = 0.0
        var tokensAtStart: Double?
    }
    private let seen = Mutex(Seen())

    /// Opens the files; `tokensPlanned` are the predicted tokens of each stage, in their order.
    init(folder: String, tokensPlanned: [(stage: String, tokens: Double)]) throws {
        progress = try ProgressLog(path: folder + "/progress.log")
        metrics = try MetricsLog(path: folder + "/metrics.jsonl")
        self.tokensPlanned = Dictionary(tokensPlanned.map { ($0.stage, $0.tokens) }, uniquingKeysWith: { $0 + $1 })
        tokensTotal = tokensPlanned.reduce(0) { $0 + $1.tokens }
    }

    func log(_ entry: LogEntry) {
        let level: MMedTelemetry.LogLevel =
            switch entry.level {
            case .debug: .debug
            case .info: .info
            case .warn: .warning
            case .error: .error
            }
        progress.write(
            level, stage: entry.scope, step: entry.step, event: entry.event,
            values: entry.fields.map { ($0.key, RunTelemetry.value($0.value)) })
        show(entry)
    }

    func metric(_ entry: LogEntry) {
        var values: [(key: String, value: LogValue)] = [
            ("stage", .text(entry.scope)), ("event", .text(entry.event)),
        ]
        if let step = entry.step { values.append(("step", .integer(step))) }
        values += entry.fields.map { ($0.key, RunTelemetry.value($0.value)) }
        metrics.record(values: values)
    }

    /// Removes the terminal's line, so that other text can be printed.
    func clear() { terminal.clear() }

    private static func value(_ value: FieldValue) -> LogValue {
        switch value {
        case .int(let number): .integer(number)
        case .double(let number): .number(number)
        case .text(let text): .text(text)
        }
    }

    private func show(_ entry: LogEntry) {
        let status = seen.withLock { seen -> ProgressStatus? in
            let stage = entry.scope.split(separator: "/").first.map(String.init) ?? entry.scope
            switch entry.event {
            case "stage-begins":
                seen.stage = stage
                seen.steps = entry.int("steps") ?? 0
                seen.done = entry.int("done") ?? 0
                seen.reward = nil
                seen.loss = nil
            case "update", "no-signal", "evaluated", "update-refused":
                seen.done += 1
                seen.tokensDone += (tokensPlanned[stage] ?? 0) / Double(max(1, seen.steps))
                seen.loss = entry.double("loss") ?? seen.loss
                seen.tokensPerSecond = entry.double("learner_tok_s") ?? seen.tokensPerSecond
                seen.reward = entry.event == "evaluated" ? entry.double("reward") : seen.reward
            case "groups-closed": seen.reward = entry.double("reward")
            default: break
            }
            guard seen.steps > 0 else { return nil }
            let elapsed = Date().timeIntervalSince(seen.started)
            let left =
                seen.tokensDone > 0 ? elapsed * max(0, tokensTotal - seen.tokensDone) / seen.tokensDone : nil
            return ProgressStatus(
                stage: seen.stage, step: min(seen.done, seen.steps), steps: seen.steps, reward: seen.reward,
                loss: seen.loss, tokensPerSecond: seen.tokensPerSecond, secondsLeft: left)
        }
        guard let status else { return }
        if isTerminal && (entry.level == .warn || entry.level == .error) {
            terminal.clear()
            ProcessSetup.say(RunTelemetry.warning(entry))
        }
        terminal.show(status)
    }

    private static func warning(_ entry: LogEntry) -> String {
        let fields = entry.fields.map { field in
            switch field.value {
            case .int(let number): "\(field.key)=\(number)"
            case .double(let number): "\(field.key)=\(number)"
            case .text(let text): "\(field.key)=\(text)"
            }
        }
        return "\(entry.level.rawValue) \(entry.scope): \(entry.event) \(fields.joined(separator: " "))"
    }
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
