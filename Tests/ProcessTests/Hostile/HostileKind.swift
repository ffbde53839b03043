import MMedLocks

/// What an adversary's message is.
enum HostileKind: String, CaseIterable, Sendable {
    /// Sessions, leases, slots and digests that nobody ever handed out.
    case forged
    /// Its own earlier messages: byte for byte, and with a new sequence number.
    case replayed
    /// Work of a lease that it gave back, of an older policy version, under a fence of an older epoch.
    case stale
    /// Real slots and shards under leases that others hold now.
    case wrongLease = "wrong-lease"
    /// What only the other role may say.
    case wrongRole = "wrong-role"
    /// Log-probs, rewards and figures that are not finite.
    case nonFinite = "non-finite"
    /// Names with `../`, zero bytes and letters beyond ASCII.
    case traversal
    /// Messages of several parts.
    case parts
    case truncated
    case flipped
    case lz4Bomb = "lz4-bomb"
    case protobufBomb = "protobuf-bomb"
    case oversize
    /// A connection under a key that is on no list, or under none.
    case unknownKey = "unknown-key"

    /// Cards in a deck of messages; a connection that is refused at the door carries none.
    fileprivate var cards: Int {
        switch self {
        case .oversize: 1
        case .protobufBomb: 6
        case .unknownKey: 0
        default: 60
        }
    }
}

/// Kinds in an order of the seed's: each comes as often as it has cards, then they are shuffled anew.
struct HostileDeck {
    private var random: ChaosRandom
    private var cards: [HostileKind] = []
    static let size = HostileKind.allCases.reduce(0) { $0 + $1.cards }

    init(seed: UInt64) { random = ChaosRandom(seed) }

    mutating func next() -> HostileKind {
        if let card = cards.popLast() { return card }
        cards = random.shuffled(HostileKind.allCases.flatMap { Array(repeating: $0, count: $0.cards) })
        return cards.removeLast()
    }
}

/// What adversaries have sent, from all their threads.
final class HostileTally: Sendable {
    struct Counts: Sendable {
        /// Messages that the coordinator has read to the end: it answered one behind them on the same connection.
        var read: [HostileKind: Int] = [:]
        /// Messages of connections that it closed meanwhile, as it should after so many.
        var cut: [HostileKind: Int] = [:]
        var connections = 0
        var leasesGivenBack = 0

        /// Without connections that were refused at the door.
        var readTotal: Int { read.reduce(0) { $0 + ($1.key == .unknownKey ? 0 : $1.value) } }
        var cutTotal: Int { cut.values.reduce(0, +) }
    }

    private let counts = Locked(Counts())
    private let isOver = Locked(false)

    var now: Counts { counts.withLock { $0 } }
    /// The adversaries are to stop.
    var isEnded: Bool { isOver.withLock { $0 } }
    func end() { isOver.withLock { $0 = true } }

    func add(_ sent: [HostileKind: Int], wereRead: Bool) {
        counts.withLock { counts in
            counts.connections += 1
            for (kind, count) in sent {
                if wereRead { counts.read[kind, default: 0] += count } else { counts.cut[kind, default: 0] += count }
            }
        }
    }

    func gaveBack() { counts.withLock { $0.leasesGivenBack += 1 } }
}

extension HostileTally.Counts {
    mutating func add(_ other: HostileTally.Counts) {
        read.merge(other.read, uniquingKeysWith: +)
        cut.merge(other.cut, uniquingKeysWith: +)
        connections += other.connections
        leasesGivenBack += other.leasesGivenBack
    }

    /// `forged 1200+3, replayed …`: read to the end, and on connections that were closed meanwhile.
    var text: String {
        HostileKind.allCases.compactMap { kind in
            let (read, cut) = (read[kind] ?? 0, cut[kind] ?? 0)
            return read + cut == 0 ? nil : "\(kind.rawValue) \(read)+\(cut)"
        }.joined(separator: ", ")
    }
}
