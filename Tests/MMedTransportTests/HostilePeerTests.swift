import MMedCodec
import MMedCore
import MMedLocks
import MMedProtocol
import Testing

@testable import MMedTransport

@Suite("Peers that do not keep to the protocol", .timeLimit(.minutes(10)))
struct HostilePeerTests {
    @Test("malformed bytes are named with their peer and do not disturb the next message")
    func malformed() async throws {
        let coordinator = try Sample.listening()
        let raw = try RawWorker(connectingTo: coordinator.boundAddress)
        var flipped = try MessageCodec.encode(Sample.hello())
        flipped[40] ^= 1
        let wrongWay = try MessageCodec.encode(.drain)
        for frame in [[], [1, 2, 3], Sample.noise(5000, key: 9), flipped, wrongWay] { raw.send(frame) }
        raw.send([], try MessageCodec.encode(Sample.hello()))
        raw.send(try MessageCodec.encode(Sample.hello()))
        var reasons: [String] = []
        var peers: Set<PeerID> = []
        for await event in coordinator.inbound {
            if case .malformed(let peer, let reason) = event {
                reasons.append(reason)
                peers.insert(peer)
                continue
            }
            guard case .message(let peer, Sample.hello()) = event else {
                Issue.record("\(event)")
                break
            }
            peers.insert(peer)
            break
        }
        #expect(reasons.count == 6)
        #expect(reasons.last == "2 parts instead of one")
        #expect(peers.count == 1)
        await coordinator.close()
    }

    @Test("a worker of another major is told apart and can be answered; so is a coordinator")
    func row20_otherMajor() async throws {
        let coordinator = try Sample.listening()
        let raw = try RawWorker(connectingTo: coordinator.boundAddress)
        raw.send(try MessageCodec.encode(Sample.hello(major: 2)))
        var events = coordinator.inbound.makeAsyncIterator()
        guard case .otherVersion(let peer, 2, WireVersion.minor) = await events.next() else {
            Issue.record("the other version was not told apart")
            return
        }
        coordinator.send(.refused(reason: "protocol 2.0, this is 1.0", mend: "update"), to: peer)
        let answer = try #require(raw.receive())
        #expect(
            try MessageCodec.decodeCoordinatorMessage(answer)
                == .refused(reason: "protocol 2.0, this is 1.0", mend: "update"))
        await coordinator.close()
    }

    @Test("a repeated frame is refused; sequence 0 on a known routing id begins a new connection")
    func row05_repetition() async throws {
        let coordinator = try Sample.listening()
        let raw = try RawWorker(connectingTo: coordinator.boundAddress)
        let frame = try MessageCodec.encode(.ready(credits: 1), sequence: 5)
        raw.send(frame)
        raw.send(frame)
        raw.send(try MessageCodec.encode(.ready(credits: 2), sequence: 0))
        var events = coordinator.inbound.makeAsyncIterator()
        guard case .message(let first, .ready(1)) = await events.next(),
            case .malformed(first, let reason) = await events.next(), case .unreachable(first) = await events.next(),
            case .message(let second, .ready(2)) = await events.next()
        else {
            Issue.record("other events")
            return
        }
        #expect(reason.contains("repetition"))
        #expect(first != second)
        await coordinator.close()
    }

    @Test("a frame above the limit costs its connection, not the endpoint")
    func oversize() async throws {
        let coordinator = try Sample.listening()
        let raw = try RawWorker(connectingTo: coordinator.boundAddress)
        raw.send([UInt8](repeating: 0, count: Limits.frameBytes + 1))
        let worker = try Sample.connected(to: coordinator)
        await worker.send(Sample.hello())
        for await event in coordinator.inbound {
            guard case .message(_, Sample.hello()) = event else {
                Issue.record("\(event)")
                break
            }
            break
        }
        await worker.close()
        await coordinator.close()
    }

    @Test("a peer that leaves while its messages wait unread does not end the process")
    func leavesUnread() throws {
        let bell = try Bell()
        let router = try WireSocket(.router)
        let address = try router.bind(WireAddress("tcp://127.0.0.1:*", for: .listening))
        let honest = try RawWorker(connectingTo: address)
        do {
            // More than both high water marks and the system's buffers hold, so that ZeroMQ stops to read the connection.
            let flooder = try WireSocket(.dealer)
            try flooder.connect(WireAddress(address, for: .connecting))
            flooder.wait(bell: bell, forInput: false, forOutput: true, milliseconds: 10_000)
            let frame = [UInt8](repeating: 1, count: 64 << 10)
            var isFull = false
            while !isFull {
                while flooder.sendPart(frame, 1) == .sent {}
                flooder.wait(bell: bell, forInput: false, forOutput: true, milliseconds: 500)
                isFull = flooder.sendPart(frame, 1) == .full
            }
            flooder.close(lingerMilliseconds: 0)
        }
        // The time that is at stake: two heartbeats find the broken connection while nobody reads.
        router.wait(bell: bell, forInput: false, forOutput: false, milliseconds: 2500)
        honest.send([7])
        for _ in 0..<1000 {
            while let received = router.receive() {
                if received.body == [7] { return router.close(lingerMilliseconds: 0) }
            }
            router.wait(bell: bell, forInput: true, forOutput: false, milliseconds: 100)
        }
        Issue.record("the other worker is not heard any more")
    }

    @Test("a connection that brings 64 malformed frames is closed, again and again, and others are heard in between")
    func closed() async throws {
        let coordinator = try Sample.listening()
        let address = coordinator.boundAddress
        let isOver = Locked(false)
        try startThread(named: "hostile") {
            guard let raw = try? RawWorker(connectingTo: address) else { return }
            while !isOver.withLock({ $0 }) { raw.send([1, 2, 3]) }
        }
        let honest = try Sample.connected(to: coordinator)
        var malformed: [PeerID: Int] = [:]
        var closed: Set<PeerID> = []
        var honestPeers: Set<PeerID> = []
        await honest.send(Sample.hello())
        for await event in coordinator.inbound {
            switch event {
            case .malformed(let peer, let reason):
                malformed[peer, default: 0] += 1
                if reason.contains("its connection is closed") { closed.insert(peer) }
            case .message(let peer, _): honestPeers.insert(peer)
            default: Issue.record("\(event)")
            }
            if closed.count == 3, honestPeers.count == 1 { break }
        }
        isOver.withLock { $0 = true }
        for (peer, count) in malformed {
            #expect(count <= Limits.malformedFrames)
            #expect((count == Limits.malformedFrames) == closed.contains(peer))
        }
        await honest.close()
        await coordinator.close()
    }

    @Test("a message of our own that breaks a rule is reported, not sent")
    func ownMistake() async throws {
        let coordinator = try Sample.listening()
        let worker = try Sample.connected(to: coordinator)
        await worker.send(.ready(credits: -1))
        var heard = worker.inbound.makeAsyncIterator()
        guard case .malformed(let reason) = await heard.next() else {
            Issue.record("no report")
            return
        }
        #expect(reason.contains("credits"))
        coordinator.send(.gradientReceived(LeaseID(fence: 1), bytes: -1), to: PeerID(number: 1))
        var events = coordinator.inbound.makeAsyncIterator()
        guard case .malformed(PeerID(number: 1), _) = await events.next(),
            case .unreachable(PeerID(number: 1)) = await events.next()
        else {
            Issue.record("no report")
            return
        }
        await worker.close()
        await coordinator.close()
    }
}
