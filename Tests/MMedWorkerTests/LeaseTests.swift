import MMedCore
import MMedProtocol
import Testing

@testable import MMedWorker

@Suite(.timeLimit(.minutes(10))) struct LeaseTests {
    private func lease(_ fence: UInt64) -> LeaseID { LeaseID(fence: fence) }

    // MARK: Reconnects

    @Test func unrecordedPathsAreSentAgainAndRecordedOnesAreNot() async throws {
        let bench = try await Bench.joined()
        bench.wire.say(Sample.rollout(1, paths: 3))
        for _ in 0..<3 { _ = try await bench.wire.path() }
        _ = try await bench.wire.ready()
        bench.wire.say(.trajectoriesRecorded(lease(1), [Sample.slot(1)]))
        bench.wire.say(.introduceYourself)
        _ = try await bench.wire.hello()
        bench.wire.say(Sample.welcome())
        let (again, paths) = try await bench.wire.path()
        #expect(again == lease(1))
        #expect(paths.map(\.slot) == [Sample.slot(0), Sample.slot(2)])
        #expect(try await bench.wire.ready() == 2, "what is sent again is no lease held")
        try await bench.end()
    }

    @Test func creditsAfterAReconnectCountWhatIsHeld() async throws {
        let bench = try await Bench.joined()
        bench.engine.gate.close()
        bench.wire.say(Sample.rollout(1, paths: 1))
        _ = try await bench.engine.calls.next("call") { $0 }
        bench.wire.say(.introduceYourself)
        _ = try await bench.wire.hello()
        // The lease ends before the answer: its credit is said once, with the others.
        bench.engine.gate.open()
        _ = try await bench.wire.path()
        bench.wire.say(Sample.welcome())
        _ = try await bench.wire.path()
        #expect(try await bench.wire.ready() == 2)
        bench.wire.say(.trajectoriesRecorded(lease(1), [Sample.slot(0)]))
        try await bench.end()
        var credits = 0
        for message in bench.wire.said.values {
            if case .hello = message { credits = 0 }
            if case .ready(let more) = message { credits += more }
        }
        #expect(credits == 2)
    }

    @Test func aGradientBeginsAnewOnANewConnection() async throws {
        let bench = try await Bench.joined(.learner)
        let adapter = Sample.adapter(1)
        try bench.engine.load(adapter.reference, content: adapter.content)
        bench.engine.change { $0.gradientBytes = 5 * Limits.gradientChunkBytes + 4 }
        // The wire is full after two chunks; then the connection breaks.
        bench.wire.fill(after: 2)
        bench.wire.say(Sample.gradient(1, adapter: adapter.reference))
        #expect(try await bench.wire.chunk().offset == 0)
        #expect(try await bench.wire.chunk().offset == Limits.gradientChunkBytes)
        _ = try await bench.wire.stalls.next("stall") { $0 }
        bench.wire.say(.introduceYourself)
        try await bench.until("introduction") { await bench.worker.standing == .introducing }
        bench.wire.free()
        _ = try await bench.wire.hello()
        let order = bench.wire.said.values.compactMap(Sample.kind)
        #expect(order.suffix(2) == ["chunk", "hello"], "what was said before the introduction goes before it")
        bench.wire.say(Sample.welcome())
        var joined: [UInt8] = []
        while joined.count < 5 * Limits.gradientChunkBytes + 4 {
            let chunk = try await bench.wire.chunk()
            #expect(chunk.offset == joined.count, "chunks of two passes must not mix")
            joined += chunk.bytes
        }
        #expect(joined == Sample.noise(joined.count, key: 1))
        bench.wire.say(.gradientReceived(lease(1), bytes: joined.count))
        try await bench.end()
        #expect(await bench.worker.unreceived.isEmpty)
    }

    @Test func aPullGoesOnWhereItStoodOnANewConnection() async throws {
        let bench = try await Bench.joined()
        let adapter = Sample.adapter(1, bytes: 3 * Limits.blobChunkBytes)
        bench.wire.say(Sample.rollout(1, paths: 1, adapter: adapter.reference))
        let first = try await bench.wire.request()
        let piece = Limits.blobChunkBytes
        bench.wire.say(
            .blobChunk(
                first.digest, offset: 0, totalBytes: adapter.content.count, bytes: Array(adapter.content[..<piece])))
        for _ in 0..<2 { _ = try await bench.wire.request() }
        bench.wire.say(.introduceYourself)
        _ = try await bench.wire.hello()
        bench.wire.say(Sample.welcome())
        for number in 1...2 {
            let request = try await bench.wire.request()
            #expect(request.offset == number * piece)
            let bytes = Array(adapter.content[request.offset..<request.offset + piece])
            bench.wire.say(
                .blobChunk(
                    request.digest, offset: request.offset, totalBytes: adapter.content.count, bytes: bytes))
        }
        _ = try await bench.wire.path()
        try await bench.end()
    }

    @Test func aLostPieceIsAskedForAgain() async throws {
        let bench = try await Bench.joined(beat: 1, timing: Sample.shortWaits)
        let adapter = Sample.adapter(1)
        bench.wire.say(Sample.rollout(1, paths: 1, adapter: adapter.reference))
        _ = try await bench.wire.request()
        // Nobody answers the first request.
        try await bench.serve(adapter.content)
        _ = try await bench.wire.path()
        try await bench.end()
    }

    // MARK: Draining

    @Test func anIdleWorkerLeavesWhenItIsToldToDrain() async throws {
        let bench = try await Bench.joined()
        bench.wire.say(.drain)
        #expect(try await bench.wire.goodbye() == "it was asked to stop")
        try await bench.running.value
    }

    @Test func aDrainingWorkerFinishesAndWaitsUntilItsPathsAreRecorded() async throws {
        let bench = try await Bench.joined()
        bench.engine.gate.close()
        bench.wire.say(Sample.rollout(1, paths: 1))
        bench.wire.say(Sample.rollout(2, paths: 1))
        _ = try await bench.engine.calls.next("call") { $0 }
        await bench.worker.drain()
        bench.engine.gate.open()
        _ = try await bench.wire.path()
        _ = try await bench.wire.path()
        #expect(await bench.worker.isOver == false)
        bench.wire.say(.trajectoriesRecorded(lease(1), [Sample.slot(0)]))
        bench.wire.say(.trajectoriesRecorded(lease(2), [Sample.slot(0)]))
        _ = try await bench.wire.goodbye()
        try await bench.running.value
        #expect(bench.wire.said.values.filter { if case .ready = $0 { true } else { false } }.count == 1)
    }

    @Test func aDrainEndsWhenWhatIsLeftIsRevoked() async throws {
        let bench = try await Bench.joined(.learner)
        let adapter = Sample.adapter(1)
        try bench.engine.load(adapter.reference, content: adapter.content)
        bench.wire.say(Sample.gradient(1, adapter: adapter.reference))
        _ = try await bench.wire.chunk()
        _ = try await bench.wire.ready()
        await bench.worker.drain()
        #expect(await bench.worker.isOver == false, "its gradient is not received")
        bench.wire.say(.leaseRevoked(lease(1), reason: "nobody waits for this gradient"))
        try await bench.running.value
    }

    @Test func aDrainEndsWhenAWaitingLeaseIsRevoked() async throws {
        let bench = try await Bench.joined()
        bench.engine.gate.close()
        bench.wire.say(Sample.rollout(1, paths: 1))
        bench.wire.say(Sample.rollout(2, paths: 1))
        _ = try await bench.engine.calls.next("call") { $0 }
        bench.wire.say(.drain)
        for fence in [1, 2] as [UInt64] { bench.wire.say(.leaseRevoked(lease(fence), reason: "it expired")) }
        for _ in 0..<2 { _ = try await bench.log.lines.next("revocation") { $0.contains("revoked") ? true : nil } }
        bench.engine.gate.open()
        try await bench.running.value
        #expect(bench.engine.calls.values == ["sample 1"], "a revoked lease is not begun")
    }

    // MARK: Revocation and failure

    @Test func aRevokedLeaseSendsNothingMoreAndGivesItsCreditBack() async throws {
        let bench = try await Bench.joined()
        bench.engine.gate.close()
        bench.wire.say(Sample.rollout(1, paths: 5))
        _ = try await bench.engine.calls.next("call") { $0 }
        bench.wire.say(.leaseRevoked(lease(1), reason: "it expired"))
        _ = try await bench.log.lines.next("revocation") { $0.contains("revoked") ? true : nil }
        bench.engine.gate.open()
        #expect(try await bench.wire.ready() == 1)
        try await bench.end()
        let sent = bench.wire.said.values.contains {
            switch $0 {
            case .trajectories, .leaseFailed: true
            default: false
            }
        }
        #expect(!sent)
        #expect(await bench.worker.cancelled.isEmpty)
    }

    @Test func revocationsOfWhatIsDoneLeaveNothingBehind() async throws {
        let bench = try await Bench.joined()
        for fence in 1...100 { bench.wire.say(.leaseRevoked(lease(UInt64(fence)), reason: "it is not valid any more")) }
        bench.wire.say(Sample.rollout(200, paths: 1))
        _ = try await bench.wire.path()
        #expect(await bench.worker.cancelled.isEmpty)
        try await bench.end()
    }

    @Test func anEngineThatThrowsCostsTheLeaseAlone() async throws {
        let bench = try await Bench.joined()
        let why = String(repeating: "語", count: 2_000)
        bench.engine.change { $0.failure = MMedError(.internalError, why) }
        bench.wire.say(Sample.rollout(1, paths: 2))
        let (failed, reason) = try await bench.wire.failure()
        #expect(failed == lease(1))
        #expect(why.hasPrefix(reason) && reason.utf8.count <= Limits.reasonBytes)
        #expect(try await bench.wire.ready() == 1)
        bench.wire.say(Sample.rollout(2, paths: 1))
        _ = try await bench.wire.path()
        try await bench.end()
    }

    @Test func anEngineThatStopsEarlyIsNoSuccess() async throws {
        let bench = try await Bench.joined()
        bench.engine.change { $0.pathsMax = 1 }
        bench.wire.say(Sample.rollout(1, paths: 3))
        _ = try await bench.wire.path()
        #expect(try await bench.wire.failure().1 == "the engine returned 1 of 3 paths")
        try await bench.end()
    }

    @Test func aMissingBlobCostsTheLeaseAlone() async throws {
        let bench = try await Bench.joined()
        let adapter = Sample.adapter(1)
        bench.wire.say(Sample.rollout(1, paths: 1, adapter: adapter.reference))
        bench.wire.say(.blobMissing(try await bench.wire.request().digest))
        #expect(try await bench.wire.failure().1.contains("does not hold it"))
        bench.wire.say(Sample.rollout(2, paths: 1, adapter: adapter.reference))
        try await bench.serve(adapter.content)
        _ = try await bench.wire.path()
        try await bench.end()
    }

    @Test func aBlobOfAnotherDigestCostsTheLeaseAlone() async throws {
        let bench = try await Bench.joined()
        bench.wire.say(Sample.rollout(1, paths: 1, adapter: Sample.adapter(1).reference))
        try await bench.serve(Sample.noise(10, key: 99))
        #expect(try await bench.wire.failure().1.contains("do not have this digest"))
        #expect(bench.engine.calls.values.isEmpty)
        try await bench.end()
    }
}
