public import MMedProtocol
import MMedCore
import MMedLocks
import MMedLocks

/// A connection that was refused at the door.
public struct KeyRefusal: Sendable {
    /// The stranger's public key, which anybody can make; nil when it showed none.
    public let key: PublicKey?
    /// Where it called from, as ZeroMQ says.
    public let address: String
    /// Refusals since the start, this one included: not each is reported.
    public let count: UInt64
}

/// Decides at the door which keys may open a connection: ZeroMQ's authentication protocol (ZAP, RFC 27) on a thread of its
/// own. ZeroMQ lets everybody in when nobody answers there, so nothing may rest on this thread alone: every message is
/// held against the same list again, and the endpoint ends when the thread does.
final class Gatekeeper: Sendable {
    private struct State: Sendable {
        var list: AllowList
        /// Counts the lists, so that the socket's thread sees a new one.
        var edition = 0
        var hasEnded = false
        var refusals: UInt64 = 0
        var reportedAt: ContinuousClock.Instant?
        /// The key of the self-test, whose refusal is no news.
        var probe: PublicKey?
    }

    private let state: Locked<State>
    /// Tells the thread to end.
    private let bell: Bell
    /// Wakes the thread that owns the endpoint's socket.
    private let wakes: Bell
    private let onRefusal: @Sendable (KeyRefusal) -> Void
    /// Refusals are reported so often: a flood of strangers must not fill a log.
    private static let reportInterval = Duration.seconds(1)
    /// A stranger waits so long for its refusal, well below the second that a handshake may last: who knocks again and again
    /// costs a handshake as seldom as that, where it would cost five hundred a second.
    static let refusalDelay = Duration.milliseconds(250)
    /// So many refusals are held back at once; beyond that the oldest goes out.
    private static let refusalsHeld = 1_024

    init(_ list: AllowList, wakes: Bell, onRefusal: @escaping @Sendable (KeyRefusal) -> Void) throws(MMedError) {
        state = Locked(State(list: list))
        bell = try Bell()
        self.wakes = wakes
        self.onRefusal = onRefusal
    }

    /// True once the thread has ended, for whatever reason.
    var hasEnded: Bool { state.withLock { $0.hasEnded } }
    /// Grows with each new list.
    var edition: Int { state.withLock { $0.edition } }
    /// Refusals since the start.
    var refusals: UInt64 { state.withLock { $0.refusals } }

    /// From the return of this call on, no message of a key that is not on the list is taken.
    func replace(_ list: AllowList) {
        state.withLock { state in
            state.list = list
            state.edition += 1
        }
        wakes.ring()
    }

    func expect(_ probe: PublicKey) { state.withLock { $0.probe = probe } }

    /// Who sent a message with this `User-Id`, nil when it may not; and the edition of the list that says so.
    func look(_ userID: String) -> (identity: Identity?, edition: Int) {
        state.withLock { ($0.list.identity(of: userID), $0.edition) }
    }

    func admits(_ identity: Identity) -> Bool { state.withLock { $0.list.admits(identity) } }

    /// False for what a peer said before its key left the list.
    func mayTake(_ inbound: InboundFromWorkers) -> Bool {
        switch inbound {
        case .message(let peer, _), .malformed(let peer, _), .otherVersion(let peer, _, _):
            peer.identity.map(admits) ?? true
        case .unreachable, .closed: true
        }
    }

    // MARK: The thread

    /// Takes the place that ZeroMQ asks in this context, before a socket of it listens, and starts the thread.
    func open(in context: WireContext) throws(MMedError) {
        let door = try Door(in: context)
        try startThread(named: "mmed-zap") { [self] in serve(door) }
    }

    /// Ends the thread, without waiting. ZeroMQ lets in whoever comes after this: only when the socket is gone.
    func stop() { bell.ring() }

    private func serve(_ door: Door) {
        defer {
            door.close()
            ended()
        }
        var held = Fifo<(question: Door.Question, id: [UInt8], due: ContinuousClock.Instant)>()
        while true {
            switch door.next(bell, until: held.first?.due) {
            case .over: return
            case .late: break
            case .question(let question):
                // Not to be answered: better to end than to leave a question open that lets somebody in.
                guard let request = ZapRequest(question.frames) else { return }
                let found = request.key.flatMap { look($0.text).identity }
                if found == nil, refused(request) {
                    held.append((question, request.id, .now + Gatekeeper.refusalDelay))
                } else {
                    guard door.answer(question, request.id, found) else { return }
                }
            }
            while let first = held.first, first.due <= .now || held.count > Gatekeeper.refusalsHeld {
                _ = held.popFirst()
                guard door.answer(first.question, first.id, nil) else { return }
            }
        }
    }

    /// Counts a refusal, and reports it now and then. False for the self-test, which nobody needs to hold back.
    private func refused(_ request: ZapRequest) -> Bool {
        let now = ContinuousClock.now
        let report = state.withLock { state -> (count: UInt64, isDue: Bool)? in
            if let probe = state.probe, probe == request.key { return nil }
            state.refusals += 1
            if let last = state.reportedAt, now - last < Gatekeeper.reportInterval { return (state.refusals, false) }
            state.reportedAt = now
            return (state.refusals, true)
        }
        guard let report else { return false }
        if report.isDue { onRefusal(KeyRefusal(key: request.key, address: request.address, count: report.count)) }
        return true
    }

    private func ended() {
        state.withLock { $0.hasEnded = true }
        wakes.ring()
    }
}
