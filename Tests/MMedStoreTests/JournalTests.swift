import Foundation
import GRDB
import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedStore

@Suite struct JournalTests {
    private let story = Story.whole

    private func written(_ scratch: JournalScratch, _ records: [JournalRecord] = Story.whole) async throws -> Journal {
        let journal = try Journal(path: scratch.journal)
        try await journal.append(records)
        return journal
    }

    @Test func everyRecordReadsBackEqualToTheBit() async throws {
        let scratch = try JournalScratch()
        try await written(scratch).close()
        let again = try Journal(path: scratch.journal)
        let state = RunState(heads: [])
        #expect(try again.openRecords(after: state) == Array(story.dropFirst()))
        #expect(try again.verify() == again.head())
        #expect(try again.head().sequence == Int64(story.count))
    }

    @Test func theChainDoesNotDependOnHowRecordsWereGrouped() async throws {
        let (one, two) = (try JournalScratch(), try JournalScratch())
        let whole = try await written(one)
        let journal = try Journal(path: two.journal)
        for record in story { try await journal.append([record]) }
        #expect(try whole.head() == journal.head())
    }

    @Test func recordsOfCommittedStepsAreNotRead() async throws {
        let scratch = try JournalScratch()
        let journal = try await written(scratch)
        var state = RunState(heads: [])
        state.stage = 2
        state.tracks = [TrackProgress(committedSteps: 1, blend: BlendState())]
        let open = try journal.openRecords(after: state)
        #expect(
            open == [
                Story.path(0, sample: 0, step: 1), Story.groups(step: 1), Story.update(step: 1, from: 8), Story.merge,
            ])
        state.stage = 5
        state.tracks = []
        #expect(try journal.openRecords(after: state) == [Story.merge])
    }

    // MARK: Damage

    @Test(arguments: [
        "UPDATE record SET body = replace(body, 'q0', 'q9') WHERE seq = 3", "UPDATE record SET step = 5 WHERE seq = 3",
        "UPDATE record SET bulk = zeroblob(length(bulk)) WHERE seq = 3",
        "UPDATE record SET kind = 'drop' WHERE seq = 3",
        "DELETE FROM record WHERE seq = 3", "UPDATE record SET chain = zeroblob(32) WHERE seq = 3",
    ])
    func aChangeBehindItsBackIsFoundAndNamed(_ sql: String) async throws {
        let scratch = try JournalScratch()
        try await written(scratch).close()
        try scratch.tamper(sql)
        let journal = try Journal(path: scratch.journal)
        let error = #expect(throws: MMedError.self) { try journal.verify() }
        #expect(error.map { "\($0)" }?.contains("record 3") == true, "\(String(describing: error))")
    }

    /// An end that was cut off has an intact chain; only the checkpoint knows that more was there.
    @Test func anEndThatWasCutOffIsFoundByTheCheckpoint() async throws {
        let scratch = try JournalScratch()
        let journal = try await written(scratch)
        let head = try journal.head()
        try journal.verifyTail(from: head)
        try journal.close()
        try scratch.tamper("DELETE FROM record WHERE seq > 5")
        try FileManager.default.removeItem(atPath: JournalEnd.path(beside: scratch.journal))
        let cut = try Journal(path: scratch.journal)
        _ = try cut.verify()
        let error = #expect(throws: MMedError.self) { try cut.verifyTail(from: head) }
        #expect(error.map { "\($0)" }?.contains("record \(head.sequence)") == true)
    }

    /// Records behind the checkpoint, which the file beside the journal knows of.
    @Test(arguments: [
        "DELETE FROM record WHERE seq = (SELECT max(seq) FROM record)", "DELETE FROM record WHERE seq > 5",
        "UPDATE record SET chain = zeroblob(32) WHERE seq = (SELECT max(seq) FROM record)",
    ])
    func anEndThatWasCutOffOrChangedIsFoundByTheEndBesideIt(_ sql: String) async throws {
        let scratch = try JournalScratch()
        let journal = try await written(scratch)
        let head = try journal.head()
        try journal.close()
        try scratch.tamper(sql)
        let error = #expect(throws: MMedError.self) { try Journal(path: scratch.journal) }
        #expect(
            error?.kind == .badData && error?.problem.contains("record \(head.sequence)") == true,
            "\(String(describing: error))")
        // What it advises helps.
        try FileManager.default.removeItem(atPath: JournalEnd.path(beside: scratch.journal))
        _ = try Journal(path: scratch.journal)
    }

    /// SQLite reads a write-ahead log to its first damaged frame and forgets the others without a word.
    @Test func aDamagedFrameOfTheLogIsFound() async throws {
        let scratch = try JournalScratch()
        let journal = try Journal(path: scratch.journal)
        for record in story { try await journal.append([record]) }
        let log = URL(fileURLWithPath: scratch.journal + "-wal")
        var bytes = try Data(contentsOf: log)
        // Copies: to close the journal would move the log into the database.
        let other = try JournalScratch()
        bytes[bytes.count - 3 * 4_120] ^= 1
        try bytes.write(to: URL(fileURLWithPath: other.journal + "-wal"))
        for name in ["journal.db", "journal.end"] {
            let place = (scratch.journal as NSString).deletingLastPathComponent + "/" + name
            try FileManager.default.copyItem(
                atPath: place, toPath: (other.journal as NSString).deletingLastPathComponent + "/" + name)
        }
        let error = #expect(throws: MMedError.self) { try Journal(path: other.journal) }
        #expect(error?.problem.contains("was on the disk") == true, "\(String(describing: error))")
    }

    @Test func anEndThatIsTornOrOlderSaysNothingWrong() async throws {
        let scratch = try JournalScratch()
        let journal = try Journal(path: scratch.journal)
        try await journal.append([story[0]])
        let path = JournalEnd.path(beside: scratch.journal)
        let older = try Data(contentsOf: URL(fileURLWithPath: path))
        try await journal.append(Array(story[1...]))
        try journal.close()
        for text in [older, older.prefix(40), Data()] {
            try text.write(to: URL(fileURLWithPath: path))
            let again = try Journal(path: scratch.journal)
            #expect(try again.head().sequence == Int64(story.count))
            try again.close()
        }
    }

    @Test func theTailAloneIsCheckedFromACheckpoint() async throws {
        let scratch = try JournalScratch()
        let journal = try Journal(path: scratch.journal)
        try await journal.append(Array(story[..<6]))
        let head = try journal.head()
        try await journal.append(Array(story[6...]))
        try journal.close()
        try scratch.tamper("UPDATE record SET body = replace(body, 'q0', 'q9') WHERE seq = 3")
        try Journal(path: scratch.journal).verifyTail(from: head)
        try scratch.tamper("UPDATE record SET body = replace(body, 'late', 'soon') WHERE seq = 7")
        let again = try Journal(path: scratch.journal)
        let error = #expect(throws: MMedError.self) { try again.verifyTail(from: head) }
        #expect(error.map { "\($0)" }?.contains("record 7") == true)
    }

    @Test func aFileThatIsNoJournalIsRefused() throws {
        let scratch = try JournalScratch()
        try Data(repeating: 0x41, count: 5_000).write(to: URL(fileURLWithPath: scratch.journal))
        let error = #expect(throws: MMedError.self) { try Journal(path: scratch.journal) }
        #expect(error?.kind == .badData)
    }

    // MARK: One writer

    @Test func aSecondProcessIsTurnedAway() async throws {
        let scratch = try JournalScratch()
        let first = try await written(scratch)
        let error = #expect(throws: MMedError.self) { try Journal(path: scratch.journal) }
        #expect(error?.kind == .tryAgain)
        _ = try first.head()
    }

    /// The second belt: whatever the core does, a slot cannot be counted twice.
    @Test func aSlotThatIsThereCannotBeWrittenAgain() async throws {
        let scratch = try JournalScratch()
        let journal = try await written(scratch)
        let head = try journal.head()
        await #expect(throws: MMedError.self) {
            try await journal.append([.session(epoch: 4), Story.path(0, sample: 1)])
        }
        #expect(try journal.head() == head, "a group is whole or absent")
        let error = await #expect(throws: MMedError.self) { try await journal.append([.session(epoch: 4)]) }
        #expect(error.map { "\($0)" }?.contains("an earlier write failed") == true)
    }

    /// What a liar brought is void: its slots and the groups of its step are written again, once.
    @Test func whatIsVoidIsWrittenAgainAndNothingElse() async throws {
        let scratch = try JournalScratch()
        let journal = try Journal(path: scratch.journal)
        let key = try #require(PublicKey(String(repeating: "k", count: 40)))
        let story =
            [
                Story.path(0, sample: 0), Story.path(0, sample: 1), Story.path(1, sample: 0), Story.path(1, sample: 1),
                Story.groups(),
            ]
            + [Story.quarantine("rollout-1", key: key), Story.quarantine("rollout-2", key: nil)]
            + [Story.void(0, sample: 1), Story.path(0, sample: 1), Story.groups(), Story.update(from: 7)]
        try await journal.append(story)
        #expect(try journal.openRecords(after: RunState(heads: [])) == story)
        func count(_ table: String) throws -> String { try journal.rows(of: "SELECT count(*) FROM \(table)")[1][0] }
        #expect(try count("trajectories") == "4" && count("uses") == "4" && count("drops WHERE voided = 1") == "1")
        #expect(try count("lineage") == "2", "no path trains a version twice")
        let caught = try journal.rows(of: "SELECT worker, party, key, role, reason FROM quarantines ORDER BY seq")
        #expect(caught[1] == ["rollout-1", "rollout", key.text, "rollout", "others agree on another"])
        #expect(caught[2][2] == "")
        // Those that were caught in steps long committed stay out too.
        var state = RunState(heads: [])
        state.stage = 6
        #expect(try journal.openRecords(after: state) == Array(story[5...6]))
        await #expect(throws: MMedError.self) { try await journal.append([Story.path(0, sample: 1)]) }
        try journal.close()
        let again = try Journal(path: scratch.journal)
        await #expect(throws: MMedError.self) { try await again.append([Story.groups()]) }
    }

    @Test func aFullDiskIsSaidAndNothingIsWrittenAfterIt() async throws {
        let scratch = try JournalScratch()
        let journal = try await written(scratch)
        try await journal.database.write { db in
            let pages = try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 0
            try db.execute(sql: "PRAGMA max_page_count = \(pages)")
        }
        let many = (0..<400 as Range<Int32>).map { Story.path(0, sample: $0, step: 9) }
        let error = await #expect(throws: MMedError.self) { try await journal.append(many) }
        #expect(error?.kind == .tryAgain && error.map { "\($0)" }?.contains("the disk is full") == true)
        await #expect(throws: MMedError.self) { try await journal.append([Story.path(1, sample: 9, step: 9)]) }
        try journal.close()
        #expect(try Journal(path: scratch.journal).verify().sequence == Int64(story.count))
    }

    // MARK: Lineage

    @Test func oneQueryTellsWhatTrainedAVersion() async throws {
        let scratch = try JournalScratch()
        let journal = try Journal(path: scratch.journal)
        let questions = ["q0", "q1", "x1", "x2"].map { id in
            LineageQuestion(
                id: id, specialty: "adult", split: "train", patient: "patient-\(id)",
                image: id == "q0" ? "scan.png" : nil, source: "pima", license: "GPL-3")
        }
        try journal.begin(
            run: Name("run")!, plan: Story.digest(1), model: Story.digest(2), seed: .max, questions: questions)
        try await journal.append(story)
        func ask(_ what: String, _ version: Int) throws -> [[String]] {
            Array(
                try journal.rows(
                    of: """
                        SELECT DISTINCT \(what) FROM lineage WHERE digest IN
                          (SELECT ancestor FROM ancestry WHERE digest = '\(Story.digest(version).hex)') ORDER BY 1
                        """
                ).dropFirst())
        }
        #expect(try ask("patient", 7) == [["patient-x1"], ["patient-x2"]])
        #expect(try ask("patient", 8) == [["patient-q0"], ["patient-q1"], ["patient-x1"], ["patient-x2"]])
        #expect(try ask("image", 8).filter { $0 != [""] } == [["scan.png"]])
        // Both samples shaped the baselines, one of each question has a gradient; the examples are in one record.
        #expect(try ask("seq", 8).count == 2 + 1)
        #expect(try ask("patient", 500).count == 4, "the merged adapter descends from all")
        let why = try journal.rows(of: "SELECT question, worker, reason, given_up FROM drops ORDER BY seq")
        #expect(why[0] == ["question", "worker", "reason", "given_up"])
        #expect(why[1][2].contains("its lease was over") && why[2][3] == "1")
        let uses = try journal.rows(of: "SELECT use, count(*) FROM uses WHERE step = 0 GROUP BY use ORDER BY use")
        #expect(Array(uses.dropFirst()) == [["no-signal", "2"], ["trained", "2"]])
    }

    @Test(arguments: ["DELETE FROM record", "SELECT nothing FROM nowhere", "DROP VIEW lineage"])
    func aQueryCanOnlyRead(_ sql: String) async throws {
        let scratch = try JournalScratch()
        let journal = try await written(scratch)
        let error = #expect(throws: MMedError.self) { try journal.rows(of: sql) }
        #expect(error?.kind == .usage)
        #expect(try journal.verify().sequence == Int64(story.count))
    }

    /// SQLite takes both for reading, and both make a file.
    /// What is damaged is not the query's fault.
    @Test func aQueryOfADamagedRecordSaysSo() async throws {
        let scratch = try JournalScratch()
        try await written(scratch).close()
        try scratch.tamper("UPDATE record SET body = '{' WHERE kind = 'path'")
        let journal = try Journal(path: scratch.journal)
        let error = #expect(throws: MMedError.self) { try journal.rows(of: "SELECT * FROM trajectories") }
        #expect(error?.kind == .badData && error?.mend.contains("mmed-coord verify") == true)
    }

    @Test func aQueryMakesNoFile() async throws {
        let scratch = try JournalScratch()
        let journal = try await written(scratch)
        let other = scratch.path + "/other.db"
        for sql in ["ATTACH '\(other)' AS other", "VACUUM INTO '\(other)'"] {
            let error = #expect(throws: MMedError.self) { try journal.rows(of: sql) }
            #expect(error?.kind == .usage, "\(sql): \(String(describing: error))")
            #expect(!FileManager.default.fileExists(atPath: other), "\(sql)")
        }
        #expect(try journal.rows(of: "SELECT count(*) FROM record")[1] == ["\(story.count)"])
    }
}
