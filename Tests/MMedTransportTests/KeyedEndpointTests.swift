import MMedCodec
import MMedCore
import MMedLocks
import MMedProtocol
import Testing

@testable import MMedTransport

/// The next event of a kind; every other one is an issue.
private func message(
    _ events: inout AsyncStream<InboundFromWorkers>.Iterator, sourceLocation: SourceLocation = #_sourceLocation
) async throws -> (PeerID, WorkerMessage) {
    let event = await events.next()
    guard case .message(let peer, let message)? = event else {
        Issue.record("no message: \(String(describing: event))", sourceLocation: sourceLocation)
        throw CancellationError()
    }
    return (peer, message)
}

/// Waits until a worker is told that its connection was not opened.
private func refusal(_ worker: ZeroMQWorkerEndpoint) async throws -> String {
    var events = worker.inbound.makeAsyncIterator()
    guard case .handshakeFailed(let reason)? = await events.next() else { throw CancellationError() }
    return reason
}

@Suite("Endpoints with keys", .timeLimit(.minutes(1)))
struct KeyedEndpointTests {
    @Test("a worker on the list is heard under its identity, and answered", arguments: ["tcp", "ipc"])
    func honest(scheme: String) async throws {
        let folder = try TemporaryFolder()
        let ring = try Keyring()
        let keys = [try ring.worker(.rollout, "a"), try ring.worker(.learner, "b")]
        let coordinator = try ring.listening(scheme == "ipc" ? folder.address : "tcp://127.0.0.1:*", to: keys)
        #expect(coordinator.localAddress == coordinator.boundAddress)
        var events = coordinator.inbound.makeAsyncIterator()
        for key in keys {
            let worker = try ring.connected(key, to: coordinator)
            await worker.send(Sample.hello())
            let (peer, hello) = try await message(&events)
            #expect(hello == Sample.hello())
            #expect(peer.identity == key.identity)
            coordinator.send(.drain, to: peer)
            var heard = worker.inbound.makeAsyncIterator()
            guard case .message(.drain)? = await heard.next() else {
                Issue.record("no answer")
                return
            }
            await worker.close()
        }
        await coordinator.close()
    }

    @Test("a key that is on no list is refused and told, and nothing of it is heard")
    func stranger() async throws {
        let ring = try Keyring()
        let honest = try ring.worker(.rollout, "a")
        let reported = Locked<[KeyRefusal]>([])
        let coordinator = try ring.listening(to: [honest]) { refusal in reported.withLock { $0.append(refusal) } }
        let key = try ring.worker(.rollout, "a")
        let stranger = try ring.connected(key, to: coordinator)
        async let said: Void = stranger.send(Sample.hello())
        #expect(try await refusal(stranger).contains("does not take this worker's key"))
        let worker = try ring.connected(honest, to: coordinator)
        await worker.send(.ready(credits: 3))
        var events = coordinator.inbound.makeAsyncIterator()
        let (peer, first) = try await message(&events)
        #expect(first == .ready(credits: 3) && peer.identity == honest.identity)
        let seen = reported.withLock { $0 }
        #expect(seen.first?.key == key.identity.key && seen.first?.count == 1, "the self-test's own key is no news")
        #expect(seen.first?.address == "127.0.0.1")
        await stranger.close()
        await said
        await worker.close()
        await coordinator.close()
    }

    @Test("a connection without CURVE is refused and told, and nothing of it is heard")
    func noCurve() async throws {
        let ring = try Keyring()
        let honest = try ring.worker(.rollout, "a")
        let coordinator = try ring.listening(to: [honest])
        let stranger = try ZeroMQWorkerEndpoint(connectingTo: coordinator.boundAddress)
        async let said: Void = stranger.send(Sample.hello())
        #expect(try await refusal(stranger).contains("do not agree on keys"))
        let worker = try ring.connected(honest, to: coordinator)
        await worker.send(.ready(credits: 3))
        var events = coordinator.inbound.makeAsyncIterator()
        #expect(try await message(&events).1 == .ready(credits: 3))
        await stranger.close()
        await said
        await worker.close()
        await coordinator.close()
    }

    @Test("a worker with a key talks to no coordinator that has none, nor to one of another key")
    func pinned() async throws {
        let open = try Sample.listening()
        let ring = try Keyring()
        let key = try ring.worker(.rollout, "a")
        let first = try ring.connected(key, to: open)
        async let saidFirst: Void = first.send(Sample.hello())
        // Which end notices first is a matter of microseconds.
        #expect(try await refusal(first).contains(/do not agree on keys|has no keys/))

        // It knows the worker's key, but it is not the coordinator that the worker's file names.
        let impostor = try Keyring().listening(to: [key])
        let second = try ring.connected(key, to: impostor)
        async let saidSecond: Void = second.send(Sample.hello())
        #expect(try await refusal(second).contains("another coordinator"))
        for endpoint in [open, impostor] {
            await endpoint.close()
            for await event in endpoint.inbound { Issue.record("heard: \(event)") }
        }
        await first.close()
        await second.close()
        _ = await (saidFirst, saidSecond)
    }

    @Test("a revoked key is cut off at once, with what it said before, and comes back when it is on the list again")
    func revoked() async throws {
        let ring = try Keyring()
        let (a, b) = (try ring.worker(.rollout, "a"), try ring.worker(.rollout, "b"))
        let coordinator = try ring.listening(to: [a, b])
        let (workerA, workerB) = (try ring.connected(a, to: coordinator), try ring.connected(b, to: coordinator))
        var events = coordinator.inbound.makeAsyncIterator()
        await workerB.send(.ready(credits: 1))
        let (peerB, _) = try await message(&events)
        await workerA.send(.ready(credits: 1))
        let (peerA, _) = try await message(&events)
        #expect(peerA.identity == a.identity && peerB.identity == b.identity)
        // Some of these are in the coordinator's queue already when the key is revoked, some are under way.
        for number in 0..<100 { await workerA.send(.blobRequest(Sample.digest, offset: number)) }
        coordinator.replaceWorkers(try AllowList([b.identity]))
        for number in 0..<100 { await workerA.send(.blobRequest(Sample.digest, offset: number)) }

        guard case .unreachable(peerA)? = await events.next() else {
            Issue.record("the revoked peer is not reported")
            return
        }
        #expect(try await refusal(workerA).contains("workers.allow"), "its connection is not closed")
        // The other one is not disturbed: the same peer, no new connection.
        await workerB.send(.ready(credits: 2))
        let (again, second) = try await message(&events)
        #expect(again == peerB && second == .ready(credits: 2))

        coordinator.replaceWorkers(try AllowList([a.identity, b.identity]))
        await workerA.send(.goodbye(reason: "last"))
        while true {
            let (peer, message) = try await message(&events)
            #expect(peer != peerA && peer.identity == a.identity)
            if message == .goodbye(reason: "last") { break }
        }
        await workerA.close()
        await workerB.close()
        await coordinator.close()
    }

    @Test("another role for a key ends its session; what it says then comes from another peer")
    func otherRole() async throws {
        let ring = try Keyring()
        let key = try ring.worker(.rollout, "a")
        let coordinator = try ring.listening(to: [key])
        let worker = try ring.connected(key, to: coordinator)
        var events = coordinator.inbound.makeAsyncIterator()
        await worker.send(.ready(credits: 1))
        let (first, _) = try await message(&events)
        let learner = Identity(key: key.identity.key, role: .learner, name: key.identity.name)
        coordinator.replaceWorkers(try AllowList([learner]))
        guard case .unreachable(first)? = await events.next() else {
            Issue.record("the session under the old role goes on")
            return
        }
        // What is said while the connection is being closed may be lost.
        let isHeard = Locked(false)
        async let said: Void = {
            while !isHeard.withLock({ $0 }), !Task.isCancelled {
                await worker.send(.ready(credits: 2))
                await Task.yield()
            }
        }()
        let (second, _) = try await message(&events)
        isHeard.withLock { $0 = true }
        #expect(second != first && second.identity == learner)
        await worker.close()
        await coordinator.close()
        await said
    }

    @Test("when the gatekeeper ends, the endpoint ends with an error and takes nothing more")
    func gatekeeperDies() async throws {
        let ring = try Keyring()
        let honest = try ring.worker(.rollout, "a")
        let coordinator = try ring.listening(to: [honest])
        let worker = try ring.connected(honest, to: coordinator)
        var events = coordinator.inbound.makeAsyncIterator()
        await worker.send(.ready(credits: 1))
        let (peer, _) = try await message(&events)
        let stranger = try ring.connected(try ring.worker(.rollout, "b"), to: coordinator)
        try #require(coordinator.gatekeeper).stop()
        async let said: Void = stranger.send(Sample.hello())
        guard case .unreachable(peer)? = await events.next(), case .closed(let error)? = await events.next() else {
            Issue.record("the endpoint goes on")
            return
        }
        #expect(error.kind == .internalError && error.problem.contains("strangers would be let in"))
        while let event = await events.next() { Issue.record("after the end: \(event)") }
        coordinator.send(.drain, to: peer)
        await coordinator.close()
        await stranger.close()
        await worker.close()
        await said
    }
}

@Suite("The coordinator's side of keyed connections", .timeLimit(.minutes(1)))
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
            side.hear(
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

@Suite("The test of the coordinator's own door", .timeLimit(.minutes(1)))
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
        var dialling = Dialling(address: try WireAddress("tcp://127.0.0.1:1", for: .connecting))
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

    @Test("a handshake that breaks off is told when it goes on doing so")
    func breaks() throws {
        var dialling = Dialling(address: try WireAddress("tcp://127.0.0.1:1", for: .connecting))
        let told = (0..<10).map { _ in dialling.take(.brokenOff, at: start) != nil }
        #expect(told.firstIndex(of: true) == Dialling.breaksForgiven)
        #expect(told.count { $0 } == 1)
        #expect(dialling.due(at: start).milliseconds == -1, "ZeroMQ tries again by itself")
        #expect(dialling.take(.otherMechanism, at: start) != nil, "another reason is news")
    }
}
