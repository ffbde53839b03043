import MMedCodec
import MMedCore
import MMedLocks
import MMedProtocol
import Testing

@testable import MMedTransport

@Suite("The coordinator's side of keyed connections", .timeLimit(.minutes(10)))
struct KeyedSideTests {
    /// A side whose messages come from the test, and what it has heard.
    private struct Bench {
        let side: CoordinatorSide
        let queue: InboundQueue<InboundFromWorkers>
        let gatekeeper: Gatekeeper

        init(_ workers: [WorkerKey]) throws {
            let bell = try Bell()
            queue = InboundQueue(bell: bell)
            gatekeeper = try Gatekeeper(AllowList(workers.map(\.identity)), wakes: bell) { _ in }
            side = CoordinatorSide(
                mailbox: Mailbox(bell: bell, capacity: .max), inbound: queue, gatekeeper: gatekeeper)
        }

        func say(_ credits: Int, sequence: UInt64, as user: WorkerKey?, routingID: UInt8 = 1) throws {
            _ = side.hear(
                WireSocket.Received(
                    routingID: [0, routingID],
                    body: try MessageCodec.encode(.ready(credits: credits), sequence: sequence),
                    partCount: 1, userID: user?.identity.key.text))
        }

        func heard() async -> [InboundFromWorkers] {
            side.end()
            var events: [InboundFromWorkers] = []
            for await event in queue.stream { events.append(event) }
            return events
        }
    }

    @Test("a message that nobody was asked about is never taken, and ends the endpoint")
    func nobodyAsked() async throws {
        let key = try Keyring().worker(.rollout, "a")
        let bench = try Bench([key])
        #expect(bench.side.takeMail() == false)
        try bench.say(1, sequence: 0, as: nil)
        try bench.say(2, sequence: 0, as: key, routingID: 2)
        #expect(bench.side.takeMail() == true)
        let events = await bench.heard()
        #expect(events.count == 1)
        guard case .closed(let error)? = events.first else {
            Issue.record("\(events)")
            return
        }
        #expect(error.problem.contains("nobody had checked"))
    }

    @Test("a message of a key that is not on the list is dropped, whatever the door said")
    func notListed() async throws {
        let ring = try Keyring()
        let (a, b) = (try ring.worker(.rollout, "a"), try ring.worker(.rollout, "b"))
        let bench = try Bench([a])
        try bench.say(1, sequence: 0, as: b)
        try bench.say(2, sequence: 0, as: a)
        let events = await bench.heard()
        #expect(events.count == 1)
        guard case .message(let peer, .ready(2))? = events.first else {
            Issue.record("\(events)")
            return
        }
        #expect(peer.identity == a.identity)
    }

    @Test("a routing id that another key used before is no way into its session")
    func routingIDOfAnother() async throws {
        let ring = try Keyring()
        let (a, b) = (try ring.worker(.rollout, "a"), try ring.worker(.learner, "b"))
        let bench = try Bench([a, b])
        try bench.say(1, sequence: 0, as: a)
        try bench.say(2, sequence: 1, as: b)
        let events = await bench.heard()
        guard events.count == 3, case .message(let first, .ready(1)) = events[0], case .unreachable(first) = events[1],
            case .message(let second, .ready(2)) = events[2]
        else {
            Issue.record("\(events)")
            return
        }
        #expect(first != second && first.identity == a.identity && second.identity == b.identity)
    }
}

@Suite("The test of the coordinator's own door", .timeLimit(.minutes(10)))
struct DoorTestTests {
    private func failure(keyed: Bool, stopped: Bool) throws -> MMedError? {
        let ring = try Keyring()
        let bell = try Bell()
        let gatekeeper = try Gatekeeper(AllowList(), wakes: bell) { _ in }
        let socket = try WireSocket(
            .router, security: keyed ? .coordinator(ring.coordinator.pair.secretKey, gatekeeper) : .open)
        defer { socket.close(lingerMilliseconds: 0) }
        if stopped {
            gatekeeper.stop()
            while !gatekeeper.hasEnded { bell.silence() }
        }
        let address = try socket.bind(WireAddress("tcp://127.0.0.1:*", for: .listening))
        return keyError { try DoorTest.run(at: address, coordinator: ring.coordinator.publicKey, gatekeeper) }
    }

    @Test("it passes where a random key is refused")
    func passes() throws {
        #expect(try failure(keyed: true, stopped: false) == nil)
    }

    @Test("it fails, with exit code 70, where the gatekeeper is dead and where there are no keys")
    func fails() throws {
        let open = try #require(try failure(keyed: true, stopped: true))
        #expect(open.kind == .internalError && open.problem.contains("let a key in"), "\(open)")
        let none = try #require(try failure(keyed: false, stopped: false))
        #expect(none.kind == .internalError && none.problem.contains("did not ask for a key"), "\(none)")
    }
}

@Suite("A worker's tries to connect")
struct DiallingTests {
    private let start = ContinuousClock.now

    @Test("a refusal is told once and tried again with growing pauses, until it succeeds")
    func refused() throws {
        var dialling = Dialling(address: try WireAddress("tcp://127.0.0.1:1", for: .connecting), hasKey: true)
        #expect(dialling.due(at: start).milliseconds == -1)
        var now = start
        var pauses: [Duration] = []
        for number in 0..<6 {
            #expect((dialling.take(.keyRefused, at: now) != nil) == (number == 0))
            let (isDue, milliseconds) = dialling.due(at: now)
            #expect(!isDue && milliseconds > 0)
            let next = now + .milliseconds(milliseconds)
            #expect(dialling.due(at: next).isDue)
            #expect(dialling.due(at: next) == (false, -1), "once")
            pauses.append(next - now)
            now = next
        }
        #expect(pauses == pauses.sorted() && pauses[1] > pauses[0])
        #expect(pauses.allSatisfy { $0 <= Dialling.pauseMax + .milliseconds(1) })
        #expect(dialling.take(.succeeded, at: now) == nil)
        #expect(dialling.take(.keyRefused, at: now) != nil, "news again after a session")
    }

    @Test("a connection that was open is told when it is gone, once, and no handshake that failed is taken for one")
    func lost() throws {
        var dialling = Dialling(address: try WireAddress("tcp://127.0.0.1:1", for: .connecting), hasKey: true)
        #expect(dialling.take(.disconnected, at: start) == nil)
        #expect(dialling.take(.succeeded, at: start) == nil)
        guard case .connectionLost? = dialling.take(.disconnected, at: start) else {
            Issue.record("not told")
            return
        }
        #expect(dialling.take(.disconnected, at: start) == nil)
        #expect(dialling.due(at: start).milliseconds == -1, "ZeroMQ tries again by itself")
    }

    @Test("a handshake that breaks off is told when it goes on doing so")
    func breaks() throws {
        var dialling = Dialling(address: try WireAddress("tcp://127.0.0.1:1", for: .connecting), hasKey: true)
        let told = (0..<10).map { _ in dialling.take(.brokenOff, at: start) != nil }
        #expect(told.firstIndex(of: true) == Dialling.breaksForgiven)
        #expect(told.count { $0 } == 1)
        #expect(dialling.due(at: start).milliseconds == -1, "ZeroMQ tries again by itself")
        #expect(dialling.take(.otherMechanism, at: start) != nil, "another reason is news")
        #expect(dialling.take(.brokenOff, at: start) == nil, "a reason says more than none")
    }
}
