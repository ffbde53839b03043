import MMedCodec
import MMedCore
import MMedLocks
import MMedProtocol
import Testing

@testable import MMedTransport

@Suite("Endpoints over real sockets", .timeLimit(.minutes(10)))
struct EndpointTests {
    @Test("10,000 messages come back in order with 64 under way")
    func echo() async throws {
        let coordinator = try Sample.listening()
        let worker = try Sample.connected(to: coordinator)
        async let served: Int = {
            var count = 0
            for await event in coordinator.inbound {
                guard case .message(let peer, .blobRequest(_, let offset)) = event else { continue }
                coordinator.send(.gradientReceived(LeaseID(fence: UInt64(offset)), bytes: offset), to: peer)
                count += 1
                if count == 10_000 { break }
            }
            return count
        }()
        for number in 0..<64 { await worker.send(.blobRequest(Sample.digest, offset: number)) }
        var (next, sent) = (0, 64)
        for await event in worker.inbound {
            guard case .message(.gradientReceived(let lease, let bytes)) = event else {
                Issue.record("\(event)")
                break
            }
            #expect(bytes == next && lease.fence == UInt64(next))
            next += 1
            if sent < 10_000 {
                await worker.send(.blobRequest(Sample.digest, offset: sent))
                sent += 1
            }
            if next == 10_000 { break }
        }
        #expect(next == 10_000)
        #expect(await served == 10_000)
        await worker.close()
        await coordinator.close()
    }

    @Test("forty megabytes of gradient arrive whole, beyond what a worker may queue, from a worker that came first")
    func largeChunks() async throws {
        let folder = try TemporaryFolder()
        let worker = try ZeroMQWorkerEndpoint(connectingTo: folder.address)
        let noise = Sample.noise(Limits.gradientChunkBytes, key: 5)
        let total = 40 * noise.count
        async let sent: Void = {
            for number in 0..<40 {
                await worker.send(
                    .gradientChunk(
                        GradientChunk(
                            lease: LeaseID(fence: 1), shard: Sample.shard, offset: number * noise.count,
                            totalBytes: total, digest: Sample.digest, bytes: noise, statistics: ShardStatistics())))
            }
        }()
        let coordinator = try Sample.listening(folder.address)
        var offset = 0
        for await event in coordinator.inbound {
            guard case .message(_, .gradientChunk(let chunk)) = event else {
                Issue.record("\(event)")
                break
            }
            #expect(chunk.offset == offset && chunk.bytes == noise)
            offset += chunk.bytes.count
            if offset == total { break }
        }
        await sent
        #expect(offset == total)
        await worker.close()
        await coordinator.close()
    }

    @Test("many workers at once, each in its own order, over ipc and tcp", arguments: ["ipc", "tcp"])
    func manyWorkers(scheme: String) async throws {
        let folder = try TemporaryFolder()
        let coordinator = try Sample.listening(scheme == "ipc" ? folder.address : "tcp://127.0.0.1:0")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<8 {
                let endpoint = try Sample.connected(to: coordinator)
                group.addTask {
                    for number in 0..<200 { await endpoint.send(.blobRequest(Sample.digest, offset: number)) }
                    var replies = 0
                    for await event in endpoint.inbound {
                        guard case .message(.gradientReceived(_, let bytes)) = event else { continue }
                        #expect(bytes == replies, "worker \(worker)")
                        replies += 1
                        if replies == 200 { break }
                    }
                    await endpoint.close()
                }
            }
            var nextOffsets: [PeerID: Int] = [:]
            var count = 0
            for await event in coordinator.inbound {
                guard case .message(let peer, .blobRequest(_, let offset)) = event else { continue }
                #expect(offset == nextOffsets[peer, default: 0])
                nextOffsets[peer] = offset + 1
                coordinator.send(.gradientReceived(LeaseID(fence: 1), bytes: offset), to: peer)
                count += 1
                if count == 1600 { break }
            }
            #expect(nextOffsets.count == 8)
            try await group.waitForAll()
        }
        await coordinator.close()
    }

    @Test("a worker finds the coordinator that restarts on the same port, as a new peer")
    func restart() async throws {
        let first = try Sample.listening()
        let address = first.boundAddress
        let worker = try Sample.connected(to: first)
        await worker.send(Sample.hello())
        var events = first.inbound.makeAsyncIterator()
        guard case .message = await events.next() else {
            Issue.record("the first coordinator heard nothing")
            return
        }
        await first.close()
        let second = try Sample.listening(address)
        let found = Locked(false)
        async let welcomed: Void = {
            for await event in second.inbound {
                guard case .message(let peer, _) = event else { continue }
                return second.send(.introduceYourself, to: peer)
            }
        }()
        async let heard: Void = {
            for await case .message(.introduceYourself) in worker.inbound { break }
            found.withLock { $0 = true }
        }()
        // What is under way when a connection breaks may be lost: beats go on until one is heard.
        while !found.withLock({ $0 }), !Task.isCancelled {
            await worker.send(.beat(Beat(phase: .idle, progress: 0, leases: [])))
            await Task.yield()
        }
        await welcomed
        await heard
        await worker.close()
        await second.close()
    }

    @Test("closing ends both streams, and what was sent before still arrives")
    func close() async throws {
        let coordinator = try Sample.listening()
        let worker = try Sample.connected(to: coordinator)
        for number in 0..<50 { await worker.send(.ready(credits: number)) }
        await worker.send(.goodbye(reason: "done"))
        await worker.close()
        for await event in worker.inbound { Issue.record("after close: \(event)") }
        await worker.send(.ready(credits: 1))
        var credits = 0
        for await event in coordinator.inbound {
            if case .message(let peer, .ready(let count)) = event {
                #expect(count == credits)
                credits += 1
                coordinator.send(.drain, to: peer)
            }
            if case .message(_, .goodbye) = event { break }
        }
        #expect(credits == 50)
        await coordinator.close()
        await coordinator.close()
        for await event in coordinator.inbound {
            if case .unreachable = event { continue }
            Issue.record("after close: \(event)")
        }
    }

    @Test("an endpoint that is dropped without close frees its port")
    func dropped() async throws {
        let address = try Sample.listening().boundAddress
        while !Task.isCancelled {
            if let again = try? Sample.listening(address) {
                await again.close()
                break
            }
            await Task.yield()
        }
        #expect(!Task.isCancelled)
    }

    @Test("a peer that left becomes unreachable")
    func left() async throws {
        let coordinator = try Sample.listening()
        let worker = try Sample.connected(to: coordinator)
        await worker.send(Sample.hello())
        var events = coordinator.inbound.makeAsyncIterator()
        guard case .message(let peer, _) = await events.next() else {
            Issue.record("no hello")
            return
        }
        await worker.close()
        let found = Locked(false)
        async let reported: Void = {
            for await case .unreachable(peer) in coordinator.inbound { break }
            found.withLock { $0 = true }
        }()
        while !found.withLock({ $0 }), !Task.isCancelled {
            coordinator.send(.drain, to: peer)
            await Task.yield()
        }
        await reported
        await coordinator.close()
    }

    @Test("a peer that never reads becomes unreachable; its number is then used up")
    func neverReads() async throws {
        let coordinator = try Sample.listening()
        let raw = try RawWorker(connectingTo: coordinator.boundAddress)
        raw.send(try MessageCodec.encode(Sample.hello()))
        var events = coordinator.inbound.makeAsyncIterator()
        guard case .message(let peer, _) = await events.next() else {
            Issue.record("no hello")
            return
        }
        let piece = Sample.noise(Limits.blobChunkBytes, key: 3)
        // The peer's queue, both high-water marks and the kernel's buffers hold less than this.
        for _ in 0..<600 {
            coordinator.send(.blobChunk(Sample.digest, offset: 0, totalBytes: piece.count, bytes: piece), to: peer)
        }
        guard case .unreachable(peer) = await events.next() else {
            Issue.record("the full queue was not reported")
            return
        }
        raw.send(try MessageCodec.encode(.ready(credits: 1), sequence: 1))
        while let event = await events.next() {
            guard case .message(let again, _) = event else { continue }
            #expect(again != peer)
            break
        }
        await coordinator.close()
    }
}
