import Foundation
import MMedAlgorithms
import MMedCore
import MMedFormats
import MMedProtocol
import MMedScheduling

@testable import MMedStore

extension FuzzTarget {
    /// A row of the journal, and a checkpoint's state.
    static let journal = FuzzTarget(name: "journal", lengthMost: 2048, seeds: { try JournalSeeds.files() }) { bytes in
        let budget = 1024 * bytes.count + (1 << 20)
        if let state = try reading("StateRecord", budget: budget, { try JournalSeeds.state(bytes) }) {
            let written = try JournalSeeds.bytes(of: state)
            let again = try rereading("StateRecord") { try JournalSeeds.state(written) }
            try demand(again == state, "a state changed when it was written")
        }
        let row = JournalSeeds.row(bytes)
        guard let record = try reading("JournalRow", budget: budget, { try JournalSeeds.record(row) }) ?? nil else {
            return
        }
        // Rows and not records: a log-prob that is no number is not equal to itself.
        let written = try rereading("JournalRow") { try JournalRow(record) }
        guard let again = try rereading("JournalRow", { try JournalSeeds.record(written) }) else {
            throw Finding(description: "a \(row.kind) was written as a \(written.kind)")
        }
        let twice = try rereading("JournalRow") { try JournalRow(again) }
        try demand(
            twice.kind == written.kind && twice.place == written.place && twice.body == written.body
                && twice.bulk == written.bulk, "a \(row.kind) changed when it was written")
    }
}

/// Every kind of row, and a state.
enum JournalSeeds {
    /// Kind and place in a line each, the body to the first zero byte, then the bulk.
    static func row(_ bytes: [UInt8]) -> JournalRow {
        let lines = bytes.split(separator: 10, maxSplits: 2, omittingEmptySubsequences: false).map(Array.init)
        let place = (lines.count > 1 ? String(decoding: lines[1], as: UTF8.self) : "")
            .split(separator: ",", omittingEmptySubsequences: false).prefix(6).map { Int64($0) }
        let rest = (lines.count > 2 ? lines[2] : [])
            .split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false).map(Array.init)
        return JournalRow(
            kind: String(decoding: lines[0], as: UTF8.self), place: place,
            body: String(decoding: rest[0], as: UTF8.self),
            bulk: rest.count > 1 ? rest[1] : [])
    }

    static func bytes(of row: JournalRow) -> [UInt8] {
        let place = row.place.map { $0.map(String.init) ?? "" }.joined(separator: ",")
        return Array("\(row.kind)\n\(place)\n\(row.body)".utf8) + (row.bulk.isEmpty ? [] : [0] + row.bulk)
    }

    /// The journal's reader names the record around either error.
    static func record(_ row: JournalRow) throws -> JournalRecord? {
        do {
            return try row.record()
        } catch let error where error is BadRow || error is DecodingError {
            throw MMedError(.badData, at: "the journal", "\(error)", mend: "restore it")
        }
    }

    static func state(_ bytes: [UInt8]) throws -> RunState {
        do {
            return try JSONDecoder().decode(StateRecord.self, from: Data(bytes)).value("a checkpoint")
        } catch let error as DecodingError {
            throw MMedError(.badData, at: "a checkpoint", "\(error)", mend: "restore it")
        }
    }

    static func bytes(of state: RunState) throws -> [UInt8] { try SortedJSON.bytes(StateRecord(state)) }

    static func files() throws -> [(name: String, bytes: [UInt8])] {
        guard let adult = Name("adult"), let worker = Name("rollout-1"),
            let digest = Digest(hex: String(repeating: "5a", count: 32))
        else { throw Finding(description: "a seed has a bad name") }
        let slot = SlotID(stage: 3, track: 0, step: 2, question: 1, guideline: 0, sample: 3)
        let place = StepPlace(stage: 3, track: 0, step: 2)
        let (base, next) = (
            AdapterReference(name: adult, version: 1, digest: digest),
            AdapterReference(name: adult, version: 2, digest: digest)
        )
        let head = AdapterHead(reference: next, momentsDigest: digest, optimizerSteps: 2)
        var state = RunState(heads: [head])
        state.tracks = [
            TrackProgress(
                committedSteps: 1, blend: BlendState(noise: 0.5, spread: 0.25), start: base, recent: [base, next])
        ]
        state.stageHeads = [StageHead(stage: "dsa", reference: base)]
        state.merged = next
        return try [
            ("session", .session(epoch: 2)), ("path", .path(path(slot, worker, adult, digest))),
            (
                "drop",
                .drop(
                    DroppedPath(
                        slot: slot, worker: worker, lease: LeaseID(fence: 1 << 40 | 7), question: "q", reason: "stale",
                        isGivenUp: false, isVoided: true))
            ),
            (
                "groups",
                .groups(
                    ClosedGroups(
                        place: place,
                        members: PathUse.allCases.enumerated().map { index, use in
                            GroupMember(
                                slot: SlotID(
                                    stage: 3, track: 0, step: 2, question: Int32(index), guideline: 1, sample: 0),
                                update: use == .trained ? 0 : nil, advantage: 0.75, use: use)
                        }))
            ),
            ("update", .update(update(place, base, head, digest))),
            (
                "merge",
                .merge(
                    RecordedMerge(
                        stage: 5,
                        order: MergeOrder(inputs: [.init(specialty: adult, supervised: base, reinforced: next)]),
                        result: next))
            ),
            (
                "quarantine",
                .quarantine(
                    QuarantinedWorker(
                        worker: worker, party: worker, key: nil, role: .rollout, reason: "its log-probs differ"))
            ),
        ].map { name, record in (name, bytes(of: try JournalRow(record))) } + [("state", bytes(of: state))]
    }

    private static func path(_ slot: SlotID, _ worker: Name, _ adult: Name, _ digest: Digest) -> RecordedPath {
        let trajectory = Trajectory(
            slot: slot, version: 1, adapterDigest: digest, completionIds: [5, 6, 2], logprobs: [-0.5, -0.25, -1],
            stop: .endToken, choiceLogprobs: [-0.5, -2], reward: 1)
        let parts = RewardParts(
            strictOption: 1, lenientOption: 1, isStrictCorrect: true, isLenientCorrect: true, total: 1.1)
        return RecordedPath(
            path: JudgedTrajectory(trajectory: trajectory, parts: parts), lease: LeaseID(fence: 1 << 40 | 9),
            sentUnder: LeaseID(fence: 1 << 40 | 7), worker: worker, question: "q", prompt: "bayesian", specialty: adult)
    }

    private static func update(
        _ place: StepPlace, _ base: AdapterReference, _ head: AdapterHead, _ digest: Digest
    ) -> RecordedUpdate {
        let numbers = UpdateNumbers(
            learningRate: 2e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, biasCorrection1: 0.1,
            biasCorrection2: 0.001, clipFactor: 1)
        return RecordedUpdate(
            place: place, update: 0, base: base,
            result: UpdateResult(head: head, numbers: numbers, gradientDigest: digest, gradientNorm: 0.5),
            examples: ["q1", "q2"])
    }
}
