import MMedCodec
import MMedCore
import MMedProtocol
import Testing

@testable import MMedTransport

/// Messages and endpoints that several tests need.
enum Sample {
    static let digest = Digest(bytes: [UInt8](repeating: 7, count: 32)).unsafelyUnwrapped
    static let name = Name("worker-1").unsafelyUnwrapped
    static let shard = ShardID(stage: 0, track: 0, step: 0, update: 0, shard: 0)

    static func hello(major: UInt8 = WireVersion.major) -> WorkerMessage {
        .hello(
            Hello(
                major: major, role: .rollout, name: name, instance: 1, modelDigest: digest, threads: 1, adapters: [],
                host: "here", processID: 1))
    }

    /// Bytes that do not compress.
    static func noise(_ count: Int, key: UInt64) -> [UInt8] {
        let random = CounterRandom(key: key)
        return (0..<count).map { UInt8(truncatingIfNeeded: random.block(UInt64($0)).0) }
    }

    static func listening(_ address: String = "tcp://127.0.0.1:*") throws -> ZeroMQCoordinatorEndpoint {
        try ZeroMQCoordinatorEndpoint(listeningAt: address)
    }

    static func connected(to coordinator: ZeroMQCoordinatorEndpoint) throws -> ZeroMQWorkerEndpoint {
        try ZeroMQWorkerEndpoint(connectingTo: coordinator.boundAddress)
    }
}

/// A worker that speaks bytes instead of messages. Each call runs to its end on the caller's thread.
final class RawWorker {
    private let socket: WireSocket
    private let bell: Bell

    init(connectingTo address: String) throws {
        bell = try Bell()
        socket = try WireSocket(.dealer)
        try socket.connect(WireAddress(address, for: .connecting))
    }

    deinit { socket.close(lingerMilliseconds: 1000) }

    func send(_ parts: [UInt8]...) {
        for (index, part) in parts.enumerated() {
            let more: Int32 = index + 1 < parts.count ? 2 : 0
            // Nobody is there for ten seconds: given up.
            for _ in 0..<100 {
                if socket.sendPart(part, 1 | more) == .sent { break }
                socket.wait(bell: bell, forInput: false, forOutput: true, milliseconds: 100)
            }
        }
    }

    /// The next frame, within ten seconds.
    func receive() -> [UInt8]? {
        for _ in 0..<100 {
            if let received = socket.receive() { return received.body }
            socket.wait(bell: bell, forInput: true, forOutput: false, milliseconds: 100)
        }
        return nil
    }
}
