public import MMedCore

/// A connection as the transport knows it; a reconnect makes a new one.
public struct PeerID: Hashable, Comparable, Sendable {
    /// Counts connections.
    public let number: UInt64
    /// Who is at its other end, as the key of the connection proves it; nil where connections have no keys. It never
    /// changes for a number: another key, role or name is another peer.
    public let identity: Identity?

    /// A connection.
    public init(number: UInt64, identity: Identity? = nil) {
        self.number = number
        self.identity = identity
    }

    /// The same connection.
    public static func == (left: PeerID, right: PeerID) -> Bool { left.number == right.number }

    /// By the number, which says all.
    public func hash(into hasher: inout Hasher) { hasher.combine(number) }

    /// Older before newer.
    public static func < (left: PeerID, right: PeerID) -> Bool { left.number < right.number }
}

/// What the coordinator's end of the wire hears.
public enum InboundFromWorkers: Sendable {
    /// A whole, checked message.
    case message(PeerID, WorkerMessage)
    /// Bytes that are no message of this protocol; the peer is named for the log.
    case malformed(PeerID, reason: String)
    /// A worker of another protocol version.
    case otherVersion(PeerID, major: UInt8, minor: UInt8)
    /// A message could not be sent: the connection is gone or its queue is full; or its key is not allowed any more.
    case unreachable(PeerID)
    /// The endpoint closes by itself, because it cannot keep its promises any more; nothing comes after this.
    case closed(MMedError)
}

/// The coordinator's end of the wire.
public protocol CoordinatorEndpoint: Sendable {
    /// Everything that arrives, in order for each peer; it ends when the endpoint closes.
    var inbound: AsyncStream<InboundFromWorkers> { get }
    /// Queues a message; losing it is reported as `unreachable`.
    func send(_ message: CoordinatorMessage, to peer: PeerID)
    /// The reader of `inbound` has acted on what it took last; by default nobody needs to know.
    func handled()
    /// Sends what is queued, within a bounded time, and closes the socket.
    func close() async
}

extension CoordinatorEndpoint {
    /// Nobody needs to know.
    public func handled() {}
}

/// What a worker's end of the wire hears.
public enum InboundFromCoordinator: Sendable {
    /// A whole, checked message.
    case message(CoordinatorMessage)
    /// Bytes that are no message of this protocol.
    case malformed(reason: String)
    /// A coordinator of another protocol version.
    case otherVersion(major: UInt8, minor: UInt8)
    /// The connection was not opened: the coordinator does not take the key, or not this kind of connection. The endpoint
    /// tries again; the words are for the log, since nothing has proved yet who spoke them.
    case handshakeFailed(reason: String, mend: String)
    /// The open connection is gone. The endpoint opens another as soon as it can, and nothing that was queued is lost.
    case connectionLost
}

/// A worker's end of the wire.
public protocol WorkerEndpoint: Sendable {
    /// Everything that arrives, in order; it ends when the endpoint closes.
    var inbound: AsyncStream<InboundFromCoordinator> { get }
    /// Waits while too much is queued, then queues the message.
    func send(_ message: WorkerMessage) async
    /// Sends what is queued, within a bounded time, and closes the socket.
    func close() async
}
