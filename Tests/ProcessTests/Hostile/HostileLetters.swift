import MMedCore
import MMedProtocol

@testable import MMedCodec

/// One message as it goes out.
struct HostileLetter {
    var kind: HostileKind
    var parts: [[UInt8]]
    /// The coordinator counts it against the connection.
    var isMalformed = false
    /// The session is over behind it.
    var endsSession = false
    /// ZeroMQ closes the connection.
    var closes = false
}

/// Puts messages of every kind into bytes.
struct HostileLetters {
    let hello: Hello
    var words: HostileWords
    private var deck: HostileDeck
    /// Frames that it sent in honesty, as they went out.
    private var recorded: [[UInt8]] = []

    init(hello: Hello, seed: UInt64) {
        self.hello = hello
        words = HostileWords(seed: seed)
        deck = HostileDeck(seed: seed &+ 1)
    }

    mutating func record(_ frame: [UInt8]) {
        if recorded.count == 64 { recorded.removeFirst() }
        recorded.append(frame)
    }

    private var role: WorkerRole { hello.role }

    /// The next message; `held` is a lease that the sender holds now. Throws when a message of its own cannot be written.
    mutating func next(_ sequence: UInt64, held: LeaseID?) throws -> HostileLetter {
        let kind = deck.next()
        switch kind {
        case .forged: return letter(kind, try MessageCodec.frame(words.forged(role), sequence: sequence))
        case .stale: return letter(kind, try MessageCodec.frame(words.stale(role), sequence: sequence))
        case .wrongLease: return letter(kind, try MessageCodec.frame(words.wrongLease(role), sequence: sequence))
        case .wrongRole:
            var sent = letter(kind, try MessageCodec.frame(words.wrongRole(role), sequence: sequence))
            sent.endsSession = true
            return sent
        case .nonFinite:
            return bad(kind, try MessageCodec.frame(words.nonFinite(role, held: held), sequence: sequence))
        case .replayed: return try replayed(sequence)
        case .traversal: return bad(kind, traversal(sequence))
        case .parts: return HostileLetter(kind: kind, parts: try parts(sequence), isMalformed: true)
        case .truncated:
            let frame = try ordinary(sequence)
            return bad(kind, Array(frame.prefix(words.random.below(frame.count))))
        case .flipped: return bad(kind, try flipped(sequence))
        case .lz4Bomb: return bad(kind, lz4Bomb(sequence))
        case .protobufBomb:
            let type: (WorkerType, UInt8) = words.random.below(2) == 0 ? (.trajectories, 0x12) : (.hello, 0x32)
            // Two bytes each on the wire, a block of memory each for who reads them.
            let pairs = Limits.decodeArenaBlocks + 1_000
            let payload = (0..<pairs).flatMap { _ in [type.1, UInt8(0)] }
            return bad(kind, RawFrame.sealed(type.0, payload, sequence: sequence))
        case .oversize:
            return HostileLetter(kind: kind, parts: [[UInt8](repeating: 0, count: Limits.frameBytes + 1)], closes: true)
        case .unknownKey: preconditionFailure("a deck has no such card")
        }
    }

    private func letter(_ kind: HostileKind, _ frame: [UInt8]) -> HostileLetter {
        HostileLetter(kind: kind, parts: [frame])
    }

    private func bad(_ kind: HostileKind, _ frame: [UInt8]) -> HostileLetter {
        HostileLetter(kind: kind, parts: [frame], isMalformed: true)
    }

    /// A message that would be in order.
    private mutating func ordinary(_ sequence: UInt64) throws -> [UInt8] {
        try MessageCodec.frame(words.work(role, words.staleLease(), isReal: true), sequence: sequence)
    }

    private mutating func replayed(_ sequence: UInt64) throws -> HostileLetter {
        guard !recorded.isEmpty else { return letter(.replayed, try ordinary(sequence)) }
        var sent = bad(.replayed, words.random.pick(recorded))
        if words.random.below(2) == 0 {
            MessageCodec.stamp(sequence, on: &sent.parts[0])
            sent.isMalformed = false
        }
        if case .goodbye? = try? MessageCodec.decodeWorkerMessage(sent.parts[0]) { sent.endsSession = true }
        return sent
    }

    private mutating func parts(_ sequence: UInt64) throws -> [[UInt8]] {
        let frame = try ordinary(sequence)
        let count = 2 + words.random.below(63)
        return [frame] + (1..<count).map { $0 % 2 == 0 ? [] : frame }
    }

    private mutating func flipped(_ sequence: UInt64) throws -> [UInt8] {
        var frame = try ordinary(sequence)
        // Not the major version: another one is no damage, and is answered.
        var bit = words.random.below(frame.count * 8)
        if bit / 8 == 4 { bit += 8 * 4 }
        frame[bit / 8] ^= 1 << UInt8(bit % 8)
        return frame
    }

    private mutating func lz4Bomb(_ sequence: UInt64) -> [UInt8] {
        let count = Limits.payloadBytes - words.random.below(1_000)
        let block = RawFrame.block(repeating: 0x12, count: count)
        // The truth is beyond the ratio; what is within it is not the truth.
        let claimed =
            switch words.random.below(3) {
            case 0: count
            case 1: block.count * Limits.compressionRatio
            default: Int(UInt32.max)
            }
        return RawFrame.sealed(.trajectories, block, sequence: sequence, rawBytes: claimed)
    }

    private static let badNames: [[UInt8]] =
        [
            "../../etc/passwd", "..", "a..b", "/etc/passwd", "a/b", "a\\b", "a\0b", "\0", "", "A", "ärzte", "\u{FF41}",
            "名", "\u{202E}a", "a b",
            "a\n", "-a", ".a", String(repeating: "a", count: 65),
        ].map { Array($0.utf8) } + [[0xFF, 0xFE], [0xC0, 0xAE, 0xC0, 0xAE], [0x61, 0xED, 0xA0, 0x80]]

    /// A hello, an announcement or a canary whose name leads elsewhere.
    private mutating func traversal(_ sequence: UInt64) -> [UInt8] {
        let name = words.random.pick(HostileLetters.badNames)
        let digest = words.digest().bytes
        var payload = ProtobufBytes()
        var reference = ProtobufBytes()
        reference.content(1, name)
        reference.number(2, 1)
        reference.content(3, digest)
        switch words.random.below(role == .learner ? 4 : 3) {
        case 0, 1:
            let isOwn = words.random.below(2) == 0
            payload.number(1, role == .rollout ? 1 : 2)
            payload.content(2, isOwn ? name : Array(hello.name.text.utf8))
            payload.fixed(3, hello.instance)
            payload.content(4, hello.modelDigest.bytes)
            payload.number(5, 1)
            if !isOwn { payload.content(6, name) }
            payload.content(7, Array(hello.host.utf8))
            return RawFrame.sealed(.hello, payload.bytes, sequence: sequence)
        case 2:
            payload.content(1, reference.bytes)
            payload.fixed(2, (-5.0).bitPattern)
            return RawFrame.sealed(.canary, payload.bytes, sequence: sequence)
        default:
            payload.content(1, reference.bytes)
            return RawFrame.sealed(.updateApplied, payload.bytes, sequence: sequence)
        }
    }
}
