import MMedCodec
import MMedCore
import MMedLocks
import MMedProtocol
import Testing

@testable import MMedTransport

@Suite("The coordinator's last word", .timeLimit(.minutes(1)))
struct FarewellTests {
    /// Without the wait for the goodbye about half of these lose it: see `SocketLoop.finish`.
    @Test("nobody who is told the end loses it because the coordinator hangs up behind it", arguments: 0..<40)
    func everybodyHearsTheEnd(round: Int) async throws {
        let coordinator = try Sample.listening()
        let workers = try (0..<3).map { _ in try Sample.connected(to: coordinator) }
        for worker in workers { await worker.send(Sample.hello()) }
        var peers: [PeerID] = []
        for await case .message(let peer, .hello) in coordinator.inbound {
            peers.append(peer)
            if peers.count == workers.count { break }
        }
        for peer in peers { coordinator.send(.end(reason: "done"), to: peer) }
        let told = Locked(0)
        await withTaskGroup(of: Void.self) { group in
            for worker in workers {
                group.addTask {
                    for await event in worker.inbound {
                        guard case .message(.end) = event else { continue }
                        told.withLock { $0 += 1 }
                        await worker.send(.goodbye(reason: "done"))
                        return
                    }
                }
            }
            await coordinator.close()
            #expect(told.withLock { $0 } == workers.count)
            group.cancelAll()
        }
        for worker in workers { await worker.close() }
    }

    @Test("who never says goodbye, and who was told nothing, do not keep the coordinator")
    func silence() async throws {
        let clock = ContinuousClock()
        let coordinator = try Sample.listening()
        let worker = try RawWorker(connectingTo: coordinator.boundAddress)
        worker.send(try MessageCodec.encode(Sample.hello()))
        var events = coordinator.inbound.makeAsyncIterator()
        guard case .message(let peer, _) = await events.next() else {
            Issue.record("no hello")
            return
        }
        coordinator.send(.end(reason: "done"), to: peer)
        let before = clock.now
        await coordinator.close()
        // It did wait, and it did end: the time limit of the suite is the upper bound.
        #expect(clock.now - before >= .milliseconds(Limits.goodbyeMilliseconds))
        withExtendedLifetime(worker) {}
    }

    @Test("a flood behind the end is read past, and the goodbye in it is found")
    func flood() async throws {
        let coordinator = try Sample.listening()
        let worker = try Sample.connected(to: coordinator)
        await worker.send(Sample.hello())
        var events = coordinator.inbound.makeAsyncIterator()
        guard case .message(let peer, _) = await events.next() else {
            Issue.record("no hello")
            return
        }
        coordinator.send(.end(reason: "done"), to: peer)
        // More than the queue takes that nobody reads any more.
        for number in 0..<(2 * Limits.inboundQueueMessages) { await worker.send(.ready(credits: number % 8)) }
        await worker.send(.goodbye(reason: "done"))
        let clock = ContinuousClock()
        let before = clock.now
        await coordinator.close()
        #expect(clock.now - before < .milliseconds(Limits.goodbyeMilliseconds), "the goodbye was not seen")
        await worker.close()
    }
}
