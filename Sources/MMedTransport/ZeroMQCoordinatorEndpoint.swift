public import MMedCore
public import MMedProtocol
import MMedCodec

/// What makes the coordinator's end of the wire a keyed one.
public struct CoordinatorKeys: Sendable {
    /// The coordinator's own key.
    public var key: CoordinatorKey
    /// Who may connect, to begin with.
    public var workers: AllowList
    /// Hears of strangers that were refused, at most once a second, on a thread of the transport; it must not wait.
    public var onRefusal: @Sendable (KeyRefusal) -> Void

    /// A key and whom it talks to.
    public init(key: CoordinatorKey, workers: AllowList, onRefusal: @escaping @Sendable (KeyRefusal) -> Void) {
        self.key = key
        self.workers = workers
        self.onRefusal = onRefusal
    }
}

/// The coordinator's end of the wire on a ZeroMQ ROUTER socket. One thread owns the socket.
public final class ZeroMQCoordinatorEndpoint: CoordinatorEndpoint {
    /// Everything that arrives, in order for each peer, for one reader; it ends when the endpoint closes or its reader is cancelled.
    public let inbound: AsyncStream<InboundFromWorkers>
    /// Where it listens, with the real port.
    public let boundAddress: String
    /// The same as a process on this machine calls it: a wildcard stands for loopback.
    public let localAddress: String

    private let mailbox: Mailbox<CoordinatorSide.Letter>
    private let queue: InboundQueue<InboundFromWorkers>
    private let inHand: (any InHandPort)?
    /// Nil where connections have no keys.
    let gatekeeper: Gatekeeper?

    /// Listens at `tcp://HOST:PORT` (port 0 takes a free one) or `ipc://PATH`. With keys every connection is encrypted,
    /// both ends prove their keys, and before this returns a stranger's key has been tried and refused. `inHand` is told of
    /// each message while it is read, and from when the reader takes it until `handled`.
    /// - Throws: `badConfig` for an address beyond this machine without keys, or one that cannot be listened at,
    ///   `tryAgain` when another process listens there, `internalError` when the stranger was not refused.
    public init(
        listeningAt address: String, keys: CoordinatorKeys? = nil, inHand: (any InHandPort)? = nil
    ) throws(MMedError) {
        let address = try WireAddress(address, for: .listening, hasKeys: keys != nil)
        let bell = try Bell()
        let keeper = try keys.map { (keys) throws(MMedError) in
            try Gatekeeper(keys.workers, wakes: bell, onRefusal: keys.onRefusal)
        }
        var security = WireSocket.Security.open
        if let keys, let keeper { security = .coordinator(keys.key.pair.secretKey, keeper) }
        let socket = try WireSocket(.router, ipv6: address.usesIPv6, security: security)
        do {
            boundAddress = try socket.bind(address)
            localAddress = WireAddress.local(boundAddress)
            if let keys, let keeper { try DoorTest.run(at: localAddress, coordinator: keys.key.publicKey, keeper) }
        } catch {
            socket.close(lingerMilliseconds: 0)
            throw error
        }
        let mailbox = Mailbox<CoordinatorSide.Letter>(bell: bell, capacity: .max)
        let queue = InboundQueue<InboundFromWorkers>(bell: bell)
        (self.mailbox, self.queue, self.gatekeeper) = (mailbox, queue, keeper)
        self.inHand = inHand
        inbound = queue.stream({ keeper?.mayTake($0) ?? true }, taken: { inHand?.hold($0, at: .handling) })
        let port = address.path == nil ? boundAddress.split(separator: ":").last.flatMap { UInt16($0) } : nil
        try startThread(named: "mmed-wire-coord") {
            SocketLoop.run(
                CoordinatorSide(mailbox: mailbox, inbound: queue, gatekeeper: keeper, port: port, inHand: inHand),
                socket: socket, bell: bell)
        }
    }

    deinit { mailbox.requestClose() }

    /// Replaces the list of workers. From the return of this call on nothing comes from a key that is not on it: its peers
    /// are reported as unreachable, and their connections are closed. Does nothing where connections have no keys.
    public func replaceWorkers(_ list: AllowList) { gatekeeper?.replace(list) }

    /// Queues a message without waiting. Losing it is reported as `unreachable`, which is final for that peer id: the
    /// connection is gone, 32 MiB are queued for it, or the message breaks a rule of the protocol (then `malformed` gives the reason before).
    public func send(_ message: CoordinatorMessage, to peer: PeerID) {
        do {
            let frame = try MessageCodec.encode(message)
            var letter = CoordinatorSide.Letter(peer: peer, frame: frame)
            if case .end = message { letter.isEnd = true }
            mailbox.postNow(letter)
        } catch {
            queue.push(.malformed(peer, reason: "own message not sent: \(error)"))
            queue.push(.unreachable(peer))
        }
    }

    /// The reader has acted on what it took last.
    public func handled() { inHand?.hold(nil, at: .handling) }

    /// Sends what is queued, within a second, waits up to three for the goodbyes of those that were sent `end`, closes the
    /// socket and ends the stream.
    public func close() async { await mailbox.close() }
}
