import CLZ4
import CWire
import MMedProtocol

/// Frames around packed protobuf messages.
enum FrameSealing {
    /// Packs the message behind a header, compressed where that pays.
    static func seal(_ message: UnsafePointer<ProtobufCMessage>, header: FrameHeader) throws(CodecError) -> [UInt8] {
        let raw = protobuf_c_message_get_packed_size(message)
        try require(raw <= Limits.payloadBytes, "a message of \(raw) bytes is above \(Limits.payloadBytes)")
        let head = Limits.headerBytes
        var frame = [UInt8](unsafeUninitializedCapacity: head + raw) { buffer, count in
            buffer[..<head].initialize(repeating: 0)
            if let base = buffer.baseAddress { protobuf_c_message_pack(message, base + head) }
            count = head + raw
        }
        var header = header
        header.rawLength = UInt32(raw)
        if let smaller = compress(frame) {
            frame = smaller
            header.compressed = true
        }
        header.storedLength = UInt32(frame.count - head)
        header.payloadChecksum = FrameHeader.checksum(frame[head...])
        header.write(to: &frame)
        return frame
    }

    /// The frame with its payload as an LZ4 block; nil where that does not save an eighth or breaks the ratio.
    static func compress(_ frame: [UInt8]) -> [UInt8]? {
        let head = Limits.headerBytes
        let raw = frame.count - head
        guard raw >= Limits.compressFromBytes else { return nil }
        // LZ4 gives up as soon as the result would not fit, so that incompressible payloads cost little.
        let room = raw - raw / 8
        let smaller = [UInt8](unsafeUninitializedCapacity: head + room) { target, count in
            count = frame.withUnsafeBytes { source in
                target[..<head].initialize(repeating: 0)
                guard let from = source.baseAddress, let into = target.baseAddress else { return 0 }
                let written = UnsafeMutableRawPointer(into + head).withMemoryRebound(to: CChar.self, capacity: room) {
                    LZ4_compress_default(
                        (from + head).assumingMemoryBound(to: CChar.self), $0, Int32(raw), Int32(room))
                }
                return written > 0 ? head + Int(written) : 0
            }
        }
        let stored = smaller.count - head
        return stored > 0 && raw <= stored * Limits.compressionRatio ? smaller : nil
    }

    /// Steps 3 and 4 of reading: the payload's checksum, then the raw bytes; nil when they lie in the frame as they are.
    static func inflate(_ frame: [UInt8], header: FrameHeader) throws(CodecError) -> [UInt8]? {
        let head = Limits.headerBytes
        try require(
            FrameHeader.checksum(frame[head...]) == header.payloadChecksum, "the payload's checksum is wrong")
        guard header.compressed else { return nil }
        let (raw, stored) = (Int(header.rawLength), Int(header.storedLength))
        var written: Int32 = -1
        let payload = [UInt8](unsafeUninitializedCapacity: raw) { target, count in
            written = frame.withUnsafeBytes { source in
                guard let from = source.baseAddress, let into = target.baseAddress else { return -1 }
                return UnsafeMutableRawPointer(into).withMemoryRebound(to: CChar.self, capacity: raw) {
                    LZ4_decompress_safe(
                        (from + head).assumingMemoryBound(to: CChar.self), $0, Int32(stored), Int32(raw))
                }
            }
            count = Int(written) == raw ? raw : 0
        }
        try require(Int(written) == raw, "the LZ4 block does not unfold to \(raw) bytes")
        return payload
    }
}
