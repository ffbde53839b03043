public import MMedCore
public import MMedProtocol
import MMedCodec

/// A worker's end of the wire on a ZeroMQ DEALER socket. One thread owns the socket; it reconnects by itself.
public final class ZeroMQWorkerEndpoint: WorkerEndpoint {
    /// Everything that arrives, in order, for one reader; it ends when the endpoint closes or its reader is cancelled.
    public let inbound: AsyncStream<InboundFromCoordinator>

    private let mailbox: Mailbox<[UInt8]>
    private let queue: InboundQueue<InboundFromCoordinator>

    /// Starts to connect; the coordinator need not be there yet. With a key the connection is encrypted, and no other
    /// coordinator is talked to than the one that the key file pins.
    /// - Throws: `badConfig` for an address beyond this machine without a key, `tryAgain` when the system has no descriptor or thread left.
    public init(connectingTo address: String, key: WorkerKey? = nil) throws(MMedError) {
        let address = try WireAddress(address, for: .connecting, hasKeys: key != nil)
        let bell = try Bell()
        let socket = try WireSocket(
            .dealer, ipv6: address.usesIPv6,
            security: key.map { .worker($0.pair, coordinator: $0.coordinator) } ?? .open, watchesHandshakes: true)
        do {
            try socket.connect(address)
        } catch {
            socket.close(lingerMilliseconds: 0)
            throw error
        }
        let mailbox = Mailbox<[UInt8]>(bell: bell, capacity: Limits.workerQueueBytes)
        let queue = InboundQueue<InboundFromCoordinator>(bell: bell)
        (self.mailbox, self.queue, self.inbound) = (mailbox, queue, queue.stream)
        try startThread(named: "mmed-wire-work") {
            let side = WorkerSide(address: address, hasKey: key != nil, mailbox: mailbox, inbound: queue)
            SocketLoop.run(side, socket: socket, bell: bell)
        }
    }

    deinit { mailbox.requestClose() }

    /// Waits while 8 MiB are queued, then queues the message; after `close` it is dropped. A message that breaks a rule
    /// of the protocol is not sent, and the stream says so.
    public func send(_ message: WorkerMessage) async {
        do {
            let frame = try MessageCodec.encode(message)
            await mailbox.post(frame, bytes: frame.count)
        } catch {
            queue.push(.malformed(reason: "own message not sent: \(error)"))
        }
    }

    /// Sends what is queued, within a second, closes the socket and ends the stream.
    public func close() async { await mailbox.close() }
}
