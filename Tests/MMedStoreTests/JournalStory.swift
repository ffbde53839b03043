import Foundation
import GRDB
import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling

@testable import MMedStore

/// A journal's file in a folder of its own, removed when the test ends.
final class JournalScratch {
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

/// Records of every kind.
enum Story {
    static func digest(_ number: Int) -> MMedCore.Digest {
        ContentDigest.of([UInt8(number & 255), UInt8(number >> 8)])
    }
    static let adult = Name("adult")!

    static func path(_ question: Int32, sample: Int32, step: Int32 = 0, stage: Int32 = 2) -> JournalRecord {
        let trajectory = Trajectory(
            slot: SlotID(stage: stage, track: 0, step: step, question: question, guideline: 1, sample: sample),
            version: 7, adapterDigest: digest(7), completionIds: [3, -1, 49_151],
            logprobs: [-0.1, -Float.leastNonzeroMagnitude, -3.4e38], stop: .budget,
            choiceLogprobs: [-0.7, -0.699_999_99],
            reward: 0.1 + 0.2)
        let parts = RewardParts(
            strictOption: nil, lenientOption: 1, isStrictCorrect: false, isLenientCorrect: true, total: 1.0 / 3)
        return .path(
            RecordedPath(
                path: JudgedTrajectory(trajectory: trajectory, parts: parts), lease: LeaseID(fence: 3 << 40 | 5),
                sentUnder: LeaseID(fence: 2 << 40 | 9), worker: Name("rollout-1")!, question: "q\(question)",
                prompt: "bayesian", specialty: adult))
    }

    static func groups(step: Int = 0) -> JournalRecord {
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

    static func update(step: Int = 0, stage: Int = 2, from: Int, examples: [String] = []) -> JournalRecord {
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

    static let merge = JournalRecord.merge(
        RecordedMerge(
            stage: 5,
            order: MergeOrder(inputs: [
                .init(
                    specialty: adult, supervised: AdapterReference(name: adult, version: 7, digest: digest(7)),
                    reinforced: AdapterReference(name: adult, version: 9, digest: digest(9))),
                .init(specialty: Name("brain")!, supervised: nil, reinforced: nil),
            ]), result: AdapterReference(name: Name("merged")!, version: 0, digest: digest(500))))

    static let drops: [JournalRecord] = [
        .drop(
            DroppedPath(
                slot: SlotID(stage: 2, track: 0, step: 0, question: 1, guideline: 0, sample: 0),
                worker: Name("rollout-2"),
                lease: LeaseID(fence: .max >> 1), question: "q1", reason: "its lease was over — \"late\"",
                isGivenUp: false)
        ),
        .drop(
            DroppedPath(
                slot: SlotID(stage: 2, track: 0, step: 0, question: 1, guideline: 0, sample: 1), worker: nil,
                lease: nil,
                question: "q1", reason: "the lease expired", isGivenUp: true)),
    ]

    /// A run's.
    static let whole: [JournalRecord] =
        [.session(epoch: 3), update(stage: 1, from: 6, examples: ["x1", "x2"])]
        + [path(0, sample: 0), path(0, sample: 1), path(1, sample: 0), path(1, sample: 1)] + drops
        + [groups(), update(from: 7), path(0, sample: 0, step: 1), groups(step: 1), update(step: 1, from: 8), merge]

    static func void(_ question: Int32, sample: Int32) -> JournalRecord {
        .drop(
            DroppedPath(
                slot: SlotID(stage: 2, track: 0, step: 0, question: question, guideline: 1, sample: sample),
                worker: Name("rollout-1"), lease: nil, question: "q\(question)", reason: "its worker is quarantined",
                isGivenUp: false, isVoided: true))
    }

    static func quarantine(_ name: String, key: PublicKey?) -> JournalRecord {
        .quarantine(
            QuarantinedWorker(
                worker: Name(name)!, party: Name("rollout")!, key: key, role: .rollout,
                reason: "others agree on another"))
    }
}
