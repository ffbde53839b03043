import MMedCore
import MMedScheduling

/// Actions in the core's order. Those behind a record wait until it is on the disk; records that gather while the disk is
/// busy are written as one group.
struct Outbox {
    /// Records of one group at most: what a crash in the middle of a write may undo.
    static let recordsPerGroup = 256

    private var waiting: [Action] = []
    /// Where `waiting` begins; what is before is done.
    private var done = 0
    /// A group is on its way to the disk.
    private(set) var isWriting = false

    mutating func append(_ actions: [Action]) { waiting.append(contentsOf: actions) }

    /// The next action that may be performed now; nil when there is none, or a record comes first.
    mutating func next() -> Action? {
        guard !isWriting, done < waiting.count else { return nil }
        if case .record = waiting[done] { return nil }
        defer { advance(by: 1) }
        return waiting[done]
    }

    /// The next group of records, and the actions among them and right behind the last one, which may be performed once
    /// the group is on the disk. Nil while a group is being written, or when nothing waits.
    mutating func group() -> (records: [JournalRecord], actions: [Action])? {
        guard !isWriting, done < waiting.count else { return nil }
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
        isWriting = true
        return (records, actions)
    }

    mutating func written() { isWriting = false }

    private mutating func advance(by count: Int) {
        done += count
        if done == waiting.count {
            waiting.removeAll(keepingCapacity: waiting.count <= 4_096)
            done = 0
        }
    }
}

// Performing actions in their order, records first.
extension Coordinator {
    /// Performs what may be performed, and hands the next group of records to the journal.
    func flush() {
        while failure == nil, let action = outbox.next() { perform(action) }
        guard failure == nil, let group = outbox.group() else { return }
        let journal = ports.journal
        jobs.yield { [weak self] in
            do {
                try await journal.append(group.records)
                await self?.written(group.actions)
            } catch {
                await self?.failed(error)
            }
        }
    }

    private func written(_ actions: [Action]) {
        outbox.written()
        for action in actions {
            // A checkpoint among them may fail.
            guard failure == nil else { return }
            perform(action)
        }
        flush()
    }
}
