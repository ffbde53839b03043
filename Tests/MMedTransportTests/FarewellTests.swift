import MMedCodec
import MMedCore
import MMedLocks
import MMedProtocol
import Testing

@testable import MMedTransport

@Suite("The coordinator's last word", .timeLimit(.minutes(10)))
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
            // Whoever has lost it waits until the time limit ends the test.
            await group.waitForAll()
        }
        #expect(told.withLock { $0 } == workers.count)
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

    @Test("behind a full queue that nobody reads any more the goodbye is heard all the same")
    func fullQueue() throws {
        let bell = try Bell()
        let mailbox = Mailbox<CoordinatorSide.Letter>(bell: bell, capacity: .max)
        let side = CoordinatorSide(mailbox: mailbox, inbound: InboundQueue(bell: bell))
        var sequence: UInt64 = 0
        func say(_ message: WorkerMessage) throws {
            let body = try MessageCodec.encode(message, sequence: sequence)
            sequence += 1
            _ = side.hear(WireSocket.Received(routingID: [0, 1], body: body, partCount: 1))
        }
        try say(Sample.hello())
        let end = try MessageCodec.encode(CoordinatorMessage.end(reason: "done"))
        mailbox.postNow(CoordinatorSide.Letter(peer: PeerID(number: 1), frame: end, isEnd: true))
        #expect(!side.takeMail() && side.awaitsGoodbyes)
        for _ in 0..<Limits.inboundQueueMessages { try say(.ready(credits: 1)) }
        #expect(!side.hasRoom())
        mailbox.requestClose()
        #expect(side.takeMail() && side.hasRoom() && side.awaitsGoodbyes)
        try say(.goodbye(reason: "done"))
        #expect(!side.awaitsGoodbyes)
    }
}
