import Foundation
import GRDB
import MMedCore
public import MMedScheduling

// Reading a journal back: for a coordinator that starts again, and for whoever wants to know that it is whole.
extension Journal {
    /// Checks every record behind a checkpoint's head against the hash chain. Throws `badData` naming the first record that
    /// does not belong there.
    public func verifyTail(from head: JournalHead) throws {
        do {
            try database.read { db in
                if head.sequence > 0 {
                    guard try Journal.chain(of: head.sequence, db) == head.chain.bytes else {
                        throw damaged("record \(head.sequence) is not the one that the checkpoint was written after")
                    }
                }
                _ = try chain(db, after: head)
            }
        } catch { throw Journal.explained(error, path) }
    }

    /// Whether the file that says where the journal ended is there: without it records that were cut off behind the last
    /// checkpoint are not missed.
    public var knowsItsEnd: Bool { end.read() != nil }

    /// Checks the whole chain, from the first record, decodes every record, and holds the file's indices against its tables: a
    /// query goes by them. Returns the head. Throws `badData` naming the first record or index that is damaged.
    public func verify() throws -> JournalHead {
        do {
            return try database.read { db in
                let head = try chain(db, after: .empty)
                let found = try String.fetchOne(db, sql: "PRAGMA integrity_check(1)")
                guard found == "ok" else { throw damaged("SQLite's own check finds: \(found ?? "nothing")") }
                return head
            }
        } catch { throw Journal.explained(error, path) }
    }

    private func chain(_ db: Database, after head: JournalHead) throws -> JournalHead {
        var head = head
        let rows = try Row.fetchCursor(
            db, sql: "SELECT * FROM record WHERE seq > ? ORDER BY seq", arguments: [head.sequence])
        while let row = try rows.next() {
            let sequence: Int64 = row["seq"]
            guard sequence == head.sequence + 1 else { throw damaged("record \(head.sequence + 1) is missing") }
            let entry = try JournalRow(row)
            let chain = entry.chain(after: head.chain.bytes, sequence: sequence)
            guard chain == [UInt8](row["chain"] as Data), let digest = Digest(bytes: chain) else {
                throw damaged("record \(sequence) (\(entry.kind)) is not what was written")
            }
            do { _ = try entry.record() } catch { throw damaged("record \(sequence) (\(entry.kind)): \(error)") }
            head = JournalHead(sequence: sequence, chain: digest)
        }
        return head
    }

    private func damaged(_ what: String) -> MMedError {
        MMedError(.badData, at: path, what, mend: "restore the journal from a backup, or begin the run anew")
    }

    /// Records of steps that a state has not made part of itself, and of workers that were caught at any time, in their
    /// order.
    public func openRecords(after state: RunState) throws -> [JournalRecord] {
        do {
            return try database.read { db in
                var rows = try Row.fetchAll(
                    db,
                    sql: "SELECT * FROM record WHERE stage > ? OR (stage = ? AND track IS NULL) "
                        + "OR kind = 'quarantine'",
                    arguments: [state.stage, state.stage])
                if state.tracks.isEmpty {
                    rows += try Row.fetchAll(
                        db, sql: "SELECT * FROM record WHERE stage = ? AND track IS NOT NULL", arguments: [state.stage])
                }
                for (track, progress) in state.tracks.enumerated() {
                    rows += try Row.fetchAll(
                        db, sql: "SELECT * FROM record WHERE stage = ? AND track = ? AND step >= ?",
                        arguments: [state.stage, track, progress.committedSteps])
                }
                return try rows.sorted { ($0["seq"] as Int64) < ($1["seq"] as Int64) }.compactMap { row in
                    let sequence: Int64 = row["seq"]
                    do { return try JournalRow(row).record() } catch {
                        throw damaged("record \(sequence): \(error)")
                    }
                }
            }
        } catch { throw Journal.explained(error, path) }
    }
}
