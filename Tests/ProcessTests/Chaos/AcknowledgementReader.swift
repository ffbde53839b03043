import MMedCodec
import MMedProtocol

/// Reads a coordinator's side of a ZMTP 3 connection (RFC 23) and finds the paths that it acknowledges.
struct AcknowledgementReader {
    private var waiting: [UInt8] = []
    private var hasGreeting = false
    private static let greetingBytes = 64
    /// Where a frame of docs/PROTOCOL.md has its type, and the type of `trajectoriesRecorded`.
    private static let typeOffset = 6, recorded: UInt8 = 70

    /// Takes bytes as they pass; returns the slots that they acknowledge.
    mutating func take(_ bytes: [UInt8]) -> [SlotID] {
        waiting += bytes
        var slots: [SlotID] = []
        var start = 0
        if !hasGreeting {
            guard waiting.count >= AcknowledgementReader.greetingBytes else { return [] }
            hasGreeting = true
            start = AcknowledgementReader.greetingBytes
        }
        while let frame = nextFrame(from: start) {
            start = frame.body.upperBound
            let body = waiting[frame.body]
            guard !frame.isCommand, body.count > AcknowledgementReader.typeOffset,
                body[body.startIndex + AcknowledgementReader.typeOffset] == AcknowledgementReader.recorded,
                case .trajectoriesRecorded(_, let named)? = try? MessageCodec.decodeCoordinatorMessage(Array(body))
            else { continue }
            slots += named
        }
        waiting.removeFirst(start)
        return slots
    }

    private func nextFrame(from start: Int) -> (isCommand: Bool, body: Range<Int>)? {
        guard start + 2 <= waiting.count else { return nil }
        let flags = waiting[start]
        let isLong = flags & 2 != 0
        let head = start + (isLong ? 9 : 2)
        guard head <= waiting.count else { return nil }
        let size = waiting[(start + 1)..<head].reduce(0) { $0 << 8 | Int($1) }
        guard head + size <= waiting.count else { return nil }
        return (flags & 4 != 0, head..<(head + size))
    }
}
