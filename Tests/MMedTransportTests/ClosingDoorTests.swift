import MMedCore
import MMedLocks
import MMedProtocol
import Testing

@testable import MMedTransport

@Suite("The door while the coordinator hangs up", .timeLimit(.minutes(10)))
struct ClosingDoorTests {
    /// Tries to open a connection again and again with a key that is on no list, until it is told to stop.
    private func knock(_ address: String, _ security: WireSocket.Security, _ isOver: () -> Bool) throws -> Bool {
        let socket = try WireSocket(.dealer, security: security, watchesHandshakes: true)
        defer { socket.close(lingerMilliseconds: 0) }
        let (place, bell) = (try WireAddress(address, for: .connecting, hasKeys: true), try Bell())
        try socket.connect(place)
        while !isOver() {
            socket.wait(bell: bell, forInput: false, forOutput: false, milliseconds: 1)
            while let event = socket.nextHandshake() {
                if event == .succeeded { return true }
                // It follows each handshake that failed.
                if event == .disconnected { continue }
                socket.reconnect(place)
            }
        }
        return false
    }

    /// ZeroMQ lets everybody in who comes when the gatekeeper has gone before the socket.
    @Test("a key of no list is refused to the last moment", arguments: 0..<12)
    func strangers(round: Int) async throws {
        let ring = try Keyring()
        let refused = Locked(0)
        let coordinator = try ring.listening(to: [try ring.worker(.rollout, "a")]) { refusal in
            refused.withLock { $0 = max($0, Int(refusal.count)) }
        }
        let (over, letIn) = (Locked(false), Locked(0))
        let address = coordinator.boundAddress
        // Threads of their own: they wait, and the pool of tasks has no more threads than the machine.
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                let stranger = try? ring.worker(.rollout, "b")
                group.addTask {
                    await withCheckedContinuation { done in
                        let security = stranger.map {
                            WireSocket.Security.worker($0.pair, coordinator: ring.coordinator.publicKey)
                        }
                        do {
                            try startThread(named: "stranger") {
                                defer { done.resume() }
                                guard let security else { return }
                                do {
                                    if try knock(address, security, { over.withLock { $0 } }) {
                                        letIn.withLock { $0 += 1 }
                                    }
                                } catch { Issue.record(error) }
                            }
                        } catch {
                            Issue.record(error)
                            done.resume()
                        }
                    }
                }
            }
            while refused.withLock({ $0 }) == 0, !Task.isCancelled { await Task.yield() }
            await coordinator.close()
            over.withLock { $0 = true }
        }
        #expect(letIn.withLock { $0 } == 0)
    }
}
