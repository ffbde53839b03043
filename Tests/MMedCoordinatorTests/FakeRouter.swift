import MMedCore
import MMedLocks
import MMedProtocol

@testable import MMedCoordinator

/// The coordinator's end of a wire in memory. Connections are opened and lost by the test.
final class FakeRouter: CoordinatorEndpoint {
    private struct Line {
        let mail = Mailbag<CoordinatorMessage>()
        var isLost = false
        var onMessage: (@Sendable (CoordinatorMessage) -> Void)?
    }

    let inbound: AsyncStream<InboundFromWorkers>
    private let heard: AsyncStream<InboundFromWorkers>.Continuation
    private let lines = Locked<[PeerID: Line]>([:])

    init() { (inbound, heard) = AsyncStream.makeStream() }

    func send(_ message: CoordinatorMessage, to peer: PeerID) {
        guard let line = lines.withLock({ $0[peer] }), !line.isLost else {
            heard.yield(.unreachable(peer))
            return
        }
        line.mail.add(message)
        line.onMessage?(message)
    }

    func close() async { heard.finish() }

    // MARK: The test's side

    /// Opens a connection; `onMessage` hears what the coordinator says on it.
    func connect(
        as identity: Identity? = nil, _ onMessage: (@Sendable (CoordinatorMessage) -> Void)? = nil
    ) -> PeerID {
        lines.withLock { lines in
            let peer = PeerID(number: UInt64(lines.count + 1), identity: identity)
            lines[peer] = Line(onMessage: onMessage)
            return peer
        }
    }

    /// What is sent on this connection from now on is lost, and said to be.
    func lose(_ peer: PeerID) { lines.withLock { $0[peer]?.isLost = true } }

    func say(_ message: WorkerMessage, from peer: PeerID) { heard.yield(.message(peer, message)) }
    func hear(_ inbound: InboundFromWorkers) { heard.yield(inbound) }
    func mail(of peer: PeerID) -> Mailbag<CoordinatorMessage> { lines.withLock { $0[peer]?.mail } ?? Mailbag() }
}

/// A connection whose worker the test plays.
struct Line: Sendable {
    let router: FakeRouter
    let peer: PeerID

    init(_ router: FakeRouter, as identity: Identity? = nil) {
        self.router = router
        peer = router.connect(as: identity)
    }

    var mail: Mailbag<CoordinatorMessage> { router.mail(of: peer) }
    func say(_ message: WorkerMessage) { router.say(message, from: peer) }

    /// A connection that is past its welcome, with so many credits.
    static func joined(
        _ router: FakeRouter, _ hello: Hello, as identity: Identity? = nil, credits: Int = 1
    ) async throws -> Line {
        let line = Line(router, as: identity)
        line.say(.hello(hello))
        _ = try await line.welcome()
        if credits > 0 { line.say(.ready(credits: credits)) }
        return line
    }

    func welcome() async throws -> Welcome {
        try await mail.next("welcome") { if case .welcome(let one) = $0 { one } else { nil } }
    }

    func rollout() async throws -> RolloutLease {
        try await mail.next("rollout lease") { if case .rollout(let lease) = $0 { lease } else { nil } }
    }

    func gradient() async throws -> GradientLease {
        try await mail.next("gradient lease") { if case .gradient(let lease) = $0 { lease } else { nil } }
    }

    func recorded() async throws -> [SlotID] {
        try await mail.next("record") { if case .trajectoriesRecorded(_, let slots) = $0 { slots } else { nil } }
    }

    func received() async throws -> Int {
        try await mail.next("receipt") { if case .gradientReceived(_, let bytes) = $0 { bytes } else { nil } }
    }

    func revoked() async throws -> LeaseID {
        try await mail.next("revocation") { if case .leaseRevoked(let lease, _) = $0 { lease } else { nil } }
    }

    func refused() async throws -> String {
        try await mail.next("refusal") { if case .refused(let reason, _) = $0 { reason } else { nil } }
    }

    func end() async throws -> String {
        try await mail.next("end") { if case .end(let reason) = $0 { reason } else { nil } }
    }

    /// True when such a message has come, read or not.
    func wasTold(_ isMeant: (CoordinatorMessage) -> Bool) -> Bool { mail.values.contains(where: isMeant) }

    func answer(_ digest: Digest) async throws -> CoordinatorMessage {
        try await mail.next("answer to a blob request") { message in
            switch message {
            case .blobChunk(digest, _, _, _), .blobMissing(digest): message
            default: nil
            }
        }
    }
}
