public import MMedProtocol
import CZeroMQ
import Glibc
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
        while let frames = door.next(bell) {
            // Not to be answered: better to end than to leave a question open that lets somebody in.
            guard let request = ZapRequest(frames) else { return }
            let found = request.key.flatMap { look($0.text).identity }
            guard door.answer(request.id, found) else { return }
            if found == nil { refused(request) }
        }
    }

    private func refused(_ request: ZapRequest) {
        let now = ContinuousClock.now
        let (count, mustReport) = state.withLock { state -> (UInt64, Bool) in
            if let probe = state.probe, probe == request.key { return (0, false) }
            state.refusals += 1
            if let last = state.reportedAt, now - last < Gatekeeper.reportInterval { return (state.refusals, false) }
            state.reportedAt = now
            return (state.refusals, true)
        }
        guard mustReport else { return }
        onRefusal(KeyRefusal(key: request.key, address: request.address, count: count))
    }

    private func ended() {
        state.withLock { $0.hasEnded = true }
        wakes.ring()
    }
}

/// A ZeroMQ context.
// Sendable: `handle` never changes, and ZeroMQ allows every call on a context from any thread.
struct WireContext: @unchecked Sendable {
    let handle: UnsafeMutableRawPointer
}

/// What ZeroMQ asks about a connection.
struct ZapRequest: Equatable {
    /// Comes back with the answer.
    let id: [UInt8]
    let address: String
    /// The connection's key; nil when it is no CURVE connection of this endpoint's domain.
    let key: PublicKey?

    static let version = Array("1.0".utf8)
    static let domain = "mmed"

    /// Nil when nobody could answer it.
    init?(_ frames: [[UInt8]]) {
        guard frames.count >= 6, frames[0] == ZapRequest.version else { return nil }
        id = frames[1]
        address = String(decoding: frames[3].prefix(64), as: UTF8.self)
        let isOurs = frames[2] == Array(ZapRequest.domain.utf8) && frames[5] == Array("CURVE".utf8)
        key = isOurs && frames.count == 7 && frames[6].count == 32 ? Z85.encode(frames[6]).flatMap(PublicKey.init) : nil
    }
}

/// The socket at which ZeroMQ asks. Made by one thread and handed to the gatekeeper's.
private final class Door {
    private let socket: UnsafeMutableRawPointer
    private var isClosed = false

    init(in context: WireContext) throws(MMedError) {
        guard let socket = zmq_socket(context.handle, ZMQ_REP) else {
            throw MMedError(
                .tryAgain, "no ZeroMQ socket for the gatekeeper: \(describe(zmq_errno()))",
                mend: "raise the limit of open files (ulimit -n)")
        }
        self.socket = socket
        var linger: Int32 = 0
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, 4)
        guard zmq_bind(socket, "inproc://zeromq.zap.01") == 0 else {
            let code = zmq_errno()
            zmq_close(socket)
            throw MMedError(.internalError, "the gatekeeper has no place to answer: \(describe(code))")
        }
    }

    deinit { close() }

    func close() {
        if !isClosed { zmq_close(socket) }
        isClosed = true
    }

    /// Waits for the next question; nil when the bell rings or the context ends.
    func next(_ bell: Bell) -> [[UInt8]]? {
        while true {
            var items = [
                zmq_pollitem_t(socket: nil, fd: bell.descriptor, events: Int16(ZMQ_POLLIN), revents: 0),
                zmq_pollitem_t(socket: socket, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0),
            ]
            guard zmq_poll(&items, 2, -1) >= 0 || zmq_errno() == EINTR else { return nil }
            if items[0].revents != 0 { return nil }
            guard items[1].revents != 0 else { continue }
            return receive()
        }
    }

    private func receive() -> [[UInt8]]? {
        var frames: [[UInt8]] = []
        var more = true
        while more {
            var message = zmq_msg_t()
            zmq_msg_init(&message)
            defer { zmq_msg_close(&message) }
            while zmq_msg_recv(&message, socket, 0) < 0 {
                if zmq_errno() != EINTR { return nil }
            }
            frames.append(Array(UnsafeRawBufferPointer(start: zmq_msg_data(&message), count: zmq_msg_size(&message))))
            more = zmq_msg_more(&message) != 0
        }
        return frames
    }

    /// Lets in who has an identity, under the text of its key. False when the answer could not be given.
    func answer(_ id: [UInt8], _ identity: Identity?) -> Bool {
        let (code, text) = identity == nil ? ("400", "this key is not allowed") : ("200", "")
        let user = Array((identity?.key.text ?? "").utf8)
        let parts = [ZapRequest.version, id, Array(code.utf8), Array(text.utf8), user, []]
        for (index, part) in parts.enumerated() {
            let flags = index + 1 < parts.count ? ZMQ_SNDMORE : 0
            while part.withUnsafeBytes({ zmq_send(socket, $0.baseAddress, $0.count, flags) }) < 0 {
                if zmq_errno() != EINTR { return false }
            }
        }
        return true
    }
}
