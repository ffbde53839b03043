/// Why bytes are no message, or a message no bytes.
public enum CodecError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The sender speaks another major version; nothing behind the version was read.
    case otherVersion(major: UInt8, minor: UInt8)
    /// The bytes are not a frame of this protocol, or a field breaks its rule.
    case malformed(reason: String)
    /// A message of our own breaks a rule of the protocol and was not written.
    case unsendable(reason: String)

    /// The reason in words.
    public var description: String {
        switch self {
        case .otherVersion(let major, let minor): "protocol version \(major).\(minor)"
        case .malformed(let reason): reason
        case .unsendable(let reason): reason
        }
    }
}

/// Refuses a message in words unless the condition holds.
func require(_ condition: Bool, _ reason: @autoclosure () -> String) throws(CodecError) {
    if !condition { throw .malformed(reason: reason()) }
}
