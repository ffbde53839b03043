import CZeroMQ
import Glibc
import MMedCore
import MMedProtocol

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
final class Door {
    /// What is asked, and whom the answer goes back to.
    struct Question {
        let envelope: [UInt8]
        let frames: [[UInt8]]
    }

    enum Event {
        case question(Question)
        /// The time has come that was waited for.
        case late
        /// The bell rang, or the context ends.
        case over
    }

    private let socket: UnsafeMutableRawPointer
    private var isClosed = false

    init(in context: WireContext) throws(MMedError) {
        guard let socket = zmq_socket(context.handle, ZMQ_ROUTER) else {
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

    /// Waits for the next question, and no longer than that.
    func next(_ bell: Bell, until due: ContinuousClock.Instant?) -> Event {
        while true {
            var items = [
                zmq_pollitem_t(socket: nil, fd: bell.descriptor, events: Int16(ZMQ_POLLIN), revents: 0),
                zmq_pollitem_t(socket: socket, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0),
            ]
            let patience =
                due.map { max(0, Int(ContinuousClock.now.duration(to: $0) / Duration.milliseconds(1)) + 1) } ?? -1
            guard zmq_poll(&items, 2, patience) >= 0 || zmq_errno() == EINTR else { return .over }
            if items[0].revents != 0 { return .over }
            if items[1].revents != 0 {
                // Behind the envelope and an empty frame, as a REP socket would strip them; it could not answer out of turn.
                guard let frames = receive(), frames.count > 2, frames[1].isEmpty else { return .over }
                return .question(Question(envelope: frames[0], frames: Array(frames.dropFirst(2))))
            }
            if let due, due <= .now { return .late }
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
    func answer(_ question: Question, _ id: [UInt8], _ identity: Identity?) -> Bool {
        let (code, text) = identity == nil ? ("400", "this key is not allowed") : ("200", "")
        let user = Array((identity?.key.text ?? "").utf8)
        let parts = [question.envelope, [], ZapRequest.version, id, Array(code.utf8), Array(text.utf8), user, []]
        for (index, part) in parts.enumerated() {
            let flags = index + 1 < parts.count ? ZMQ_SNDMORE : 0
            while part.withUnsafeBytes({ zmq_send(socket, $0.baseAddress, $0.count, flags) }) < 0 {
                if zmq_errno() != EINTR { return false }
            }
        }
        return true
    }
}
