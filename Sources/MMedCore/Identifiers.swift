/// The name of an adapter, a worker or a run: `[a-z0-9][a-z0-9._-]{0,63}` without `..`, so that it is safe as a file name.
public struct Name: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The checked text.
    public let text: String

    /// Nil when the text is not a name by the pattern.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard (1...64).contains(bytes.count), Name.isAlphanumeric(bytes[0]) else { return nil }
        var previous: UInt8 = 0
        for byte in bytes {
            let isDot = byte == 0x2E
            guard Name.isAlphanumeric(byte) || isDot || byte == 0x5F || byte == 0x2D else { return nil }
            if isDot && previous == 0x2E { return nil }
            previous = byte
        }
        self.text = text
    }

    /// Order of the UTF-8 bytes, the same on every machine.
    public static func < (left: Name, right: Name) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }

    /// The text itself.
    public var description: String { text }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte)
    }
}

/// A SHA-256 value.
public struct Digest: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// 32 bytes.
    public let bytes: [UInt8]

    /// Nil unless there are exactly 32 bytes.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        self.bytes = bytes
    }

    /// Nil unless the text is 64 hexadecimal digits.
    public init?(hex: String) {
        let digits = Array(hex.utf8)
        guard digits.count == 64 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(32)
        for index in stride(from: 0, to: 64, by: 2) {
            guard let high = Digest.nibble(digits[index]), let low = Digest.nibble(digits[index + 1]) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        self.bytes = bytes
    }

    /// 64 lower-case hexadecimal digits.
    public var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(64)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The first twelve digits, enough to tell versions apart in a log.
    public var short: String { String(hex.prefix(12)) }

    /// Byte order.
    public static func < (left: Digest, right: Digest) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }

    /// The hexadecimal digits.
    public var description: String { hex }

    private static func nibble(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x61...0x66: digit - 0x61 + 10
        case 0x41...0x46: digit - 0x41 + 10
        default: nil
        }
    }
}

/// Milliseconds of a monotonic clock whose origin means nothing.
public struct Tick: Hashable, Comparable, Sendable {
    /// Milliseconds since the origin.
    public let milliseconds: UInt64

    /// A point in time.
    public init(milliseconds: UInt64) { self.milliseconds = milliseconds }

    /// Earlier before later.
    public static func < (left: Tick, right: Tick) -> Bool { left.milliseconds < right.milliseconds }

    /// The tick so many milliseconds later; the far end of time is not passed.
    public static func + (tick: Tick, milliseconds: UInt64) -> Tick {
        let (sum, overflow) = tick.milliseconds.addingReportingOverflow(milliseconds)
        return Tick(milliseconds: overflow ? .max : sum)
    }

    /// Milliseconds from `earlier` to this tick, 0 when it is not later.
    public func since(_ earlier: Tick) -> UInt64 {
        milliseconds > earlier.milliseconds ? milliseconds - earlier.milliseconds : 0
    }
}
