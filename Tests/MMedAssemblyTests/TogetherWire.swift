import MMedCore
import MMedProtocol
import Synchronization

/// A wire in memory between one coordinator and its workers. One pump delivers, and what it delivers next is drawn, so the
/// turns differ from seed to seed. Connections break as TCP's do: what was on the way is lost, what was only queued goes out
/// on the next connection.
final class Loopback: Sendable {
    private struct Pipe {
        var peer: PeerID
        /// A worker's messages that it still has, and those of its coordinator that have not arrived.
        var up: [WorkerMessage] = []
        var down: [CoordinatorMessage] = []
        /// In the order in which they came, as the transport keeps it.
        var waiting: [(message: WorkerMessage, sender: CheckedContinuation<Void, Never>)] = []
        let heard: AsyncStream<InboundFromCoordinator>.Continuation
        var isClosed = false
    }

    private struct State {
        var draw: CounterRandom
        var draws: UInt64 = 0
        var pipes: [Pipe] = []
        var lastPeer: UInt64 = 0
        /// The coordinator that is alive; another one's sends go nowhere.
        var coordinator = 0
        var heard: AsyncStream<InboundFromWorkers>.Continuation?
        var cutsPerMille: UInt32 = 0
        var cuts = 0
        var delivered = 0

        mutating func word(below limit: Int) -> Int {
            draws += 1
            return Int(draw.block(draws).0 % UInt32(limit))
        }

        mutating func newPeer() -> PeerID {
            lastPeer += 1
            return PeerID(number: lastPeer)
        }
    }

    /// Messages that a worker's end queues before `send` waits.
    private static let room = 2
    private let state: Mutex<State>
    private let bell: AsyncStream<Void>.Continuation
    private let bells: AsyncStream<Void>
    /// Numbered moments, one for every so many deliveries.
    let moments: AsyncStream<Int>
    private let moment: AsyncStream<Int>.Continuation
    private static let deliveriesPerMoment = 100

    init(seed: UInt64, cutsPerMille: UInt32) {
        var state = State(draw: CounterRandom(key: seed))
        state.cutsPerMille = cutsPerMille
        self.state = Mutex(state)
        (bells, bell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        (moments, moment) = AsyncStream.makeStream()
    }

    var cuts: Int { state.withLock { $0.cuts } }

    /// Delivers until its task is cancelled.
    func pump() async {
        for await _ in bells {
            while deliverOne() { await Task.yield() }
        }
    }

    private func deliverOne() -> Bool {
        let (isDone, freed) = state.withLock { state -> (Bool, [CheckedContinuation<Void, Never>]) in
            let busy = state.pipes.indices.filter { index in
                !state.pipes[index].down.isEmpty || (!state.pipes[index].up.isEmpty && state.heard != nil)
            }
            guard !busy.isEmpty else { return (true, []) }
            state.delivered += 1
            if state.delivered % Loopback.deliveriesPerMoment == 0 {
                moment.yield(state.delivered / Loopback.deliveriesPerMoment)
            }
            let index = busy[state.word(below: busy.count)]
            if state.word(below: 1_000) < state.cutsPerMille { cut(&state, index) }
            let hasUp = !state.pipes[index].up.isEmpty && state.heard != nil
            let takesUp = hasUp && (state.pipes[index].down.isEmpty || state.word(below: 2) == 0)
            if takesUp {
                let message = state.pipes[index].up.removeFirst()
                state.heard?.yield(.message(state.pipes[index].peer, message))
            } else if !state.pipes[index].down.isEmpty {
                state.pipes[index].heard.yield(.message(state.pipes[index].down.removeFirst()))
            }
            return (false, refill(&state.pipes[index]))
        }
        for waiter in freed { waiter.resume() }
        return !isDone
    }

    private func cut(_ state: inout State, _ index: Int) {
        state.cuts += 1
        state.pipes[index].down = []
        let lost = state.word(below: state.pipes[index].up.count + 1)
        state.pipes[index].up.removeFirst(lost)
        state.pipes[index].peer = state.newPeer()
    }

    // MARK: Ends

    func connect() -> LoopbackWorker {
        let (inbound, heard) = AsyncStream<InboundFromCoordinator>.makeStream()
        let index = state.withLock { state in
            state.pipes.append(Pipe(peer: state.newPeer(), heard: heard))
            return state.pipes.count - 1
        }
        return LoopbackWorker(inbound: inbound, hub: self, index: index)
    }

    /// The end of a new coordinator.
    func listen() -> LoopbackCoordinator {
        let (inbound, heard) = AsyncStream<InboundFromWorkers>.makeStream()
        let number = state.withLock { state in
            state.heard = heard
            state.coordinator += 1
            return state.coordinator
        }
        bell.yield()
        return LoopbackCoordinator(inbound: inbound, hub: self, number: number)
    }

    /// The coordinator is dead: what it says goes nowhere, and every connection breaks.
    func silence() {
        state.withLock { state in
            state.heard?.finish()
            state.heard = nil
            state.coordinator += 1
            for index in state.pipes.indices { cut(&state, index) }
        }
    }

    fileprivate func send(_ message: CoordinatorMessage, to peer: PeerID, from number: Int) {
        state.withLock { state in
            guard number == state.coordinator else { return }
            guard let index = state.pipes.firstIndex(where: { $0.peer == peer && !$0.isClosed }) else {
                state.heard?.yield(.unreachable(peer))
                return
            }
            state.pipes[index].down.append(message)
        }
        bell.yield()
    }

    fileprivate func send(_ message: WorkerMessage, from index: Int) async {
        await withCheckedContinuation { sender in
            let isTaken = state.withLock { state in
                if state.pipes[index].isClosed { return true }
                guard state.pipes[index].waiting.isEmpty, state.pipes[index].up.count < Loopback.room else {
                    state.pipes[index].waiting.append((message, sender))
                    return false
                }
                state.pipes[index].up.append(message)
                return true
            }
            if isTaken { sender.resume() }
        }
        bell.yield()
    }

    private func refill(_ pipe: inout Pipe) -> [CheckedContinuation<Void, Never>] {
        var freed: [CheckedContinuation<Void, Never>] = []
        while pipe.up.count < Loopback.room, !pipe.waiting.isEmpty {
            let (message, sender) = pipe.waiting.removeFirst()
            pipe.up.append(message)
            freed.append(sender)
        }
        return freed
    }

    fileprivate func close(_ index: Int) {
        let waiting = state.withLock { state in
            state.pipes[index].isClosed = true
            state.pipes[index].down = []
            state.pipes[index].heard.finish()
            defer { state.pipes[index].waiting = [] }
            return state.pipes[index].waiting
        }
        for waiter in waiting { waiter.sender.resume() }
    }
}

struct LoopbackCoordinator: CoordinatorEndpoint {
    let inbound: AsyncStream<InboundFromWorkers>
    let hub: Loopback
    let number: Int
    func send(_ message: CoordinatorMessage, to peer: PeerID) {
        hub.send(message, to: peer, from: number)
    }
    func close() async {}
}

struct LoopbackWorker: WorkerEndpoint {
    let inbound: AsyncStream<InboundFromCoordinator>
    let hub: Loopback
    let index: Int
    func send(_ message: WorkerMessage) async { await hub.send(message, from: index) }
    func close() async { hub.close(index) }
}
