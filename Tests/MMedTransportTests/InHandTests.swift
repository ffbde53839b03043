import MMedCodec
import MMedCore
import MMedLocks
import MMedProtocol
import Testing

@testable import MMedTransport

/// A record that keeps what it is told, and calls one payload length poison.
private final class FakeInHand: InHandPort {
    struct Told: Equatable, Sendable {
        var place: InHandPlace
        var mark: FrameMark?
    }

    let told = Locked<[Told]>([])
    private let poisonBytes: Int

    init(poisonBytes: Int = -1) { self.poisonBytes = poisonBytes }

    func mark(_ frame: [UInt8], sender: PublicKey?) -> FrameMark? {
        FrameMark(hash: 1, byteCount: frame.count - Limits.headerBytes, sender: sender)
    }

    func isPoison(_ mark: FrameMark) -> Bool { mark.byteCount == poisonBytes }

    func hold(_ mark: FrameMark?, at place: InHandPlace) {
        told.withLock { $0.append(Told(place: place, mark: mark)) }
    }

    func last(_ place: InHandPlace) -> FrameMark? { told.withLock { $0.last { $0.place == place }?.mark } }
}

@Suite("What is in hand", .timeLimit(.minutes(10)))
struct InHandTests {
    private func payloadBytes(_ message: WorkerMessage) throws -> Int {
        try MessageCodec.encode(message).count - Limits.headerBytes
    }

    @Test("a message is in hand while it is read, and from when it is taken until it is handled")
    func marks() async throws {
        let record = FakeInHand()
        let coordinator = try ZeroMQCoordinatorEndpoint(listeningAt: "tcp://127.0.0.1:*", inHand: record)
        let worker = try Sample.connected(to: coordinator)
        await worker.send(Sample.hello())
        await worker.send(.goodbye(reason: "farewell"))
        var events = coordinator.inbound.makeAsyncIterator()
        for message in [Sample.hello(), .goodbye(reason: "farewell")] {
            _ = await events.next()
            let bytes = try payloadBytes(message)
            #expect(record.last(.handling)?.byteCount == bytes)
            #expect(record.told.withLock { $0.contains { $0.place == .decoding && $0.mark?.byteCount == bytes } })
            coordinator.handled()
            #expect(record.last(.handling) == nil)
        }
        await worker.close()
        await coordinator.close()
        #expect(record.last(.decoding) == nil)
    }

    @Test("poison is refused unread, its connection closed, and others are heard")
    func refused() async throws {
        let poison = WorkerMessage.goodbye(reason: "a reason of its own")
        let record = FakeInHand(poisonBytes: try payloadBytes(poison))
        let coordinator = try ZeroMQCoordinatorEndpoint(listeningAt: "tcp://127.0.0.1:*", inHand: record)
        let (sender, other) = (try Sample.connected(to: coordinator), try Sample.connected(to: coordinator))
        await sender.send(poison)
        var events = coordinator.inbound.makeAsyncIterator()
        guard case .malformed(let peer, let reason) = await events.next() else {
            Issue.record("the poison was read")
            return
        }
        #expect(reason.contains("poison"))
        #expect(record.told.withLock { $0.allSatisfy { $0.mark == nil } }, "it was in hand")
        await other.send(Sample.hello())
        guard case .message(let honest, .hello) = await events.next() else {
            Issue.record("the other was not heard")
            return
        }
        #expect(honest != peer)
        // The connection was closed: what follows comes on a new one, from a new peer.
        while !Task.isCancelled {
            await sender.send(Sample.hello())
            guard case .message(let again, _) = await events.next() else { continue }
            #expect(again != peer)
            break
        }
        for worker in [sender, other] { await worker.close() }
        await coordinator.close()
    }
}
