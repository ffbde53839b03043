public import MMedCore
import Glibc

/// An address that may be served or called: loopback or a Unix socket, and with keys any host.
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
    /// - Throws: `badConfig` for any host but loopback without keys, another scheme, or a bad host, port or path.
    public init(_ text: String, for purpose: Purpose, hasKeys: Bool = false) throws(MMedError) {
        self.text = text
        if text.hasPrefix("tcp://") {
            let (host, port) = try WireAddress.hostAndPort(text, purpose, hasKeys)
            endpoint = "tcp://\(host):\(port)"
            path = nil
            usesIPv6 = host.hasPrefix("[")
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

    /// The text by which a process on this machine calls a bound address: a wildcard stands for loopback.
    static func local(_ bound: String) -> String {
        for (wildcard, loopback) in [("tcp://0.0.0.0:", "tcp://127.0.0.1:"), ("tcp://[::]:", "tcp://[::1]:")]
        where bound.hasPrefix(wildcard) {
            return loopback + bound.dropFirst(wildcard.count)
        }
        return bound
    }

    private static func hostAndPort(
        _ text: String, _ purpose: Purpose, _ hasKeys: Bool
    ) throws(MMedError) -> (host: String, port: String) {
        let rest = text.dropFirst(6)
        guard let colon = rest.lastIndex(of: ":") else { throw refuse(text, "the port is missing") }
        let host: String
        switch rest[..<colon] {
        case "localhost": host = "127.0.0.1"
        case "[::1]", "::1": host = "[::1]"
        case let other where isIPv4Loopback(other): host = String(other)
        case let other where hasKeys: host = try foreignHost(String(other), text, purpose)
        default:
            throw refuse(
                text, "the host is not loopback, and connections beyond this machine need keys",
                purpose == .listening
                    ? "make keys with `mmed-coord keygen --output keys --worker NAME --role learner` and start with --keys keys"
                    : "give the key file that `mmed-coord keygen` made for this worker: --key NAME.key")
        }
        let port = rest[rest.index(after: colon)...]
        if purpose == .listening, port == "*" || port == "0" { return (host, "*") }
        guard port.allSatisfy({ $0.isASCII && $0.isNumber }), let number = UInt16(port), number > 0 else {
            throw refuse(text, "the port \"\(port)\" is not a number in 1...65535")
        }
        return (host, String(number))
    }

    private static func isIPv4Loopback(_ host: Substring) -> Bool {
        let bytes = host.split(separator: ".", omittingEmptySubsequences: false)
        return bytes.count == 4 && bytes[0] == "127"
            && bytes.allSatisfy { part in UInt8(part).map { String($0) == part } ?? false }
    }

    /// A host's name or number, or `*` to listen at all; nothing else that ZeroMQ would read in its own way.
    private static func foreignHost(
        _ host: String, _ text: String, _ purpose: Purpose
    ) throws(MMedError) -> String {
        let isAny = host == "*" || host == "0.0.0.0" || host == "[::]"
        if isAny, purpose == .connecting {
            throw refuse(text, "nobody can be called at a wildcard", "give the coordinator's host: tcp://HOST:PORT")
        }
        if isAny { return host == "[::]" ? host : "0.0.0.0" }
        if host.hasPrefix("["), host.hasSuffix("]") {
            let inside = host.dropFirst().dropLast().utf8
            let allowed = Array("0123456789abcdefABCDEF:.".utf8)
            if inside.count >= 2, inside.allSatisfy(allowed.contains) { return host }
        }
        let isPlain = host.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                || byte == 0x2D || byte == 0x2E || byte == 0x5F
        }
        guard isPlain, (1...253).contains(host.utf8.count), !host.hasPrefix("-"), !host.hasPrefix(".") else {
            throw refuse(text, "\"\(host)\" is no host", "use a name, 192.0.2.1 or [2001:db8::1]")
        }
        return host
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
                text, "others may enter the folder \(folder), and then the socket",
                "use a folder of your own with mode 700")
        }
    }
}
