import Glibc
import MMedCodec
import MMedCore
import MMedProtocol

@testable import MMedTransport

/// A connection that says what it likes, on the thread that made it. The socket is ZeroMQ's; nothing of the worker's end
/// of the wire stands before it.
final class HostilePeer {
    private let socket: WireSocket
    private let bell: Bell
    private let address: WireAddress
    private let isOver: () -> Bool
    /// Of the next frame.
    private(set) var sequence: UInt64 = 0
    /// Handshakes that succeeded: one is this connection, more say that it was closed and opened anew.
    private(set) var handshakes = 0
    /// Handshakes that were refused.
    private(set) var refusals = 0

    private static let dontWait: Int32 = 1, more: Int32 = 2
    private static let turnMilliseconds = 50

    init(_ address: String, _ security: WireSocket.Security, isOver: @escaping () -> Bool) throws {
        var hasKeys = true
        if case .open = security { hasKeys = false }
        self.address = try WireAddress(address, for: .connecting, hasKeys: hasKeys)
        self.isOver = isOver
        bell = try Bell()
        socket = try WireSocket(.dealer, security: security, watchesHandshakes: true)
        try socket.connect(self.address)
    }

    func close() { socket.close(lingerMilliseconds: 0) }

    /// True while it is the connection that it began with.
    var isWhole: Bool {
        takeHandshakes()
        return handshakes == 1
    }

    private func takeHandshakes() {
        while let event = socket.nextHandshake() {
            switch event {
            case .succeeded: handshakes += 1
            case .keyRefused, .otherMechanism: refusals += 1
            case .brokenOff, .disconnected: break
            }
        }
    }

    private func wait(forInput: Bool, forOutput: Bool) {
        takeHandshakes()
        socket.wait(
            bell: bell, forInput: forInput, forOutput: forOutput, milliseconds: HostilePeer.turnMilliseconds)
        takeHandshakes()
    }

    /// Sends the parts of one message; false when the attack is over before it could.
    func send(_ parts: [[UInt8]]) -> Bool {
        for (index, part) in parts.enumerated() {
            let flags = HostilePeer.dontWait | (index + 1 < parts.count ? HostilePeer.more : 0)
            while socket.sendPart(part, flags) != .sent {
                if isOver() { return false }
                wait(forInput: false, forOutput: true)
            }
        }
        // A frame of an earlier connection may have a higher number, and the coordinator goes on from there.
        if parts.count == 1, let heard = try? MessageCodec.sequence(of: parts[0]), heard >= sequence {
            sequence = heard + 1
        }
        return true
    }

    /// Sends a message that is in order, and returns its frame; nil when the attack is over.
    func say(_ message: WorkerMessage) throws -> [UInt8]? {
        let frame = try MessageCodec.encode(message, sequence: sequence)
        return send([frame]) ? frame : nil
    }

    /// What has arrived already; nil when there is nothing.
    func heard() -> CoordinatorMessage? {
        while let received = socket.receive() {
            if let message = try? MessageCodec.decodeCoordinatorMessage(received.body) { return message }
        }
        return nil
    }

    /// The first message that fits, within some turns of waiting; the others go to `rest`.
    func next(
        turns: Int, rest: (CoordinatorMessage) -> Void = { _ in }, _ fits: (CoordinatorMessage) -> Bool
    ) -> CoordinatorMessage? {
        for _ in 0..<turns {
            while let message = heard() {
                if fits(message) { return message }
                rest(message)
            }
            if isOver() { return nil }
            wait(forInput: true, forOutput: false)
        }
        return nil
    }

    /// Tries to open the connection once more, and waits for what comes of it. True when it was refused.
    func isRefusedAgain() -> Bool {
        let (succeeded, refused) = (handshakes, refusals)
        if succeeded + refused > 0 { socket.reconnect(address) }
        while !isOver(), handshakes == succeeded, refusals == refused { wait(forInput: false, forOutput: false) }
        return refusals > refused && handshakes == succeeded
    }
}

/// Where adversaries stand back: they would have machines of their own.
enum HostilePlace: Sendable {
    /// Behind others on the run's cores, for a share of them.
    case behindOthers
    /// Only where others leave a core idle: from the run's machine nothing is taken but what the messages cost there.
    case leftovers

    /// For the calling thread and those that it starts.
    func take() {
        // sched(7): SCHED_IDLE, which Glibc's module leaves out.
        let idle: Int32 = 5
        var none = sched_param()
        if case .leftovers = self, sched_setscheduler(0, idle, &none) == 0 { return }
        setpriority(Int32(PRIO_PROCESS.rawValue), 0, 10)
    }
}
