import MMedCore
import MMedProtocol

/// Before the coordinator serves, it comes to its own door with a key that nobody knows, and must be refused. A libzmq
/// without CURVE, a gatekeeper that does not answer or answers wrongly are found here and not by a stranger.
enum DoorTest {
    /// A handshake takes milliseconds; on a machine that is busy beyond measure it is tried again.
    static let limit = Duration.seconds(20)

    /// - Throws: `internalError` when the stranger was let in, or nobody answered.
    static func run(at address: String, coordinator: PublicKey, _ gatekeeper: Gatekeeper) throws(MMedError) {
        let pair = try KeyPair.generate()
        gatekeeper.expect(pair.publicKey)
        let wire = try WireAddress(address, for: .connecting, hasKeys: true)
        let bell = try Bell()
        let stranger = try WireSocket(
            .dealer, ipv6: wire.usesIPv6, security: .worker(pair, coordinator: coordinator), watchesHandshakes: true)
        defer { stranger.close(lingerMilliseconds: 0) }
        try stranger.connect(wire)
        let end = ContinuousClock.now + limit
        while ContinuousClock.now < end {
            while let event = stranger.nextHandshake() {
                switch event {
                case .keyRefused: return
                case .succeeded: throw failed(address, "let a key in that is on no list")
                case .otherMechanism: throw failed(address, "did not ask for a key")
                case .brokenOff, .disconnected: break
                }
            }
            stranger.wait(bell: bell, forInput: false, forOutput: false, milliseconds: 100)
        }
        throw failed(address, "did not answer within \(limit)")
    }

    private static func failed(_ address: String, _ what: String) -> MMedError {
        MMedError(
            .internalError, at: address, "the test of its own door failed: this coordinator \(what)",
            mend: "do not use it on a network; check `dpkg -l libzmq5`, and that nothing else listens there")
    }
}
