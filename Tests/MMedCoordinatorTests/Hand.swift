import MMedCore
import MMedLocks
import MMedProtocol

@testable import MMedCoordinator

/// A worker that answers by itself, and has accidents on leases that the test names.
final class Hand: Sendable {
    enum Accident {
        /// The connection breaks with the results on it; the same process comes back and sends them again.
        case reconnect
        /// The process is gone; another of its name comes.
        case death
    }

    private struct State {
        var hello: Hello
        var peer: PeerID?
        var leases = 0
        /// Sent again until they are acknowledged.
        var unanswered: [WorkerMessage] = []
        var isOver = false
        /// Numbers the connections: what an older one says is not heard any more.
        var generation = 0
    }

    private let router: FakeRouter
    private let seed: UInt64
    private let accidents: @Sendable (Int) -> Accident?
    private let state: Locked<State>

    init(_ router: FakeRouter, _ hello: Hello, seed: UInt64, accidents: @escaping @Sendable (Int) -> Accident?) {
        self.router = router
        self.seed = seed
        self.accidents = accidents
        state = Locked(State(hello: hello))
    }

    var accidentCount: Int { state.withLock { $0.generation - 1 } }
    var isOver: Bool { state.withLock { $0.isOver } }

    func join() {
        let generation = state.withLock { state in
            state.generation += 1
            return state.generation
        }
        let peer = router.connect { [weak self] in self?.take($0, generation) }
        let hello = state.withLock { state in
            state.peer = peer
            return state.hello
        }
        router.say(.hello(hello), from: peer)
    }

    private func say(_ message: WorkerMessage) {
        if let peer = state.withLock({ $0.peer }) { router.say(message, from: peer) }
    }

    private func take(_ message: CoordinatorMessage, _ generation: Int) {
        guard state.withLock({ $0.generation == generation }) else { return }
        switch message {
        case .welcome:
            for message in state.withLock({ $0.unanswered }) { say(message) }
            say(.ready(credits: 2))
        case .rollout(let lease):
            let messages = lease.questions.map { question in
                WorkerMessage.trajectories(
                    lease.lease, question.slots.map { FakeWork.path($0, question, seed: seed) })
            }
            answer(messages)
        case .gradient(let lease):
            answer(FakeWork.chunks(lease, FakeWork.gradient(lease)).map(WorkerMessage.gradientChunk))
        case .trajectoriesRecorded(let lease, _), .leaseRevoked(let lease, _): forget(lease)
        case .gradientReceived(let lease, FakeWork.gradientBytes): forget(lease)
        case .update(let update): say(.updateApplied(update.result))
        case .end: state.withLock { $0.isOver = true }
        default: break
        }
    }

    private func answer(_ messages: [WorkerMessage]) {
        let number = state.withLock { state in
            state.leases += 1
            return state.leases
        }
        switch accidents(number) {
        case .reconnect:
            // Half of it was on the way.
            for message in messages.prefix(messages.count / 2) { say(message) }
            state.withLock { $0.unanswered += messages }
            breakConnection()
        case .death:
            state.withLock { state in
                state.unanswered = []
                state.hello.instance += 1
            }
            breakConnection()
        case nil:
            for message in messages { say(message) }
            say(.ready(credits: 1))
        }
    }

    private func breakConnection() {
        if let peer = state.withLock({ $0.peer }) { router.lose(peer) }
        join()
    }

    private func forget(_ lease: LeaseID) {
        state.withLock { state in
            state.unanswered.removeAll { message in
                switch message {
                case .trajectories(lease, _): true
                case .gradientChunk(let chunk): chunk.lease == lease
                default: false
                }
            }
        }
    }
}
