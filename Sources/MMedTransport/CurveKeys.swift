public import MMedCore
public import MMedProtocol
import CZeroMQ

/// The secret half of a CURVE key pair. Nothing prints it; it leaves the process in a key file alone.
public struct SecretKey: Sendable, CustomStringConvertible, CustomReflectable {
    /// 32 bytes.
    let bytes: [UInt8]

    /// Nil unless the text is 40 characters of Z85.
    init?(_ text: String) {
        guard text.utf8.count == 40, let bytes = Z85.decode(text) else { return nil }
        self.bytes = bytes
    }

    /// For a key file.
    var text: String { Z85.encode(bytes) ?? "" }

    /// The public key that belongs to it.
    var publicKey: PublicKey? {
        var text = [CChar](repeating: 0, count: 41)
        guard zmq_curve_public(&text, self.text) == 0 else { return nil }
        return PublicKey(curveText(text))
    }

    /// Hides the key.
    public var description: String { "(a secret key)" }

    /// Hides the key from `dump` and debuggers' summaries too.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// A CURVE key pair.
public struct KeyPair: Sendable {
    /// What others know.
    public let publicKey: PublicKey
    /// What only its owner knows.
    let secretKey: SecretKey

    /// A new pair from the system's random source. Throws `internalError` when this ZeroMQ has no CURVE.
    public static func generate() throws(MMedError) -> KeyPair {
        var publicText = [CChar](repeating: 0, count: 41)
        var secretText = [CChar](repeating: 0, count: 41)
        guard zmq_curve_keypair(&publicText, &secretText) == 0, let publicKey = PublicKey(curveText(publicText)),
            let secretKey = SecretKey(curveText(secretText))
        else {
            throw MMedError(
                .internalError, "ZeroMQ makes no keys: \(describe(zmq_errno()))",
                mend: "install a libzmq that was built with CURVE, as Debian's is")
        }
        return KeyPair(publicKey: publicKey, secretKey: secretKey)
    }
}

/// The text before the zero byte.
private func curveText(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
