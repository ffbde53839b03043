public import MMedCore

/// Z85 (ZeroMQ RFC 32): 4 bytes as 5 printable characters, without quotes, backslash or space.
public enum Z85 {
    private static let alphabet = Array(
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#".utf8)

    /// The text of bytes whose count is a multiple of 4; nil for any other count.
    public static func encode(_ bytes: [UInt8]) -> String? {
        guard bytes.count % 4 == 0 else { return nil }
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count / 4 * 5)
        for start in stride(from: 0, to: bytes.count, by: 4) {
            var value = bytes[start..<start + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            var group = [UInt8](repeating: 0, count: 5)
            for place in group.indices.reversed() {
                group[place] = alphabet[Int(value % 85)]
                value /= 85
            }
            text += group
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The bytes of a text; nil when it is no Z85, also when five characters stand for more than 32 bits.
    public static func decode(_ text: String) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count % 5 == 0 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(characters.count / 5 * 4)
        for start in stride(from: 0, to: characters.count, by: 5) {
            var value: UInt64 = 0
            for character in characters[start..<start + 5] {
                guard let digit = alphabet.firstIndex(of: character) else { return nil }
                value = value * 85 + UInt64(digit)
            }
            guard let whole = UInt32(exactly: value) else { return nil }
            for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: whole >> UInt32(shift))) }
        }
        return bytes
    }
}

/// The public half of a CURVE key pair.
public struct PublicKey: Hashable, Sendable, CustomStringConvertible {
    /// 40 characters of Z85, which stand for 32 bytes. ZeroMQ's `User-Id` of a message is this text.
    public let text: String

    /// Nil unless the text is 40 characters of Z85.
    public init?(_ text: String) {
        guard text.utf8.count == 40, Z85.decode(text) != nil else { return nil }
        self.text = text
    }

    /// The 32 bytes.
    public var bytes: [UInt8] { Z85.decode(text) ?? [] }

    /// The text itself: a public key is no secret.
    public var description: String { text }
}

/// Who a peer is, proved by its key. Nothing that a peer says of itself can widen it.
public struct Identity: Hashable, Sendable, CustomStringConvertible {
    /// The peer's public key.
    public let key: PublicKey
    /// What a worker with this key does; it may do nothing else.
    public let role: WorkerRole
    /// The key's name. A worker with this key is called so, or so with a dot and more behind it.
    public let name: Name

    /// A key with what it stands for.
    public init(key: PublicKey, role: WorkerRole, name: Name) {
        self.key = key
        self.role = role
        self.name = name
    }

    /// True when a worker with this key may have the name: the key's own, or `<key's name>.<anything>`.
    public func permits(_ name: Name) -> Bool { name == self.name || name.text.hasPrefix(self.name.text + ".") }

    /// `learner gpu-7`.
    public var description: String { "\(role.rawValue) \(name)" }
}
