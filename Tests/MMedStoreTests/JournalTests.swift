import Foundation
import GRDB
import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedStore

/// A journal's file in a folder of its own, removed when the test ends.
private final class Scratch {
    let path: String
    init() throws {
        path = NSTemporaryDirectory() + "mmed-journal-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }
    var journal: String { path + "/journal.db" }

    /// Changes the file behind the journal's back.
    func tamper(_ sql: String) throws {
        let queue = try DatabaseQueue(path: journal)
        try queue.write { try $0.execute(sql: sql) }
        try queue.close()
    }
}

private func digest(_ number: Int) -> MMedCore.Digest { ContentDigest.of([UInt8(number & 255), UInt8(number >> 8)]) }
private let adult = Name("adult")!

private func path(_ question: Int32, sample: Int32, step: Int32 = 0, stage: Int32 = 2) -> JournalRecord {
    let trajectory = Trajectory(
        slot: SlotID(stage: stage, track: 0, step: step, question: question, guideline: 1, sample: sample),
        version: 7, adapterDigest: digest(7), completionIds: [3, -1, 49_151],
        logprobs: [-0.1, -Float.leastNonzeroMagnitude, -3.4e38], stop: .budget, choiceLogprobs: [-0.7, -0.699_999_99],
        reward: 0.1 + 0.2)
    let parts = RewardParts(
        strictOption: nil, lenientOption: 1, isStrictCorrect: false, isLenientCorrect: true, total: 1.0 / 3)
    return .path(
        RecordedPath(
            path: JudgedTrajectory(trajectory: trajectory, parts: parts), lease: LeaseID(fence: 3 << 40 | 5),
            sentUnder: LeaseID(fence: 2 << 40 | 9), worker: Name("rollout-1")!, question: "q\(question)",
            prompt: "bayesian", specialty: adult))
}

private func groups(step: Int = 0) -> JournalRecord {
    let members = (0..<2 as Range<Int32>).flatMap { question in
        (0..<2 as Range<Int32>).map { sample in
            GroupMember(
                slot: SlotID(
                    stage: 2, track: 0, step: Int32(step), question: question, guideline: 1, sample: sample),
                update: 0, advantage: sample == 0 ? 0.25 : 0, use: sample == 0 ? .trained : .noSignal)
        }
    }
    return .groups(ClosedGroups(place: StepPlace(stage: 2, track: 0, step: step), members: members))
}

private func update(step: Int = 0, stage: Int = 2, from: Int, examples: [String] = []) -> JournalRecord {
    .update(
        RecordedUpdate(
            place: StepPlace(stage: stage, track: 0, step: step), update: 0,
            base: AdapterReference(name: adult, version: from, digest: digest(from)),
            result: UpdateResult(
                head: AdapterHead(
                    reference: AdapterReference(name: adult, version: from + 1, digest: digest(from + 1)),
                    momentsDigest: digest(900 + from), optimizerSteps: from + 1),
                numbers: UpdateNumbers(
                    learningRate: 1e-3 / 3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0,
                    biasCorrection1: 0.1, biasCorrection2: 0.001, clipFactor: 0.7),
                gradientDigest: digest(800 + from), gradientNorm: 2.0.squareRoot()), examples: examples))
}

private let merge = JournalRecord.merge(
    RecordedMerge(
        stage: 5,
        order: MergeOrder(inputs: [
            .init(
                specialty: adult, supervised: AdapterReference(name: adult, version: 7, digest: digest(7)),
                reinforced: AdapterReference(name: adult, version: 9, digest: digest(9))),
            .init(specialty: Name("brain")!, supervised: nil, reinforced: nil),
        ]), result: AdapterReference(name: Name("merged")!, version: 0, digest: digest(500))))

private let drops: [JournalRecord] = [
    .drop(
        DroppedPath(
            slot: SlotID(stage: 2, track: 0, step: 0, question: 1, guideline: 0, sample: 0), worker: Name("rollout-2"),
            lease: LeaseID(fence: .max >> 1), question: "q1", reason: "its lease was over — \"late\"", isGivenUp: false)
    ),
    .drop(
        DroppedPath(
            slot: SlotID(stage: 2, track: 0, step: 0, question: 1, guideline: 0, sample: 1), worker: nil, lease: nil,
            question: "q1", reason: "the lease expired", isGivenUp: true)),
]

private let story: [JournalRecord] =
    [.session(epoch: 3), update(stage: 1, from: 6, examples: ["x1", "x2"])]
    + [path(0, sample: 0), path(0, sample: 1), path(1, sample: 0), path(1, sample: 1)] + drops
    + [groups(), update(from: 7), path(0, sample: 0, step: 1), groups(step: 1), update(step: 1, from: 8), merge]

@Suite struct JournalTests {
    private func written(_ scratch: Scratch, _ records: [JournalRecord] = story) async throws -> Journal {
        let journal = try Journal(path: scratch.journal)
        try await journal.append(records)
        return journal
    }

    @Test func everyRecordReadsBackEqualToTheBit() async throws {
        let scratch = try Scratch()
        try await written(scratch).close()
        let again = try Journal(path: scratch.journal)
        let state = RunState(heads: [])
        #expect(try again.openRecords(after: state) == Array(story.dropFirst()))
        #expect(try again.verify() == again.head())
        #expect(try again.head().sequence == Int64(story.count))
    }

    @Test func theChainDoesNotDependOnHowRecordsWereGrouped() async throws {
        let (one, two) = (try Scratch(), try Scratch())
        let whole = try await written(one)
        let journal = try Journal(path: two.journal)
        for record in story { try await journal.append([record]) }
        #expect(try whole.head() == journal.head())
    }

    @Test func recordsOfCommittedStepsAreNotRead() async throws {
        let scratch = try Scratch()
        let journal = try await written(scratch)
        var state = RunState(heads: [])
        state.stage = 2
        state.tracks = [TrackProgress(committedSteps: 1, blend: BlendState())]
        let open = try journal.openRecords(after: state)
        #expect(open == [path(0, sample: 0, step: 1), groups(step: 1), update(step: 1, from: 8), merge])
        state.stage = 5
        state.tracks = []
        #expect(try journal.openRecords(after: state) == [merge])
    }

    // MARK: Damage

    @Test(arguments: [
        "UPDATE record SET body = replace(body, 'q0', 'q9') WHERE seq = 3", "UPDATE record SET step = 5 WHERE seq = 3",
        "UPDATE record SET bulk = zeroblob(length(bulk)) WHERE seq = 3",
        "UPDATE record SET kind = 'drop' WHERE seq = 3",
        "DELETE FROM record WHERE seq = 3", "UPDATE record SET chain = zeroblob(32) WHERE seq = 3",
    ])
    func aChangeBehindItsBackIsFoundAndNamed(_ sql: String) async throws {
        let scratch = try Scratch()
        try await written(scratch).close()
        try scratch.tamper(sql)
        let journal = try Journal(path: scratch.journal)
        let error = #expect(throws: MMedError.self) { try journal.verify() }
        #expect(error.map { "\($0)" }?.contains("record 3") == true, "\(String(describing: error))")
    }

    /// An end that was cut off has an intact chain; only the checkpoint knows that more was there.
    @Test func anEndThatWasCutOffIsFoundByTheCheckpoint() async throws {
        let scratch = try Scratch()
        let journal = try await written(scratch)
        let head = try journal.head()
        try journal.verifyTail(from: head)
        try journal.close()
        try scratch.tamper("DELETE FROM record WHERE seq > 5")
        let cut = try Journal(path: scratch.journal)
        _ = try cut.verify()
        let error = #expect(throws: MMedError.self) { try cut.verifyTail(from: head) }
        #expect(error.map { "\($0)" }?.contains("record \(head.sequence)") == true)
    }

    @Test func theTailAloneIsCheckedFromACheckpoint() async throws {
        let scratch = try Scratch()
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
        let scratch = try Scratch()
        try Data(repeating: 0x41, count: 5_000).write(to: URL(fileURLWithPath: scratch.journal))
        let error = #expect(throws: MMedError.self) { try Journal(path: scratch.journal) }
        #expect(error?.kind == .badData)
    }

    // MARK: One writer

    @Test func aSecondProcessIsTurnedAway() async throws {
        let scratch = try Scratch()
        let first = try await written(scratch)
        let error = #expect(throws: MMedError.self) { try Journal(path: scratch.journal) }
        #expect(error?.kind == .tryAgain)
        _ = try first.head()
    }

    /// The second belt: whatever the core does, a slot cannot be counted twice.
    @Test func aSlotThatIsThereCannotBeWrittenAgain() async throws {
        let scratch = try Scratch()
        let journal = try await written(scratch)
        let head = try journal.head()
        await #expect(throws: MMedError.self) { try await journal.append([.session(epoch: 4), path(0, sample: 1)]) }
        #expect(try journal.head() == head, "a group is whole or absent")
        let error = await #expect(throws: MMedError.self) { try await journal.append([.session(epoch: 4)]) }
        #expect(error.map { "\($0)" }?.contains("an earlier write failed") == true)
    }

    @Test func aFullDiskIsSaidAndNothingIsWrittenAfterIt() async throws {
        let scratch = try Scratch()
        let journal = try await written(scratch)
        try await journal.database.write { db in
            let pages = try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 0
            try db.execute(sql: "PRAGMA max_page_count = \(pages)")
        }
        let many = (0..<400 as Range<Int32>).map { path(0, sample: $0, step: 9) }
        let error = await #expect(throws: MMedError.self) { try await journal.append(many) }
        #expect(error?.kind == .tryAgain && error.map { "\($0)" }?.contains("the disk is full") == true)
        await #expect(throws: MMedError.self) { try await journal.append([path(1, sample: 9, step: 9)]) }
        try journal.close()
        #expect(try Journal(path: scratch.journal).verify().sequence == Int64(story.count))
    }

    // MARK: Lineage

    @Test func oneQueryTellsWhatTrainedAVersion() async throws {
        let scratch = try Scratch()
        let journal = try Journal(path: scratch.journal)
        let questions = ["q0", "q1", "x1", "x2"].map { id in
            LineageQuestion(
                id: id, specialty: "adult", split: "train", patient: "patient-\(id)",
                image: id == "q0" ? "scan.png" : nil, source: "pima", license: "GPL-3")
        }
        try journal.begin(
            run: Name("run")!, plan: digest(1), model: digest(2), seed: .max, questions: questions)
        try await journal.append(story)
        func ask(_ what: String, _ version: Int) throws -> [[String]] {
            Array(
                try journal.rows(
                    of: """
                        SELECT DISTINCT \(what) FROM lineage WHERE digest IN
                          (SELECT ancestor FROM ancestry WHERE digest = '\(digest(version).hex)') ORDER BY 1
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
        let scratch = try Scratch()
        let journal = try await written(scratch)
        let error = #expect(throws: MMedError.self) { try journal.rows(of: sql) }
        #expect(error?.kind == .usage)
        #expect(try journal.verify().sequence == Int64(story.count))
    }
}
