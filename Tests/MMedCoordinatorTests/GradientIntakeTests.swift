import MMedCore
import MMedProtocol
import Testing

@testable import MMedCoordinator

@Suite struct GradientIntakeTests {
    private let worker = Name("a")!
    private let bytes = (0..<40).map { UInt8($0) }

    private func shard(_ number: Int32 = 0) -> ShardID {
        ShardID(stage: 0, track: 0, step: 0, update: 0, shard: number)
    }

    private func chunk(
        _ offset: Int, _ count: Int, lease: UInt64 = 1, shard number: Int32 = 0, total: Int = 40, digest: Digest? = nil
    ) -> GradientChunk {
        GradientChunk(
            lease: LeaseID(fence: lease), shard: shard(number), offset: offset, totalBytes: total,
            digest: digest ?? FakeWork.digest(of: bytes),
            bytes: Array(bytes[min(40, offset)..<min(40, offset + count)]), statistics: ShardStatistics())
    }

    private func take(_ intake: inout GradientIntake, _ chunk: GradientChunk) -> GradientIntake.Verdict {
        intake.take(chunk, from: worker, expectedBytes: 40)
    }

    private func isRefused(_ verdict: GradientIntake.Verdict) -> Bool {
        if case .refused = verdict { true } else { false }
    }

    @Test func piecesInOrderMakeTheWhole() {
        var intake = GradientIntake()
        #expect(take(&intake, chunk(0, 16)) == .partial(16))
        #expect(take(&intake, chunk(16, 4)) == .partial(20))
        #expect(take(&intake, chunk(20, 20)) == .whole(bytes))
        #expect(intake.byteCount == 0, "a whole gradient is held only when it was checked")
        #expect(take(&intake, chunk(0, 40)) == .whole(bytes), "one piece may be all")
    }

    @Test func whatDoesNotFollowIsRefusedAndForgotten() {
        let misfits = [
            chunk(20, 8), chunk(15, 8), chunk(16, 8, lease: 2), chunk(16, 8, digest: FakeWork.digest(of: [9])),
            chunk(16, 0), chunk(16, 8, total: 44), chunk(0, 8, total: 36), chunk(48, 8),
        ]
        for misfit in misfits {
            var intake = GradientIntake()
            #expect(take(&intake, chunk(0, 16)) == .partial(16))
            #expect(isRefused(take(&intake, misfit)), "\(misfit)")
            #expect(intake.byteCount == 0)
            #expect(isRefused(take(&intake, chunk(16, 8))), "after a gap only offset 0 begins again")
        }
    }

    @Test func aPieceBeyondTheTotalIsRefused() {
        var intake = GradientIntake()
        var long = chunk(0, 40)
        long.bytes += [1]
        #expect(isRefused(take(&intake, long)))
    }

    @Test func offsetZeroBeginsAnewUnderTheSameOrAnotherLease() {
        for lease in [1, 2] as [UInt64] {
            var intake = GradientIntake()
            _ = take(&intake, chunk(0, 16))
            #expect(take(&intake, chunk(0, 30, lease: lease)) == .partial(30))
            #expect(take(&intake, chunk(30, 10, lease: lease)) == .whole(bytes))
        }
    }

    @Test func shardsDoNotMeet() {
        var intake = GradientIntake()
        _ = take(&intake, chunk(0, 16, lease: 1, shard: 0))
        _ = take(&intake, chunk(0, 20, lease: 2, shard: 1))
        #expect(take(&intake, chunk(16, 24, lease: 1, shard: 0)) == .whole(bytes))
        #expect(take(&intake, chunk(20, 20, lease: 2, shard: 1)) == .whole(bytes))
        intake.hold(bytes, of: shard(1), under: LeaseID(fence: 2))
        #expect(intake.gradients(of: [shard(1)]) == [bytes])
        #expect(intake.gradients(of: [shard(0), shard(1)]) == nil)
        #expect(intake.bytesHeld(of: shard(1), under: LeaseID(fence: 2)) == 40)
        #expect(intake.bytesHeld(of: shard(1), under: LeaseID(fence: 1)) == nil)
    }

    @Test func nothingStaysOfWhatIsNotAwaited() {
        var intake = GradientIntake()
        for number in 0..<4 as Range<Int32> { _ = take(&intake, chunk(0, 16, lease: UInt64(number), shard: number)) }
        intake.hold(bytes, of: shard(9), under: LeaseID(fence: 9))
        intake.prune { shard, lease, name in shard.shard == 2 && lease.fence == 2 && name == worker }
        #expect(intake.byteCount == 16 + 40, "held gradients stay until their update is done")
        intake.forget(shard(9))
        intake.forget(shard(2))
        #expect(intake.byteCount == 0)
    }
}
