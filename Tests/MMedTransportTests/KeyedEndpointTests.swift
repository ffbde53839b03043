import MMedCodec
import MMedCore
import MMedLocks
import MMedProtocol
import Testing

@testable import MMedTransport

/// The next event of a kind; every other one is an issue.
func message(
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
func refusal(_ worker: ZeroMQWorkerEndpoint) async throws -> String {
    var events = worker.inbound.makeAsyncIterator()
    while let event = await events.next() {
        switch event {
        case .handshakeFailed(let reason, _): return reason
        case .connectionLost: continue
        case .message, .malformed, .otherVersion: throw CancellationError()
        }
    }
    throw CancellationError()
}

@Suite("Endpoints with keys", .timeLimit(.minutes(10)))
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

    @Test("a stranger waits for each refusal, so that knocking again and again costs the coordinator little")
    func patience() async throws {
        let ring = try Keyring()
        let coordinator = try ring.listening(to: [try ring.worker(.rollout, "a")])
        let key = try ring.worker(.rollout, "b")
        for _ in 0..<3 {
            let begun = ContinuousClock.now
            let stranger = try ring.connected(key, to: coordinator)
            async let said: Void = stranger.send(Sample.hello())
            #expect(try await refusal(stranger).contains("does not take this worker's key"))
            #expect(ContinuousClock.now - begun >= Gatekeeper.refusalDelay)
            await stranger.close()
            await said
        }
        await coordinator.close()
    }

    @Test("a connection without CURVE is refused and told, and nothing of it is heard")
    func noCurve() async throws {
        let ring = try Keyring()
        let honest = try ring.worker(.rollout, "a")
        let coordinator = try ring.listening(to: [honest])
        let stranger = try ZeroMQWorkerEndpoint(connectingTo: coordinator.boundAddress)
        async let said: Void = stranger.send(Sample.hello())
        // On a machine that is busy beyond measure the handshake's own time limit may speak first; the limit of the suite ends it.
        while try await !refusal(stranger).contains("do not agree on keys") {}
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
