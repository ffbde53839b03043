import MMedCore
import MMedScheduling

/// Actions in the core's order. Those behind a record wait until it is on the disk; records that gather while the disk is
/// busy are written as one group.
struct Outbox {
    /// Records of one group at most: what a crash in the middle of a write may undo.
    static let recordsPerGroup = 256

    /// Beyond so many actions behind a slow disk nothing more is taken from the wire, so that TCP holds the senders back.
    static let actionsWaiting = 8_192

    private var waiting: [Action] = []
    /// Where `waiting` begins; what is before is done.
    private var done = 0
    /// Behind the records of the group that is on its way to the disk; nil when none is.
    private var held: [Action]?

    mutating func append(_ actions: [Action]) { waiting.append(contentsOf: actions) }

    /// The next action that may be performed now; nil when there is none, or a record comes first.
    mutating func next() -> Action? {
        guard held == nil, done < waiting.count else { return nil }
        if case .record = waiting[done] { return nil }
        defer { advance(by: 1) }
        return waiting[done]
    }

    /// The next group of records. The actions among them and right behind the last one wait until `written`. Nil while a
    /// group is being written, or when nothing waits.
    mutating func group() -> [JournalRecord]? {
        guard held == nil, done < waiting.count else { return nil }
        var records: [JournalRecord] = []
        var actions: [Action] = []
        var taken = 0
        for action in waiting[done...] {
            if case .record(let record) = action {
                if records.count == Outbox.recordsPerGroup { break }
                records.append(record)
            } else {
                actions.append(action)
            }
            taken += 1
        }
        advance(by: taken)
        held = actions
        return records
    }

    /// The group is on the disk: what may be performed now.
    mutating func written() -> [Action] {
        defer { held = nil }
        return held ?? []
    }

    /// Too much waits for the disk.
    var isBehind: Bool { held != nil && waitingCount >= Outbox.actionsWaiting }
    /// Actions behind the group that is being written.
    var waitingCount: Int { waiting.count - done }

    private mutating func advance(by count: Int) {
        done += count
        if done == waiting.count {
            waiting.removeAll(keepingCapacity: waiting.count <= 4_096)
            done = 0
        }
    }
}
