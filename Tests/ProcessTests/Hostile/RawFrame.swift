import MMedProtocol

@testable import MMedCodec

/// Protobuf by hand (docs: protobuf.dev/programming-guides/encoding), for messages that no encoder of the house writes.
struct ProtobufBytes {
    private(set) var bytes: [UInt8] = []

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest > 127 {
            bytes.append(UInt8(rest & 127) | 128)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    mutating func number(_ field: UInt64, _ value: UInt64) {
        varint(field << 3)
        varint(value)
    }

    mutating func fixed(_ field: UInt64, _ value: UInt64) {
        varint(field << 3 | 1)
        for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    mutating func content(_ field: UInt64, _ value: [UInt8]) {
        varint(field << 3 | 2)
        varint(UInt64(value.count))
        bytes += value
    }
}

/// Frames with right checksums around any payload.
enum RawFrame {
    static func sealed(
        _ type: WorkerType, _ payload: [UInt8], sequence: UInt64, rawBytes: Int? = nil, major: UInt8 = WireVersion.major
    ) -> [UInt8] {
        var frame = [UInt8](repeating: 0, count: Limits.headerBytes) + payload
        let header = FrameHeader(
            major: major, type: type.rawValue, compressed: rawBytes != nil,
            rawLength: UInt32(rawBytes ?? payload.count), storedLength: UInt32(payload.count), sequence: sequence,
            payloadChecksum: FrameHeader.checksum(frame[Limits.headerBytes...]))
        header.write(to: &frame)
        return frame
    }

    /// An LZ4 block that repeats one byte `count` times: a literal, a match of offset 1 that long, five last literals.
    static func block(repeating byte: UInt8, count: Int) -> [UInt8] {
        let (literals, minimum, last) = (1, 4, 5)
        var rest = max(0, count - literals - last - minimum - 15)
        var block: [UInt8] = [0x1F, byte, 1, 0]
        while rest >= 255 {
            block.append(255)
            rest -= 255
        }
        block.append(UInt8(rest))
        return block + [0x50] + [UInt8](repeating: byte, count: last)
    }
}
