import MMedCore
import MMedScheduling

/// Lines about what a peer did, as many as a reader can use: a peer that misbehaves a million times must fill neither the log
/// nor the coordinator's time. Each peer and kind has an allowance of its own, and all peers of a kind share a larger one; what
/// is left out is counted, and the count is told.
struct LogThrottle {
    /// Lines that come at once, and how many more a second.
    private struct Allowance {
        let burst: UInt64, perSecond: UInt64
    }

    /// Thousandths of lines that are left.
    private struct Bucket {
        var left: UInt64
        var since: Tick

        mutating func take(_ allowance: Allowance, at now: Tick) -> Bool {
            left = min(allowance.burst * 1_000, left + now.since(since) * allowance.perSecond)
            since = now
            guard left >= 1_000 else { return false }
            left -= 1_000
            return true
        }
    }

    private static let perPeer = Allowance(burst: 20, perSecond: 1)
    private static let perKind = Allowance(burst: 200, perSecond: 5)
    /// Peers and kinds with an allowance of their own; names come from peers.
    private static let bucketsKept = 1_024
    private static let summaryMilliseconds: UInt64 = 10_000

    private struct Key: Hashable {
        let worker: String, event: String
    }

    private var peers: [Key: Bucket] = [:]
    private var kinds: [String: Bucket] = [:]
    /// Lines left out since a line last told of them.
    private var leftOut: [String: Int] = [:]
    private var lastSummary = Tick(milliseconds: 0)

    /// The line as it is to be written; nil when it is only counted. Lines about no worker are always written.
    mutating func admit(_ entry: LogEntry, at now: Tick) -> LogEntry? {
        guard case .text(let worker)? = entry.fields.first(where: { $0.key == "worker" })?.value else { return entry }
        let key = Key(worker: worker, event: entry.event)
        makeRoom(at: now)
        let isNew = peers[key] == nil
        var peer = peers[key] ?? Bucket(left: LogThrottle.perPeer.burst * 1_000, since: now)
        var kind = kinds[entry.event] ?? Bucket(left: LogThrottle.perKind.burst * 1_000, since: now)
        let isAdmitted = peer.take(LogThrottle.perPeer, at: now) && kind.take(LogThrottle.perKind, at: now)
        if !isNew || peers.count < LogThrottle.bucketsKept { peers[key] = peer }
        kinds[entry.event] = kind
        guard isAdmitted else {
            leftOut[entry.event, default: 0] += 1
            return nil
        }
        return entry
    }

    /// Lines that say how many were left out, now and then; at the end all of them.
    mutating func summary(at now: Tick, isLast: Bool = false) -> [LogEntry] {
        guard !leftOut.isEmpty, isLast || now.since(lastSummary) >= LogThrottle.summaryMilliseconds else { return [] }
        lastSummary = now
        defer { leftOut = [:] }
        return leftOut.sorted { $0.key < $1.key }.map { event, count in
            LogEntry(
                .warn, scope: "run", event: "lines-left-out",
                fields: [.init("of", .text(event)), .init("count", .int(count))])
        }
    }

    /// Forgets peers that would have their whole allowance again.
    private mutating func makeRoom(at now: Tick) {
        guard peers.count >= LogThrottle.bucketsKept, now.since(lastRoom) >= 1_000 else { return }
        lastRoom = now
        let whole = LogThrottle.perPeer.burst * 1_000
        peers = peers.filter { $0.value.left + now.since($0.value.since) * LogThrottle.perPeer.perSecond < whole }
    }

    private var lastRoom = Tick(milliseconds: 0)

    /// Peers and kinds that have an allowance of their own now.
    var bucketCount: Int { peers.count }
}
