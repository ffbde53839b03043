import Foundation
import GRDB
public import MMedCore
import MMedFormats

/// A question of a run, for the lineage: whom it is about and where it comes from.
public struct LineageQuestion: Hashable, Sendable, Codable {
    /// The record's id.
    public var id: String
    /// Its specialty.
    public var specialty: String
    /// `train`, `validation` or `test`.
    public var split: String
    /// Whom it is about.
    public var patient: String
    /// The image's path as the data names it; nil for text alone.
    public var image: String?
    /// Where it comes from.
    public var source: String
    /// Licence of that source.
    public var license: String

    /// A question.
    public init(
        id: String, specialty: String, split: String, patient: String, image: String?, source: String, license: String
    ) {
        self.id = id
        self.specialty = specialty
        self.split = split
        self.patient = patient
        self.image = image
        self.source = source
        self.license = license
    }
}

extension Journal {
    /// As the sqlite3 shell would print it.
    private static func text(_ value: DatabaseValue) -> String {
        switch value.storage {
        case .null: ""
        case .int64(let number): "\(number)"
        case .double(let number): "\(number)"
        case .string(let text): text
        case .blob(let bytes): bytes.map { String(format: "%02x", $0) }.joined()
        }
    }
}

private struct RunBody: Codable {
    var run: String, plan: String, model: String
    var seed: UInt64
}

extension Journal {
    /// Begins a run's journal: what the run is, and every question it may ask, in one group.
    public func begin(run: Name, plan: Digest, model: Digest, seed: UInt64, questions: [LineageQuestion]) throws {
        let body = try SortedJSON.line(RunBody(run: run.text, plan: plan.hex, model: model.hex, seed: seed))
        var rows = [JournalRow(kind: "run", place: [], body: body)]
        for question in questions {
            rows.append(JournalRow(kind: "question", place: [], body: try SortedJSON.line(question)))
        }
        try writeNow(rows)
    }

    /// Rows of a query over the journal's tables and views, as texts; the first row is the column names. The query cannot
    /// change anything. Throws `usage` when SQLite does not understand it.
    public func rows(of query: String) throws -> [[String]] {
        do {
            return try database.unsafeRead { db in
                try db.readOnly {
                    let statement = try db.makeStatement(sql: query)
                    var table = [statement.columnNames]
                    // ATTACH and VACUUM INTO only read the journal, and yet make files; a PRAGMA may give rows and change it.
                    guard !table[0].isEmpty, statement.isReadonly else {
                        throw MMedError(
                            .usage, at: "the query", "it asks for no rows, or would change something",
                            mend: "the query must only read, as SELECT does (docs/LINEAGE.md)")
                    }
                    let rows = try Row.fetchCursor(statement)
                    while let row = try rows.next() {
                        table.append(row.databaseValues.map(Journal.text))
                    }
                    return table
                }
            }
        } catch let error as MMedError {
            throw error
        } catch let error as DatabaseError where error.resultCode == .SQLITE_MISUSE {
            throw MMedError(
                .usage, at: "the query", "it is not one statement", mend: "ask one query at a time (docs/LINEAGE.md)")
        } catch let error as DatabaseError where error.message?.hasPrefix("malformed") == true {
            throw MMedError(
                .badData, at: path, "a record cannot be read (\(error.message ?? ""))",
                mend: "find it with `mmed-coord verify`, and restore the journal from a backup")
        } catch let error as DatabaseError
            where error.resultCode == .SQLITE_ERROR || error.resultCode == .SQLITE_READONLY
        {
            throw MMedError(
                .usage, at: "the query", error.message ?? "it cannot be run",
                mend: "see docs/LINEAGE.md for the tables; the query must only read")
        } catch { throw Journal.explained(error, path) }
    }
}
