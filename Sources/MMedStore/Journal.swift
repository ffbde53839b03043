import Foundation
import GRDB
public import MMedCore
import MMedFormats
import MMedLocks
public import MMedScheduling

/// The last row of a journal: how many there are, and the hash over all of them.
public struct JournalHead: Hashable, Sendable {
    /// Number of the last record, from 1; 0 is an empty journal.
    public let sequence: Int64
    /// SHA-256 chained over all records so far.
    public let chain: Digest

    /// A head.
    public init(sequence: Int64, chain: Digest) {
        self.sequence = sequence
        self.chain = chain
    }

    static let empty = JournalHead(sequence: 0, chain: Digest(zero: ()))
}

extension Digest {
    /// 32 zero bytes: what a chain begins with.
    init(zero: Void) {
        guard let digest = Digest(bytes: Array(repeating: 0, count: 32)) else {
            preconditionFailure("a digest has 32 bytes")
        }
        self = digest
    }
}

/// A run's journal: one SQLite file, written by one process over one connection. A group of records is one transaction of a
/// write-ahead log with `synchronous=FULL`, so it is on the disk when `append` returns, whole or not at all.
public final class Journal: Sendable {
    /// The file.
    public let path: String
    let database: DatabaseQueue
    let end: JournalEnd
    /// After a write that failed the kernel may have dropped what it could not write: only a new process reads the truth.
    private let isBroken = Locked(false)

    /// Opens a journal, or creates one where there is none. Throws `badData` for a file that is no journal of this format,
    /// `tryAgain` when the disk refuses or another process holds it.
    public init(path: String) throws {
        self.path = path
        end = JournalEnd(beside: path)
        var configuration = Configuration()
        configuration.prepareDatabase { db in
            // One process, and no other connection: readers of a live journal could meet SQLite's race between two
            // connections that reset the log (fixed in 3.51.3).
            try db.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
            try db.execute(sql: "PRAGMA journal_mode = WAL")
            try db.execute(sql: "PRAGMA synchronous = FULL")
        }
        do {
            database = try DatabaseQueue(path: path, configuration: configuration)
            try database.write { db in try Journal.prepare(db, path: path) }
            if let known = end.read() { try database.read { db in try Journal.requireEnd(known, db, end.path) } }
        } catch { throw Journal.explained(error, path) }
    }

    /// Throws `badData` when records that were acknowledged are not there any more.
    private static func requireEnd(_ known: JournalHead, _ db: Database, _ path: String) throws {
        let chain = try chain(of: known.sequence, db)
        if chain == known.chain.bytes { return }
        let last = try head(db).sequence
        throw MMedError(
            .badData, at: path,
            chain == nil
                ? "record \(known.sequence) was on the disk, and the journal ends with record \(last)"
                : "record \(known.sequence) of the journal is another than was on the disk",
            mend:
                "restore journal.db and journal.db-wal from a backup; or remove \(path), and the run goes on from what "
                + "the journal has: what came behind is done again")
    }

    private static func prepare(_ db: Database, path: String) throws {
        let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        if version == JournalSchema.version { return }
        guard version == 0, try !db.tableExists("record") else {
            throw MMedError(
                .badData, at: path, "the journal has format \(version), this program reads \(JournalSchema.version)",
                mend: "resume with the program that wrote it")
        }
        try db.execute(sql: JournalSchema.tables)
        try db.execute(sql: JournalSchema.views)
        try db.execute(sql: "PRAGMA user_version = \(JournalSchema.version)")
    }

    /// The newest record.
    public func head() throws -> JournalHead {
        do { return try database.read { try Journal.head($0) } } catch { throw Journal.explained(error, path) }
    }

    /// The chain of one record; nil when there is none of this number.
    static func chain(of sequence: Int64, _ db: Database) throws -> [UInt8]? {
        try Data.fetchOne(db, sql: "SELECT chain FROM record WHERE seq = ?", arguments: [sequence]).map { [UInt8]($0) }
    }

    private static func head(_ db: Database) throws -> JournalHead {
        let row = try Row.fetchOne(db, sql: "SELECT seq, chain FROM record ORDER BY seq DESC LIMIT 1")
        guard let row else { return .empty }
        guard let chain = Digest(bytes: [UInt8](row["chain"] as Data)) else { throw BadRow("its chain") }
        return JournalHead(sequence: row["seq"], chain: chain)
    }

    /// Writes records in this order, as one group. All of them are on the disk when the call returns, none when it throws;
    /// after that every further call throws.
    public func append(_ records: [JournalRecord]) async throws { try await write(records.map { try JournalRow($0) }) }

    private func write(_ rows: [JournalRow]) async throws {
        try requireWhole()
        do {
            let head = try await database.write { db in try Journal.insert(rows, db) }
            end.note(head)
            try Failpoint.pass(.journalCommitted)
        } catch { throw broken(by: error) }
    }

    /// The same, on the calling thread: for the time before anybody waits.
    func writeNow(_ rows: [JournalRow]) throws {
        try requireWhole()
        do { end.note(try database.write { db in try Journal.insert(rows, db) }) } catch { throw broken(by: error) }
    }

    private func requireWhole() throws {
        guard isBroken.withLock({ $0 }) else { return }
        throw MMedError(
            .tryAgain, at: path, "an earlier write failed, so what the disk holds is not known",
            mend: "check the disk, then resume the run: it reads the journal anew")
    }

    private func broken(by error: any Error) -> any Error {
        let isNews = isBroken.withLock { isBroken in
            defer { isBroken = true }
            return !isBroken
        }
        // The connection stays open until the process ends: to close it would synchronise the log once more, and after a
        // synchronisation that failed the kernel may say that all is well of pages which it has dropped.
        if isNews { _ = Unmanaged.passRetained(database) }
        return Journal.explained(error, path)
    }

    /// Returns the head behind them.
    private static func insert(_ rows: [JournalRow], _ db: Database) throws -> JournalHead {
        try Failpoint.pass(.journalBegun)
        var head = try head(db)
        let statement = try db.cachedStatement(
            sql: """
                INSERT INTO record(seq, kind, stage, track, step, question, guideline, sample, body, bulk, chain)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """)
        for row in rows {
            let sequence = head.sequence + 1
            let chain = row.chain(after: head.chain.bytes, sequence: sequence)
            let place = row.place.map { $0.map { $0 as any DatabaseValueConvertible } }
            let values: [(any DatabaseValueConvertible)?] =
                [sequence, row.kind] + place + [row.body, Data(row.bulk), Data(chain)]
            try statement.execute(arguments: StatementArguments(values))
            guard let digest = Digest(bytes: chain) else { throw BadRow("its chain") }
            head = JournalHead(sequence: sequence, chain: digest)
        }
        try Failpoint.pass(.journalWritten)
        return head
    }

    /// Closes the file; nothing can be written any more.
    public func close() throws {
        isBroken.withLock { $0 = true }
        do { try database.close() } catch { throw Journal.explained(error, path) }
    }

    /// A database's error as one that says what to do.
    static func explained(_ error: any Error, _ path: String) -> any Error {
        if error is MMedError { return error }
        guard let error = error as? DatabaseError else {
            return MMedError(
                .badData, at: path, "the journal is damaged (\(error))", mend: "restore it from a backup")
        }
        switch error.resultCode {
        case .SQLITE_NOTADB, .SQLITE_CORRUPT:
            return MMedError(
                .badData, at: path, "the file is no journal, or is damaged (\(error.message ?? "no message"))",
                mend: "restore it from a backup")
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return MMedError(
                .tryAgain, at: path, "another process has the journal open",
                mend: "close it there (a running coordinator holds its journal alone), then try again")
        case .SQLITE_FULL:
            return MMedError(
                .tryAgain, at: path, "the disk is full",
                mend: "make room, then resume the run: nothing acknowledged is lost")
        case .SQLITE_CONSTRAINT:
            return MMedError(
                .internalError, at: path, "a record contradicts one that is there (\(error.message ?? "no message"))",
                mend: "tell the project, with the journal")
        default:
            return MMedError(
                .tryAgain, at: path,
                "the journal cannot be written or read (\(error.message ?? "\(error.resultCode)"))",
                mend: "check the disk's space and permissions, then resume the run")
        }
    }
}
