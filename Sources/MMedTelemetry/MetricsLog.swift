public import Foundation
public import MMedCore

/// `metrics.jsonl`: one JSON object a line with sorted keys and the time, for plots and comparisons.
public final class MetricsLog: Sendable {
    private let file: AppendFile
    private let now: @Sendable () -> Date

    /// Opens the file for appending.
    ///
    /// - Throws: `tryAgain` when it cannot be opened. Nothing else of this type throws.
    public init(path: String, now: @escaping @Sendable () -> Date = { Date() }) throws(MMedError) {
        file = try AppendFile(path: path)
        self.now = now
    }

    /// Appends one object. A number that is not finite is left out and its key listed under `nonfinite`: JSON has no word for it.
    public func record(_ values: KeyValuePairs<String, LogValue>) { record(values: Array(values)) }

    /// The same for pairs that are put together at run time; of equal keys the last counts.
    public func record(values: [(key: String, value: LogValue)]) {
        file.append(MetricsLog.object(now(), values: values))
    }

    /// The text of a line.
    static func object(_ date: Date, values: [(key: String, value: LogValue)]) -> String {
        var texts: [String: String] = ["time": LogValue.quoted(timestamp(date))]
        var notFinite: [String] = []
        for (key, value) in values {
            switch value {
            case .text(let text): texts[key] = LogValue.quoted(text)
            case .integer(let number): texts[key] = String(number)
            case .flag(let flag): texts[key] = flag ? "true" : "false"
            case .number(let number):
                if number.isFinite { texts[key] = "\(number)" } else { notFinite.append(key) }
            }
        }
        if !notFinite.isEmpty {
            texts["nonfinite"] = "[" + notFinite.sorted().map(LogValue.quoted).joined(separator: ",") + "]"
        }
        let pairs = texts.sorted { $0.key < $1.key }.map { "\(LogValue.quoted($0.key)):\($0.value)" }
        return "{" + pairs.joined(separator: ",") + "}"
    }
}
