import CZeroMQ
import Glibc
import MMedCore

/// What became of a worker's tries to open a connection, as ZeroMQ tells.
enum HandshakeEvent: Equatable {
    case succeeded
    /// The other end does not take the key. ZeroMQ does not try again after this.
    case keyRefused
    /// One end has keys and the other has none, or it speaks something else. ZeroMQ does not try again after this.
    case otherMechanism
    /// It broke off without a reason; ZeroMQ tries again.
    case brokenOff
    /// A connection is gone, whether or not its handshake was over; ZeroMQ tries again unless it was refused.
    case disconnected
}

/// Hears the handshakes of one socket, on the thread that owns it.
final class HandshakeMonitor {
    private let watched: UnsafeMutableRawPointer
    let socket: UnsafeMutableRawPointer

    init(of watched: UnsafeMutableRawPointer, in context: UnsafeMutableRawPointer) throws(MMedError) {
        self.watched = watched
        let place = "inproc://mmed-handshakes"
        let events =
            ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
            | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_DISCONNECTED
        socket = try monitorEnd(of: watched, in: context, at: place, events, what: "handshakes")
    }

    /// The next event that was not taken yet; nil when there is none.
    func next() -> HandshakeEvent? {
        while true {
            var head = [UInt8](repeating: 0, count: 6)
            guard zmq_recv(socket, &head, head.count, ZMQ_DONTWAIT) == 6 else { return nil }
            var address = [UInt8](repeating: 0, count: 256)
            _ = zmq_recv(socket, &address, address.count, ZMQ_DONTWAIT)
            switch Int32(head[0]) | Int32(head[1]) << 8 {
            case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: return .succeeded
            case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return .keyRefused
            case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL: return .otherMechanism
            case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL: return .brokenOff
            case ZMQ_EVENT_DISCONNECTED: return .disconnected
            default: continue
            }
        }
    }

    func close() {
        zmq_socket_monitor(watched, nil, 0)
        zmq_close(socket)
    }
}

/// Hears that ZeroMQ has taken a closed socket apart, with its listener and every connection: the last event of its monitor.
final class SocketFarewell {
    private let socket: UnsafeMutableRawPointer

    init(of watched: UnsafeMutableRawPointer, in context: UnsafeMutableRawPointer) throws(MMedError) {
        socket = try monitorEnd(
            of: watched, in: context, at: "inproc://mmed-farewell", ZMQ_EVENT_MONITOR_STOPPED, what: "the socket's end")
    }

    /// Waits for the event, no longer than that, and is used up.
    func wait(milliseconds: Int) {
        var item = zmq_pollitem_t(socket: socket, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0)
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: .milliseconds(milliseconds))
        while true {
            let left = Int(clock.now.duration(to: deadline) / Duration.milliseconds(1))
            if left < 0 || zmq_poll(&item, 1, left) >= 0 || zmq_errno() != EINTR { break }
        }
        zmq_close(socket)
    }
}

/// The end at which events of a socket are heard. A socket has one monitor, and its events have one hearer.
private func monitorEnd(
    of watched: UnsafeMutableRawPointer, in context: UnsafeMutableRawPointer, at place: String, _ events: Int32,
    what: String
) throws(MMedError) -> UnsafeMutableRawPointer {
    func refused() -> MMedError {
        MMedError(
            .tryAgain, "ZeroMQ does not tell of \(what): \(describe(zmq_errno()))",
            mend: "raise the limit of open files (ulimit -n)")
    }
    guard zmq_socket_monitor(watched, place, events) == 0, let socket = zmq_socket(context, ZMQ_PAIR) else {
        throw refused()
    }
    var linger: Int32 = 0
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, 4)
    guard zmq_connect(socket, place) == 0 else {
        let error = refused()
        zmq_socket_monitor(watched, nil, 0)
        zmq_close(socket)
        throw error
    }
    return socket
}
