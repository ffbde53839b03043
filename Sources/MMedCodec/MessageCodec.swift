public import MMedProtocol
import CWire

/// Messages as frames and frames as messages (docs/PROTOCOL.md). No bytes make it trap, and both directions check every field.
public enum MessageCodec {
    /// The frame of a worker's message; a `hello` puts its version into the header.
    /// - Throws: `unsendable` when the message breaks a rule or does not fit a frame.
    public static func encode(_ message: WorkerMessage, sequence: UInt64 = 0) throws(CodecError) -> [UInt8] {
        try sending { () throws(CodecError) in
            try Check.message(message)
            return try frame(message, sequence: sequence)
        }
    }

    /// The frame of a coordinator's message.
    /// - Throws: `unsendable` when the message breaks a rule or does not fit a frame.
    public static func encode(_ message: CoordinatorMessage, sequence: UInt64 = 0) throws(CodecError) -> [UInt8] {
        try sending { () throws(CodecError) in
            try Check.message(message)
            return try frame(message, sequence: sequence)
        }
    }

    /// A worker's message from a frame.
    /// - Throws: `otherVersion` or `malformed`.
    public static func decodeWorkerMessage(_ frame: [UInt8]) throws(CodecError) -> WorkerMessage {
        let header = try FrameHeader.read(frame)
        guard let type = WorkerType(rawValue: header.type) else {
            throw .malformed(reason: "\(header.type) is no type of a worker's message")
        }
        let message = try withPayload(of: frame, header) { (reader, payload) throws(CodecError) in
            try reader.read(type, header, payload)
        }
        try Check.message(message)
        return message
    }

    /// A coordinator's message from a frame.
    /// - Throws: `otherVersion` or `malformed`.
    public static func decodeCoordinatorMessage(_ frame: [UInt8]) throws(CodecError) -> CoordinatorMessage {
        let header = try FrameHeader.read(frame)
        guard let type = CoordinatorType(rawValue: header.type) else {
            throw .malformed(reason: "\(header.type) is no type of a coordinator's message")
        }
        let message = try withPayload(of: frame, header) { (reader, payload) throws(CodecError) in
            try reader.read(type, payload)
        }
        try Check.message(message)
        return message
    }

    /// The sequence number of a frame.
    /// - Throws: `otherVersion` or `malformed` when the header is not one.
    public static func sequence(of frame: [UInt8]) throws(CodecError) -> UInt64 {
        try FrameHeader.read(frame).sequence
    }

    /// Puts the sequence number into a frame made by `encode`.
    public static func stamp(_ sequence: UInt64, on frame: inout [UInt8]) {
        guard frame.count >= Limits.headerBytes else { return }
        FrameHeader.stamp(sequence, on: &frame)
    }

    /// The frame of a message that was not checked.
    static func frame(_ message: WorkerMessage, sequence: UInt64) throws(CodecError) -> [UInt8] {
        let writer = try WireWriter()
        defer { withExtendedLifetime(writer) {} }
        let (type, written) = try writer.write(message)
        var header = FrameHeader(
            type: type.rawValue, rawLength: 0, storedLength: 0, sequence: sequence, payloadChecksum: 0)
        if case .hello(let hello) = message { (header.major, header.minor) = (hello.major, hello.minor) }
        return try FrameSealing.seal(written, header: header)
    }

    /// The frame of a message that was not checked.
    static func frame(_ message: CoordinatorMessage, sequence: UInt64) throws(CodecError) -> [UInt8] {
        let writer = try WireWriter()
        defer { withExtendedLifetime(writer) {} }
        let (type, written) = try writer.write(message)
        let header = FrameHeader(
            type: type.rawValue, rawLength: 0, storedLength: 0, sequence: sequence, payloadChecksum: 0)
        return try FrameSealing.seal(written, header: header)
    }

    private static func sending(_ body: () throws(CodecError) -> [UInt8]) throws(CodecError) -> [UInt8] {
        do {
            return try body()
        } catch {
            throw .unsendable(reason: error.description)
        }
    }

    private static func withPayload<Message>(
        of frame: [UInt8], _ header: FrameHeader,
        _ body: (WireReader, UnsafeBufferPointer<UInt8>) throws(CodecError) -> Message
    ) throws(CodecError) -> Message {
        let inflated = try FrameSealing.inflate(frame, header: header)
        let reader = try WireReader(rawBytes: Int(header.rawLength))
        let start = inflated == nil ? Limits.headerBytes : 0
        return try (inflated ?? frame).withUnsafeBufferPointer { (bytes) throws(CodecError) -> Message in
            let message = try body(reader, UnsafeBufferPointer(rebasing: bytes[start...]))
            return withExtendedLifetime(reader) { message }
        }
    }
}
