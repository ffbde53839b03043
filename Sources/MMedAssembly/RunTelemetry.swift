import Foundation
import MMedCoordinator
import MMedCore
import MMedLocks
import MMedScheduling
import MMedTelemetry

/// progress.log, metrics.jsonl and the terminal's line, behind the coordinator's port.
final class RunTelemetry: TelemetryPort {
    private let progress: ProgressLog
    private let metrics: MetricsLog
    private let terminal = TerminalProgress()
    private let isTerminal = isatty(2) == 1

    private let estimate: Locked<ProgressEstimate>

    /// Opens the files. `secondsPlanned` are the predicted seconds of each stage, in their order; `stagesDone` of them were
    /// finished by an earlier process.
    init(folder: String, secondsPlanned: [(stage: String, seconds: Double)], stagesDone: Int) throws {
        progress = try ProgressLog(path: folder + "/progress.log")
        metrics = try MetricsLog(path: folder + "/metrics.jsonl")
        estimate = Locked(
            ProgressEstimate(
                planned: secondsPlanned, stagesDone: stagesDone, now: ProcessInfo.processInfo.systemUptime))
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
        let now = ProcessInfo.processInfo.systemUptime
        let status = estimate.withLock { $0.take(entry, now: now) }
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
