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

    /// What a verdict says, with the bytes of a whole gradient.
    private enum Said: Equatable {
        case partial(Int)
        case whole([UInt8])
        case refused
    }

    private func take(_ intake: inout GradientIntake, _ chunk: GradientChunk) throws -> Said {
        switch try intake.take(chunk, from: worker, expectedBytes: 40, scratch: { MemoryScratch() }) {
        case .partial(let count): .partial(count)
        case .whole(let gradient): .whole(try gradient.allBytes())
        case .refused: .refused
        }
    }

    @Test func piecesInOrderMakeTheWhole() throws {
        var intake = GradientIntake()
        #expect(try take(&intake, chunk(0, 16)) == .partial(16))
        #expect(try take(&intake, chunk(16, 4)) == .partial(20))
        #expect(try take(&intake, chunk(20, 20)) == .whole(bytes))
        #expect(intake.byteCount == 0, "a whole gradient is held only when it was checked")
        #expect(try take(&intake, chunk(0, 40)) == .whole(bytes), "one piece may be all")
    }

    @Test func whatDoesNotFollowIsRefusedAndForgotten() throws {
        let misfits = [
            chunk(20, 8), chunk(15, 8), chunk(16, 8, lease: 2), chunk(16, 8, digest: FakeWork.digest(of: [9])),
            chunk(16, 0), chunk(16, 8, total: 44), chunk(0, 8, total: 36), chunk(48, 8),
        ]
        for misfit in misfits {
            var intake = GradientIntake()
            #expect(try take(&intake, chunk(0, 16)) == .partial(16))
            #expect(try take(&intake, misfit) == .refused, "\(misfit)")
            #expect(intake.byteCount == 0)
            #expect(try take(&intake, chunk(16, 8)) == .refused, "after a gap only offset 0 begins again")
        }
    }

    @Test func aPieceBeyondTheTotalIsRefused() throws {
        var intake = GradientIntake()
        var long = chunk(0, 40)
        long.bytes += [1]
        #expect(try take(&intake, long) == .refused)
    }

    @Test func offsetZeroBeginsAnewUnderTheSameOrAnotherLease() throws {
        for lease in [1, 2] as [UInt64] {
            var intake = GradientIntake()
            _ = try take(&intake, chunk(0, 16))
            #expect(try take(&intake, chunk(0, 30, lease: lease)) == .partial(30))
            #expect(try take(&intake, chunk(30, 10, lease: lease)) == .whole(bytes))
        }
    }

    @Test func shardsDoNotMeet() throws {
        var intake = GradientIntake()
        _ = try take(&intake, chunk(0, 16, lease: 1, shard: 0))
        _ = try take(&intake, chunk(0, 20, lease: 2, shard: 1))
        #expect(try take(&intake, chunk(16, 24, lease: 1, shard: 0)) == .whole(bytes))
        #expect(try take(&intake, chunk(20, 20, lease: 2, shard: 1)) == .whole(bytes))
        intake.hold(MemoryScratch(bytes), of: shard(1), under: LeaseID(fence: 2))
        #expect(try intake.gradients(of: [shard(1)])?.map { try $0.allBytes() } == [bytes])
        #expect(intake.gradients(of: [shard(0), shard(1)])?.count == nil)
        #expect(intake.bytesHeld(of: shard(1), under: LeaseID(fence: 2)) == 40)
        #expect(intake.bytesHeld(of: shard(1), under: LeaseID(fence: 1)) == nil)
    }

    @Test func nothingStaysOfWhatIsNotAwaited() throws {
        var intake = GradientIntake()
        for number in 0..<4 as Range<Int32> {
            _ = try take(&intake, chunk(0, 16, lease: UInt64(number), shard: number))
        }
        intake.hold(MemoryScratch(bytes), of: shard(9), under: LeaseID(fence: 9))
        intake.prune { shard, lease, name in shard.shard == 2 && lease.fence == 2 && name == worker }
        #expect(intake.byteCount == 16 + 40, "held gradients stay until their update is done")
        intake.forget(shard(9))
        intake.forget(shard(2))
        #expect(intake.byteCount == 0)
    }

    /// The disk has no room: nothing of the gradient is here, and what comes next begins anew.
    @Test func withoutRoomTheErrorIsTold() throws {
        struct Full: Error {}
        var intake = GradientIntake()
        #expect(throws: Full.self) {
            _ = try intake.take(chunk(0, 16), from: worker, expectedBytes: 40) { throw Full() }
        }
        #expect(intake.byteCount == 0)
        #expect(try take(&intake, chunk(16, 8)) == .refused)
        #expect(try take(&intake, chunk(0, 40)) == .whole(bytes))
    }
}
