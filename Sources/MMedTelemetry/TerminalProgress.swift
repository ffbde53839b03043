import Foundation

/// Where a run is now, for the status line.
public struct ProgressStatus: Equatable, Sendable {
    /// `dsa/adult-medicine`.
    public var stage: String
    /// Steps done in the stage, and steps in all.
    public var step: Int, steps: Int
    /// Mean reward of the last step, where there is one.
    public var reward: Double?
    /// Loss of the last step, where there is one.
    public var loss: Double?
    /// Tokens computed in a second.
    public var tokensPerSecond: Double?
    /// Seconds until the run's end by present speed.
    public var secondsLeft: Double?

    /// A place in the run.
    public init(
        stage: String, step: Int, steps: Int, reward: Double? = nil, loss: Double? = nil,
        tokensPerSecond: Double? = nil, secondsLeft: Double? = nil
    ) {
        self.stage = stage
        self.step = step
        self.steps = steps
        self.reward = reward
        self.loss = loss
        self.tokensPerSecond = tokensPerSecond
        self.secondsLeft = secondsLeft
    }
}

/// One line on a terminal's standard error that is rewritten in place. Where standard error is no terminal it writes nothing.
public struct TerminalProgress: Sendable {
    private let descriptor: Int32
    private let isTerminal: Bool

    /// Standard error, if it is a terminal.
    public init() { self.init(descriptor: 2, isTerminal: isatty(2) == 1) }

    init(descriptor: Int32, isTerminal: Bool) {
        self.descriptor = descriptor
        self.isTerminal = isTerminal
    }

    /// Rewrites the line.
    public func show(_ status: ProgressStatus) {
        guard isTerminal else { return }
        put("\r" + TerminalProgress.line(status, width: width - 1) + "\u{1B}[K")
    }

    /// Removes the line, so that other text can be printed.
    public func clear() {
        guard isTerminal else { return }
        put("\r\u{1B}[K")
    }

    /// The text of the line in at most `width` columns.
    static func line(_ status: ProgressStatus, width: Int) -> String {
        var parts = ["\(status.stage) \(status.step)/\(status.steps)"]
        if let reward = status.reward { parts.append("reward \(fixed(reward, 3))") }
        if let loss = status.loss { parts.append("loss \(fixed(loss, 3))") }
        if let speed = status.tokensPerSecond { parts.append("\(fixed(speed, 0)) tok/s") }
        if let left = status.secondsLeft { parts.append("ETA \(clockTime(left))") }
        let text = String(parts.joined(separator: "  ").map { $0.isNewline || $0 == "\u{1B}" ? " " : $0 })
        guard text.count > width else { return text }
        return width > 1 ? text.prefix(width - 1) + "…" : String(text.prefix(max(0, width)))
    }

    /// `1:02:03` or `4:05`; `--` for what is no time.
    static func clockTime(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e8 else { return "--" }
        let whole = Int(seconds.rounded())
        let twoDigits: (Int) -> String = { $0 < 10 ? "0\($0)" : "\($0)" }
        let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
        return hours > 0
            ? "\(hours):\(twoDigits(minutes)):\(twoDigits(rest))" : "\(minutes):\(twoDigits(rest))"
    }

    private var width: Int {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    private func put(_ text: String) {
        let bytes = Array(text.utf8)
        _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }
}

/// A number with so many digits after the point.
func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite else { return "-" }
    return String(format: "%.\(digits)f", value)
}
