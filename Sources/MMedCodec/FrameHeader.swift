import CWire
import MMedProtocol

/// The first 32 bytes of every frame (docs/PROTOCOL.md, grammar).
struct FrameHeader: Equatable {
    static let magic: [UInt8] = [0x4D, 0x4D, 0x45, 0x44]
    static let compressedFlag: UInt8 = 1

    var major = WireVersion.major
    var minor = WireVersion.minor
    var type: UInt8
    var compressed = false
    var rawLength: UInt32
    var storedLength: UInt32
    var sequence: UInt64
    var payloadChecksum: UInt32

    private enum Offset {
        static let major = 4, minor = 5, type = 6, flags = 7
        static let rawLength = 8, storedLength = 12, sequence = 16, payloadChecksum = 24, headerChecksum = 28
    }

    /// Writes the header over the frame's first 32 bytes.
    func write(to frame: inout [UInt8]) {
        frame.replaceSubrange(0..<4, with: FrameHeader.magic)
        frame[Offset.major] = major
        frame[Offset.minor] = minor
        frame[Offset.type] = type
        frame[Offset.flags] = compressed ? FrameHeader.compressedFlag : 0
        FrameHeader.store(rawLength, at: Offset.rawLength, in: &frame)
        FrameHeader.store(storedLength, at: Offset.storedLength, in: &frame)
        FrameHeader.store(sequence, at: Offset.sequence, in: &frame)
        FrameHeader.store(payloadChecksum, at: Offset.payloadChecksum, in: &frame)
        FrameHeader.seal(&frame)
    }

    /// Puts a sequence number into a frame that has a header.
    static func stamp(_ sequence: UInt64, on frame: inout [UInt8]) {
        store(sequence, at: Offset.sequence, in: &frame)
        seal(&frame)
    }

    private static func seal(_ frame: inout [UInt8]) {
        store(checksum(frame[..<Offset.headerChecksum]), at: Offset.headerChecksum, in: &frame)
    }

    /// Steps 1 and 2 of reading, without allocation on the good path; the payload itself is not looked at.
    static func read(_ frame: [UInt8]) throws(CodecError) -> FrameHeader {
        try require(frame.count >= Limits.headerBytes, "\(frame.count) bytes are less than a header")
        try require(frame.starts(with: magic), "the frame does not begin with MMED")
        let (major, minor) = (frame[Offset.major], frame[Offset.minor])
        guard major == WireVersion.major else { throw .otherVersion(major: major, minor: minor) }
        let sum = load(UInt32.self, at: Offset.headerChecksum, in: frame)
        try require(sum == checksum(frame[..<Offset.headerChecksum]), "the header's checksum is wrong")
        let flags = frame[Offset.flags]
        try require(flags & ~compressedFlag == 0, "unknown flags \(flags)")
        let header = FrameHeader(
            major: major, minor: minor, type: frame[Offset.type], compressed: flags & compressedFlag != 0,
            rawLength: load(UInt32.self, at: Offset.rawLength, in: frame),
            storedLength: load(UInt32.self, at: Offset.storedLength, in: frame),
            sequence: load(UInt64.self, at: Offset.sequence, in: frame),
            payloadChecksum: load(UInt32.self, at: Offset.payloadChecksum, in: frame))
        try header.checkLengths(frameBytes: frame.count)
        return header
    }

    private func checkLengths(frameBytes: Int) throws(CodecError) {
        let (raw, stored) = (Int(rawLength), Int(storedLength))
        try require(stored == frameBytes - Limits.headerBytes, "\(stored) bytes declared, \(frameBytes - 32) there")
        try require(stored <= Limits.payloadBytes, "a payload of \(stored) bytes is above \(Limits.payloadBytes)")
        try require(raw <= Limits.payloadBytes, "a payload of \(raw) bytes is above \(Limits.payloadBytes)")
        if compressed {
            try require(stored < raw, "compressed to \(stored) bytes from \(raw)")
            try require(raw <= stored * Limits.compressionRatio, "\(raw) bytes from \(stored) is above the ratio")
        } else {
            try require(stored == raw, "\(stored) bytes stored, \(raw) raw, not compressed")
        }
    }

    /// CRC-32C.
    static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.withUnsafeBufferPointer { mmed_crc32c($0.baseAddress, $0.count) }
    }

    /// The same by the way of machines without the instruction.
    static func portableChecksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.withUnsafeBufferPointer { mmed_crc32c_portable($0.baseAddress, $0.count) }
    }

    private static func store<Word: FixedWidthInteger>(_ word: Word, at offset: Int, in frame: inout [UInt8]) {
        var rest = word
        for index in 0..<MemoryLayout<Word>.size {
            frame[offset + index] = UInt8(truncatingIfNeeded: rest)
            rest >>= 8
        }
    }

    private static func load<Word: FixedWidthInteger>(_: Word.Type, at offset: Int, in frame: [UInt8]) -> Word {
        var word: Word = 0
        for index in (0..<MemoryLayout<Word>.size).reversed() {
            word = word << 8 | Word(truncatingIfNeeded: frame[offset + index])
        }
        return word
    }
}
