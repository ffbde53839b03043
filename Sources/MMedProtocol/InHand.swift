/// What a frame is known by: after a crash it tells which message the process had in hand.
public struct FrameMark: Hashable, Sendable {
    /// A keyed hash of the payload; 0 for a payload too short to tell one sender's message from another's.
    public let hash: UInt64
    /// Bytes of the payload.
    public let byteCount: Int
    /// The key of the connection; nil where connections have no keys.
    public let sender: PublicKey?

    /// A mark.
    public init(hash: UInt64, byteCount: Int, sender: PublicKey?) {
        self.hash = hash
        self.byteCount = byteCount
        self.sender = sender
    }
}

/// Where in the process a frame is.
public enum InHandPlace: Int, CaseIterable, Sendable {
    /// On the thread of the socket, which reads it.
    case decoding
    /// With the coordinator, which acts on it.
    case handling
}

/// The record of what the process has in its hands, which survives its crash. Each place has one caller at a time.
public protocol InHandPort: Sendable {
    /// The mark of a frame; nil while nothing is recorded.
    func mark(_ frame: [UInt8], sender: PublicKey?) -> FrameMark?
    /// True for a message, or any message of a sender, that was in hand at two crashes.
    func isPoison(_ mark: FrameMark) -> Bool
    /// From now on the frame is at the place; nil: nothing is.
    func hold(_ mark: FrameMark?, at place: InHandPlace)
}
