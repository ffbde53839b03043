import CZeroMQ
import Glibc
import MMedCore
import MMedProtocol

/// A ZeroMQ socket with its context. It is made by one thread and then handed to the thread that owns it; no other may touch it.
final class WireSocket {
    enum Kind {
        /// The coordinator's: every message is preceded by the routing id of its peer.
        case router
        /// A worker's.
        case dealer
    }

    enum SendOutcome {
        case sent
        case full
        case unreachable
    }

    /// How a connection is protected.
    enum Security {
        /// Not at all: this machine only.
        case open
        /// Workers prove their keys to the gatekeeper, and the coordinator proves its own.
        case coordinator(SecretKey, Gatekeeper)
        /// The worker proves its key, and takes no other coordinator than that of the key it has pinned.
        case worker(KeyPair, coordinator: PublicKey)
    }

    /// A whole message as it came.
    struct Received {
        /// Empty on a dealer.
        var routingID: [UInt8]
        var body: [UInt8]
        /// Parts behind the routing id; the protocol knows one.
        var partCount: Int
        /// On a router with keys: the key that the gatekeeper let in, as text. Nil where nobody was asked.
        var userID: String?
        /// On a router: the connection's descriptor, which ZeroMQ owns; -1 when it does not tell.
        var descriptor: Int32 = -1
    }

    private let kind: Kind
    private let context: UnsafeMutableRawPointer
    private let socket: UnsafeMutableRawPointer
    private let gatekeeper: Gatekeeper?
    private var monitor: HandshakeMonitor?
    /// Where there is a gatekeeper: tells when the socket and all its connections are gone.
    private var farewell: SocketFarewell?

    /// With `watchesHandshakes` the owner must take what `nextHandshake` has before each wait, or the wait is none.
    init(
        _ kind: Kind, ipv6: Bool = false, security: Security = .open, watchesHandshakes: Bool = false
    ) throws(MMedError) {
        self.kind = kind
        if case .coordinator(_, let keeper) = security { gatekeeper = keeper } else { gatekeeper = nil }
        let mend = "raise the limit of open files (ulimit -n)"
        guard let context = zmq_ctx_new() else {
            throw MMedError(.tryAgain, "no ZeroMQ context: \(describe(zmq_errno()))", mend: mend)
        }
        guard let socket = zmq_socket(context, kind == .router ? ZMQ_ROUTER : ZMQ_DEALER) else {
            let code = zmq_errno()
            zmq_ctx_term(context)
            throw MMedError(.tryAgain, "no ZeroMQ socket: \(describe(code))", mend: mend)
        }
        (self.context, self.socket) = (context, socket)
        guard setOptions(ipv6: ipv6), protect(security) else {
            let code = zmq_errno()
            close(lingerMilliseconds: 0)
            throw MMedError(.internalError, "ZeroMQ refuses a socket option: \(describe(code))")
        }
        do {
            // Before the first connection: without an answer at the door ZeroMQ lets everybody in.
            if let gatekeeper {
                farewell = try SocketFarewell(of: socket, in: context)
                try gatekeeper.open(in: WireContext(handle: context))
            }
            if watchesHandshakes { monitor = try HandshakeMonitor(of: socket, in: context) }
        } catch {
            close(lingerMilliseconds: 0)
            throw error
        }
    }

    private func protect(_ security: Security) -> Bool {
        switch security {
        case .open: return true
        case .coordinator(let secret, _):
            var isServer: Int32 = 1
            let domain = ZapRequest.domain
            return zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &isServer, 4) == 0
                && zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret.bytes, secret.bytes.count) == 0
                && zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, domain, domain.utf8.count) == 0
        case .worker(let pair, let coordinator):
            let keys = [
                (ZMQ_CURVE_SERVERKEY, coordinator.bytes), (ZMQ_CURVE_PUBLICKEY, pair.publicKey.bytes),
                (ZMQ_CURVE_SECRETKEY, pair.secretKey.bytes),
            ]
            return keys.allSatisfy { option, key in zmq_setsockopt(socket, option, key, key.count) == 0 }
        }
    }

    /// docs/PROTOCOL.md, socket options.
    private func setOptions(ipv6: Bool) -> Bool {
        var frameBytes = Int64(Limits.frameBytes)
        guard zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frameBytes, 8) == 0 else { return false }
        let highWaterMark = Int32(Limits.highWaterMark)
        var options: [(Int32, Int32)] = [
            (ZMQ_SNDHWM, highWaterMark), (ZMQ_RCVHWM, highWaterMark), (ZMQ_HANDSHAKE_IVL, 1000), (ZMQ_LINGER, 0),
            (ZMQ_IPV6, ipv6 ? 1 : 0),
        ]
        // No heartbeats of ZeroMQ: libzmq 4.3.4 ends the process (`Assertion failed: !_io_error`) when one is due on a connection
        // that broke while its input waited at the high water mark, which any peer could arrange. TCP's own probes find a
        // connection that fell silent, and the beats of the protocol a peer that did.
        options += [
            (ZMQ_TCP_KEEPALIVE, 1), (ZMQ_TCP_KEEPALIVE_IDLE, 5), (ZMQ_TCP_KEEPALIVE_INTVL, 2),
            (ZMQ_TCP_KEEPALIVE_CNT, 3),
            (ZMQ_TCP_MAXRT, 10_000),
        ]
        switch kind {
        case .router: options += [(ZMQ_ROUTER_MANDATORY, 1), (ZMQ_ROUTER_HANDOVER, 0)]
        case .dealer:
            options += [(ZMQ_IMMEDIATE, 1), (ZMQ_RECONNECT_IVL, 100), (ZMQ_RECONNECT_IVL_MAX, 500)]
        }
        return options.allSatisfy { option, value in
            var value = value
            return zmq_setsockopt(socket, option, &value, 4) == 0
        }
    }

    /// Listens, and says where: the text of the address with its real port.
    func bind(_ address: WireAddress) throws(MMedError) -> String {
        if let path = address.path, mmed_unix_socket_answers(path) != 0 { throw WireSocket.inUse(address) }
        guard zmq_bind(socket, address.endpoint) == 0 else {
            let code = zmq_errno()
            if code == EADDRINUSE { throw WireSocket.inUse(address) }
            throw MMedError(
                .badConfig, at: address.text, "cannot listen here: \(describe(code))", mend: "choose another address")
        }
        var name = [CChar](repeating: 0, count: 256)
        var size = name.count
        guard zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, &name, &size) == 0 else { return address.text }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func inUse(_ address: WireAddress) -> MMedError {
        MMedError(
            .tryAgain, at: address.text, "another process listens here",
            mend: "stop it (another mmed-coord?) or choose another address; port 0 takes a free one")
    }

    func connect(_ address: WireAddress) throws(MMedError) {
        guard zmq_connect(socket, address.endpoint) == 0 else {
            throw MMedError(
                .badConfig, at: address.text, "cannot connect: \(describe(zmq_errno()))",
                mend: "give the address that mmed-coord printed")
        }
    }

    /// Connects anew where ZeroMQ has given up; one that has not is connected once more, not twice.
    func reconnect(_ address: WireAddress) {
        zmq_disconnect(socket, address.endpoint)
        zmq_connect(socket, address.endpoint)
    }

    /// What became of the handshakes since the last call, one at a time.
    func nextHandshake() -> HandshakeEvent? { monitor?.next() }

    /// Sends a whole message without waiting.
    func send(_ body: [UInt8], to routingID: [UInt8] = []) -> SendOutcome {
        if kind == .router {
            let outcome = sendPart(routingID, ZMQ_DONTWAIT | ZMQ_SNDMORE)
            guard outcome == .sent else { return outcome }
        }
        return sendPart(body, ZMQ_DONTWAIT)
    }

    func sendPart(_ part: [UInt8], _ flags: Int32) -> SendOutcome {
        while true {
            if part.withUnsafeBytes({ zmq_send(socket, $0.baseAddress, $0.count, flags) }) >= 0 { return .sent }
            switch zmq_errno() {
            case EINTR: continue
            case EAGAIN: return .full
            default: return .unreachable
            }
        }
    }

    /// Takes a whole message without waiting; nil when there is none.
    func receive() -> Received? {
        guard var part = receivePart() else { return nil }
        var received = Received(routingID: [], body: [], partCount: 0)
        if kind == .router {
            received.routingID = part.bytes
            guard part.more, let next = receivePart() else { return received }
            part = next
        }
        // The part in front, which ZeroMQ makes itself, does not always carry them.
        (received.userID, received.descriptor) = (part.userID, part.descriptor)
        received.body = part.bytes
        received.partCount = 1
        while part.more, let next = receivePart() {
            received.partCount += 1
            part = next
        }
        return received
    }

    private func receivePart() -> (bytes: [UInt8], more: Bool, userID: String?, descriptor: Int32)? {
        var message = zmq_msg_t()
        zmq_msg_init(&message)
        defer { zmq_msg_close(&message) }
        while zmq_msg_recv(&message, socket, ZMQ_DONTWAIT) < 0 {
            if zmq_errno() != EINTR { return nil }
        }
        let bytes = Array(UnsafeRawBufferPointer(start: zmq_msg_data(&message), count: zmq_msg_size(&message)))
        let userID = gatekeeper == nil ? nil : zmq_msg_gets(&message, "User-Id").map { String(cString: $0) }
        return (bytes, zmq_msg_more(&message) != 0, userID, zmq_msg_get(&message, ZMQ_SRCFD))
    }

    /// Ends the connection that a message came on: a ROUTER has no word for it, so its descriptor is shut down, which ZeroMQ
    /// takes for a peer that hung up. Should the number belong to another connection by now, that one only reconnects. It may
    /// also belong to a socket that listens, which is left alone: libzmq 4.3.4 ends the process (`Invalid argument`) when one
    /// of its own no longer does. The copy holds on to what was looked at, whoever takes the number meanwhile.
    static func hangUp(_ descriptor: Int32) {
        guard descriptor >= 0 else { return }
        // Without a descriptor for the copy the number itself must do: who opens many connections must not be safe for it.
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        let looked = copy >= 0 ? copy : descriptor
        var listens: Int32 = 1
        var size = socklen_t(4)
        let isKnown = getsockopt(looked, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0
        if isKnown, listens == 0 { shutdown(looked, Int32(SHUT_RDWR)) }
        if copy >= 0 { Glibc.close(copy) }
    }

    /// Sleeps until the bell rings, the socket can do what is asked, or the time is over (-1: never).
    func wait(bell: Bell, forInput: Bool, forOutput: Bool, milliseconds: Int) {
        let input = Int16(ZMQ_POLLIN)
        let events = (forInput ? ZMQ_POLLIN : 0) | (forOutput ? ZMQ_POLLOUT : 0)
        var items = [
            zmq_pollitem_t(socket: nil, fd: bell.descriptor, events: input, revents: 0)
        ]
        if let monitor { items.append(zmq_pollitem_t(socket: monitor.socket, fd: 0, events: input, revents: 0)) }
        if events != 0 { items.append(zmq_pollitem_t(socket: socket, fd: 0, events: Int16(events), revents: 0)) }
        let count = zmq_poll(&items, Int32(items.count), milliseconds)
        if count > 0, items[0].revents != 0 { bell.silence() }
    }

    /// Closes; what ZeroMQ still holds may leave within the given time.
    func close(lingerMilliseconds: Int) {
        var linger = Int32(clamping: lingerMilliseconds)
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, 4)
        monitor?.close()
        zmq_close(socket)
        // ZeroMQ closes on a thread of its own, and who comes while nobody can be asked is let in: the gatekeeper goes last.
        farewell?.wait(milliseconds: lingerMilliseconds + Limits.closeMilliseconds)
        gatekeeper?.stop()
        while zmq_ctx_term(context) != 0, zmq_errno() == EINTR {}
    }
}
