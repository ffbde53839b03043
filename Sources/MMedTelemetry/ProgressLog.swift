public import Foundation
public import MMedCore

/// How much a line matters.
public enum LogLevel: String, CaseIterable, Sendable {
    /// For finding faults.
    case debug = "DEBUG"
    /// What happens.
    case info = "INFO"
    /// What a user should look at.
    case warning = "WARN"
    /// What went wrong.
    case error = "ERROR"
}

/// `progress.log`: the story of a run, one line an event, made for `tail -f` and `grep`:
///
///     2026-01-02T03:04:05.678Z INFO  dsa/adult-medicine 12 event=update loss=0.512 tokens=1024
///
/// that is time (UTC), level, stage, step (`-` outside of steps), and `key=value` pairs, the event first.
public final class ProgressLog: Sendable {
    private let file: AppendFile
    private let now: @Sendable () -> Date

    /// Opens the file for appending.
    ///
    /// - Throws: `tryAgain` when it cannot be opened. Nothing else of this type throws.
    public init(path: String, now: @escaping @Sendable () -> Date = { Date() }) throws(MMedError) {
        file = try AppendFile(path: path)
        self.now = now
    }

    /// Appends one line. When earlier lines were lost, a line that counts them comes first.
    public func write(
        _ level: LogLevel, stage: String, step: Int? = nil, event: String,
        _ values: KeyValuePairs<String, LogValue> = [:]
    ) {
        write(level, stage: stage, step: step, event: event, values: Array(values))
    }

    /// The same for pairs that are put together at run time.
    public func write(
        _ level: LogLevel, stage: String, step: Int? = nil, event: String, values: [(key: String, value: LogValue)]
    ) {
        let date = now()
        let lost = file.takeLostCount()
        if lost > 0 {
            let gap = ProgressLog.line(
                date, .warning, stage: "log", step: nil, event: "lines-lost", values: [("count", .integer(lost))])
            if !file.append(gap) { file.putBackLostCount(lost - 1) }
        }
        file.append(ProgressLog.line(date, level, stage: stage, step: step, event: event, values: values))
    }

    /// The text of a line.
    static func line(
        _ date: Date, _ level: LogLevel, stage: String, step: Int?, event: String,
        values: [(key: String, value: LogValue)]
    ) -> String {
        let levelText = level.rawValue + String(repeating: " ", count: 5 - level.rawValue.count)
        let head = [timestamp(date), levelText, word(stage), step.map(String.init) ?? "-"]
        let pairs = [("event", LogValue.text(event))] + values.map { ($0.key, $0.value) }
        return (head + pairs.map { "\(word($0.0))=\($0.1.lineText)" }).joined(separator: " ")
    }

    /// Keeps a column one column: what would split it becomes an underscore.
    private static func word(_ text: String) -> String {
        let kept = String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    scalar.value <= 0x20 || scalar == "=" || scalar == "\"" || scalar.properties.isWhitespace
                        ? "_" : scalar
                }))
        return kept.isEmpty ? "-" : kept
    }
}
