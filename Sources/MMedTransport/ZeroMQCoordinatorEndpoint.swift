public import MMedCore
public import MMedProtocol
import MMedCodec

/// The coordinator's end of the wire on a ZeroMQ ROUTER socket. One thread owns the socket.
public final class ZeroMQCoordinatorEndpoint: CoordinatorEndpoint {
    /// Everything that arrives, in order for each peer, for one reader; it ends when the endpoint closes or its reader is cancelled.
    public let inbound: AsyncStream<InboundFromWorkers>
    /// Where it listens, with the real port.
    public let boundAddress: String

    private let mailbox: Mailbox<CoordinatorSide.Letter>
    private let queue: InboundQueue<InboundFromWorkers>

    /// Listens at `tcp://127.0.0.1:PORT` (port 0 takes a free one) or `ipc://PATH`.
    /// - Throws: `badConfig` for an address that is not loopback or ipc, `tryAgain` when another process listens there.
    public init(listeningAt address: String) throws(MMedError) {
        let address = try WireAddress(address, for: .listening)
        let bell = try Bell()
        let socket = try WireSocket(.router, ipv6: address.usesIPv6)
        do {
            boundAddress = try socket.bind(address)
        } catch {
            socket.close(lingerMilliseconds: 0)
            throw error
        }
        let mailbox = Mailbox<CoordinatorSide.Letter>(bell: bell, capacity: .max)
        let queue = InboundQueue<InboundFromWorkers>(bell: bell)
        (self.mailbox, self.queue, self.inbound) = (mailbox, queue, queue.stream)
        try startThread(named: "mmed-wire-coord") {
            SocketLoop.run(CoordinatorSide(mailbox: mailbox, inbound: queue), socket: socket, bell: bell)
        }
    }

    deinit { mailbox.requestClose() }

    /// Queues a message without waiting. Losing it is reported as `unreachable`, which is final for that peer id: the
    /// connection is gone, 32 MiB are queued for it, or the message breaks a rule of the protocol (then `malformed` gives the reason before).
    public func send(_ message: CoordinatorMessage, to peer: PeerID) {
        do {
            let frame = try MessageCodec.encode(message)
            mailbox.postNow(CoordinatorSide.Letter(peer: peer, frame: frame))
        } catch {
            queue.push(.malformed(peer, reason: "own message not sent: \(error)"))
            queue.push(.unreachable(peer))
        }
    }

    /// Sends what is queued, within a second, closes the socket and ends the stream.
    public func close() async { await mailbox.close() }
}
