public import Logging

/// Lets parts that speak swift-log write into the run's progress log; the label is the stage, the message the event.
public struct ProgressLogHandler: LogHandler {
    /// Pairs of every line.
    public var metadata: Logger.Metadata = [:]
    /// Quieter lines are left out.
    public var logLevel: Logger.Level = .info
    private let label: String
    private let progress: ProgressLog

    /// A handler for one label.
    public init(label: String, progress: ProgressLog) {
        self.label = label
        self.progress = progress
    }

    /// One pair of every line.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Appends a line; metadata follows in the order of its keys.
    public func log(event: LogEvent) {
        let merged = metadata.merging(event.metadata ?? [:]) { _, new in new }
        let values = merged.sorted { $0.key < $1.key }.map { (key: $0.key, value: LogValue.text("\($0.value)")) }
        progress.write(level(event.level), stage: label, event: event.message.description, values: values)
    }

    private func level(_ level: Logger.Level) -> LogLevel {
        switch level {
        case .trace, .debug: .debug
        case .info, .notice: .info
        case .warning: .warning
        case .error, .critical: .error
        }
    }
}
