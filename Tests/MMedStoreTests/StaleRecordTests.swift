import Foundation
import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedStore

/// Paths that grew too old, in the journal: each is on record, one of a slot stands, and the lineage names that one alone.
@Suite struct StaleRecordTests {
    private let slot = SlotID(stage: 2, track: 0, step: 3, question: 0, guideline: 1, sample: 0)

    private func digest(_ number: UInt8) -> MMedCore.Digest { ContentDigest.of([number]) }

    private func adapter(_ version: Int) throws -> AdapterReference {
        AdapterReference(
            name: try #require(Name("adult")), version: version, digest: digest(UInt8(version)))
    }

    private func path(version: Int) throws -> JournalRecord {
        let trajectory = Trajectory(
            slot: slot, version: version, adapterDigest: try adapter(version).digest, completionIds: [5, 6],
            logprobs: [-0.25, -0.5], stop: .endToken, choiceLogprobs: [], reward: 1)
        let parts = RewardParts(
            strictOption: 1, lenientOption: 1, isStrictCorrect: true, isLenientCorrect: true, total: 1)
        return .path(
            RecordedPath(
                path: JudgedTrajectory(trajectory: trajectory, parts: parts), lease: LeaseID(fence: 9),
                sentUnder: LeaseID(fence: 9), worker: try #require(Name("rollout-1")), question: "q",
                prompt: "bayesian",
                specialty: try #require(Name("adult"))))
    }

    private func stale(isVoided: Bool) -> JournalRecord {
        .drop(
            DroppedPath(
                slot: slot, worker: isVoided ? nil : Name("rollout-1"), lease: LeaseID(fence: 9), question: "q",
                reason: DroppedPath.stale, isGivenUp: false, isVoided: isVoided))
    }

    private func closing() throws -> [JournalRecord] {
        let place = StepPlace(stage: 2, track: 0, step: 3)
        let base = try adapter(4)
        return [
            .groups(
                ClosedGroups(
                    place: place, members: [GroupMember(slot: slot, update: 0, advantage: 0.5, use: .trained)])),
            .update(
                RecordedUpdate(
                    place: place, update: 0, base: base,
                    result: UpdateResult(
                        head: AdapterHead(reference: try adapter(5), momentsDigest: digest(90), optimizerSteps: 5),
                        numbers: UpdateNumbers(
                            learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0,
                            biasCorrection1: 0.1, biasCorrection2: 0.001, clipFactor: 1),
                        gradientDigest: digest(91), gradientNorm: 1), examples: [])),
        ]
    }

    @Test func aPathThatGrewTooOldIsReplacedByOne() async throws {
        let folder = NSTemporaryDirectory() + "mmed-stale-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let journal = try Journal(path: folder + "/journal.db")
        let story =
            [stale(isVoided: false), try path(version: 2), stale(isVoided: true), try path(version: 4)]
            + (try closing())
        try await journal.append(story)
        #expect(try journal.openRecords(after: RunState(heads: [])) == story)
        #expect(try journal.verify().sequence == Int64(story.count))
        let drops = try journal.rows(of: "SELECT reason, worker, voided FROM drops ORDER BY seq")
        #expect(drops.dropFirst() == [["stale", "rollout-1", "0"], ["stale", "", "1"]])
        let standing = try journal.rows(of: "SELECT sampled_by_version FROM trajectories")
        #expect(standing.dropFirst() == [["4"]])
        let trained = try journal.rows(of: "SELECT version, seq FROM lineage")
        #expect(trained.dropFirst() == [["5", "4"]])
        // One that stands is one.
        let third = try path(version: 4)
        await #expect(throws: MMedError.self) { try await journal.append([third]) }
    }
}
