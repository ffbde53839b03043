public import MMedCore
import Glibc

/// An address that may be served or called while there are no keys: loopback, or a Unix socket.
public struct WireAddress: Hashable, Sendable, CustomStringConvertible {
    /// Whether the address is to be called or listened at.
    public enum Purpose: Sendable {
        /// A worker calls it: the port must be known.
        case connecting
        /// The coordinator listens at it: port 0 (or `*`) takes a free one.
        case listening
    }

    /// What the user wrote.
    public let text: String
    /// What ZeroMQ is given.
    let endpoint: String
    /// The path of a Unix socket.
    let path: String?
    let usesIPv6: Bool

    /// The user's text.
    public var description: String { text }

    /// Checks the text.
    /// - Throws: `badConfig` for any host but loopback (there are no keys yet), another scheme, or a bad port or path.
    public init(_ text: String, for purpose: Purpose) throws(MMedError) {
        self.text = text
        if text.hasPrefix("tcp://") {
            let (host, port) = try WireAddress.hostAndPort(text, purpose)
            endpoint = "tcp://\(host):\(port)"
            path = nil
            usesIPv6 = host == "[::1]"
        } else if text.hasPrefix("ipc://") {
            let path = String(text.dropFirst(6))
            try WireAddress.checkPath(path, text, purpose)
            endpoint = text
            self.path = path
            usesIPv6 = false
        } else {
            throw WireAddress.refuse(text, "this is neither tcp:// nor ipc://")
        }
    }

    private static let forms = "use tcp://127.0.0.1:PORT or ipc://PATH"

    private static func refuse(_ text: String, _ problem: String, _ mend: String = forms) -> MMedError {
        MMedError(.badConfig, at: text.isEmpty ? "address" : text, problem, mend: mend)
    }

    private static func hostAndPort(
        _ text: String, _ purpose: Purpose
    ) throws(MMedError) -> (host: String, port: String) {
        let rest = text.dropFirst(6)
        guard let colon = rest.lastIndex(of: ":") else { throw refuse(text, "the port is missing") }
        let host: String
        switch rest[..<colon] {
        case "127.0.0.1", "localhost": host = "127.0.0.1"
        case "[::1]", "::1": host = "[::1]"
        default:
            throw refuse(
                text, "the host is not loopback, and keys, which another host needs, are not built yet")
        }
        let port = rest[rest.index(after: colon)...]
        if purpose == .listening, port == "*" || port == "0" { return (host, "*") }
        guard port.allSatisfy({ $0.isASCII && $0.isNumber }), let number = UInt16(port), number > 0 else {
            throw refuse(text, "the port \"\(port)\" is not a number in 1...65535")
        }
        return (host, String(number))
    }

    private static func checkPath(_ path: String, _ text: String, _ purpose: Purpose) throws(MMedError) {
        guard !path.isEmpty, !path.hasPrefix("@"), path != "*" else {
            throw refuse(
                text, "an ipc address needs the path of a file", "use ipc:///run/user/UID/mmed.sock or the like")
        }
        guard path.utf8.count <= 107, !path.utf8.contains(0) else {
            throw refuse(text, "the path has \(path.utf8.count) bytes, a Unix socket takes 107", "use a shorter path")
        }
        guard purpose == .listening else { return }
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        var status = stat()
        guard stat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw refuse(text, "the folder \(folder) is not there", "create it: mkdir -m 700 \(folder)")
        }
        guard status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw refuse(
                text, "others may enter the folder \(folder), and there are no keys yet",
                "use a folder of your own with mode 700")
        }
    }
}
