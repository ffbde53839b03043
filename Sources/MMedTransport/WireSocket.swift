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

    /// A whole message as it came.
    struct Received {
        /// Empty on a dealer.
        var routingID: [UInt8]
        var body: [UInt8]
        /// Parts behind the routing id; the protocol knows one.
        var partCount: Int
        /// Of the connection it came on; negative where ZeroMQ does not say.
        var descriptor: Int32 = -1
    }

    private let kind: Kind
    private let context: UnsafeMutableRawPointer
    private let socket: UnsafeMutableRawPointer

    init(_ kind: Kind, ipv6: Bool = false) throws(MMedError) {
        self.kind = kind
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
        guard setOptions(ipv6: ipv6) else {
            let code = zmq_errno()
            close(lingerMilliseconds: 0)
            throw MMedError(.internalError, "ZeroMQ refuses a socket option: \(describe(code))")
        }
    }

    /// docs/PROTOCOL.md, socket options.
    private func setOptions(ipv6: Bool) -> Bool {
        var frameBytes = Int64(Limits.frameBytes)
        guard zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frameBytes, 8) == 0 else { return false }
        let highWaterMark = Int32(Limits.highWaterMark)
        var options: [(Int32, Int32)] = [
            (ZMQ_SNDHWM, highWaterMark), (ZMQ_RCVHWM, highWaterMark), (ZMQ_HANDSHAKE_IVL, 1000),
            (ZMQ_HEARTBEAT_IVL, 1000), (ZMQ_HEARTBEAT_TIMEOUT, 3000), (ZMQ_HEARTBEAT_TTL, 3000), (ZMQ_LINGER, 0),
            (ZMQ_IPV6, ipv6 ? 1 : 0),
        ]
        switch kind {
        case .router: options += [(ZMQ_ROUTER_MANDATORY, 1), (ZMQ_ROUTER_HANDOVER, 0)]
        case .dealer: options += [(ZMQ_IMMEDIATE, 1), (ZMQ_RECONNECT_IVL, 100), (ZMQ_RECONNECT_IVL_MAX, 5000)]
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
            mend: "stop it (another mmed-coord?) or choose another address; port * takes a free one")
    }

    func connect(_ address: WireAddress) throws(MMedError) {
        guard zmq_connect(socket, address.endpoint) == 0 else {
            throw MMedError(
                .badConfig, at: address.text, "cannot connect: \(describe(zmq_errno()))",
                mend: "give the address that mmed-coord printed")
        }
    }

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
        received.body = part.bytes
        received.descriptor = part.descriptor
        received.partCount = 1
        while part.more, let next = receivePart() {
            received.partCount += 1
            part = next
        }
        return received
    }

    private func receivePart() -> (bytes: [UInt8], more: Bool, descriptor: Int32)? {
        var message = zmq_msg_t()
        zmq_msg_init(&message)
        defer { zmq_msg_close(&message) }
        while zmq_msg_recv(&message, socket, ZMQ_DONTWAIT) < 0 {
            if zmq_errno() != EINTR { return nil }
        }
        let bytes = Array(UnsafeRawBufferPointer(start: zmq_msg_data(&message), count: zmq_msg_size(&message)))
        return (bytes, zmq_msg_more(&message) != 0, zmq_msg_get(&message, ZMQ_SRCFD))
    }

    /// Ends the connection that a message came on: a ROUTER has no word for it, so its descriptor is shut down, which ZeroMQ
    /// takes for a peer that hung up. Should the number belong to another connection by now, that one only reconnects.
    func hangUp(_ descriptor: Int32) {
        if descriptor >= 0 { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }

    /// Sleeps until the bell rings, the socket can do what is asked, or the time is over (-1: never).
    func wait(bell: Bell, forInput: Bool, forOutput: Bool, milliseconds: Int) {
        let events = (forInput ? ZMQ_POLLIN : 0) | (forOutput ? ZMQ_POLLOUT : 0)
        var items = [
            zmq_pollitem_t(socket: nil, fd: bell.descriptor, events: Int16(ZMQ_POLLIN), revents: 0),
            zmq_pollitem_t(socket: socket, fd: 0, events: Int16(events), revents: 0),
        ]
        let count = zmq_poll(&items, events == 0 ? 1 : 2, milliseconds)
        if count > 0, items[0].revents != 0 { bell.silence() }
    }

    /// Closes; what ZeroMQ still holds may leave within the given time.
    func close(lingerMilliseconds: Int) {
        var linger = Int32(clamping: lingerMilliseconds)
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, 4)
        zmq_close(socket)
        while zmq_ctx_term(context) != 0, zmq_errno() == EINTR {}
    }
}
