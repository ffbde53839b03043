import MMedCore
import MMedScheduling

/// How often something was refused, by reason. The log tells of a few; here each counts.
struct RefusalTally {
    /// Lines of the log that tell of a refusal.
    private static let events: Set<String> = [
        "malformed-message", "other-version", "worker-refused", "wrong-role", "late-paths", "paths-refused",
        "path-contradicts", "path-unreadable", "late-gradient", "replica-differs", "canary-differs", "blob-missing",
    ]
    /// Refusals without a line: a stranger's message, a lease that its sender does not hold, a gradient that nobody waits
    /// for or that cannot be used.
    enum Quiet: String {
        case stranger = "unintroduced", voidLease = "void-lease", unawaitedGradient = "unawaited-gradient"
        case rejectedResult = "rejected-result"
    }

    private static let metricMilliseconds: UInt64 = 10_000

    private var counts: [String: Int] = [:]
    private var hasChanged = false
    private var lastMetric = Tick(milliseconds: 0)

    mutating func count(_ reason: Quiet) { add(reason.rawValue) }
    mutating func count(_ entry: LogEntry) { if RefusalTally.events.contains(entry.event) { add(entry.event) } }

    private mutating func add(_ reason: String) {
        counts[reason, default: 0] += 1
        hasChanged = true
    }

    /// All counts since this coordinator began; nil when nothing was refused.
    var entry: LogEntry? {
        guard !counts.isEmpty else { return nil }
        return LogEntry(
            .info, scope: "run", event: "refusals",
            fields: counts.sorted { $0.key < $1.key }.map { .init($0.key, .int($0.value)) })
    }

    /// The same for the metrics, now and then, while it grows.
    mutating func due(at now: Tick) -> LogEntry? {
        guard hasChanged, now.since(lastMetric) >= RefusalTally.metricMilliseconds else { return nil }
        hasChanged = false
        lastMetric = now
        return entry
    }
}
