import MMedCodec
import MMedProtocol

/// A worker's socket and queues on its thread.
final class WorkerSide: SocketOwner {
    private let mailbox: Mailbox<[UInt8]>
    private let inbound: InboundQueue<InboundFromCoordinator>
    private var outgoing = Fifo<[UInt8]>()
    private var sequenceSent: UInt64 = 0
    private var sequenceHeard: UInt64?
    private var dialling: Dialling

    init(
        address: WireAddress, hasKey: Bool, mailbox: Mailbox<[UInt8]>, inbound: InboundQueue<InboundFromCoordinator>
    ) {
        dialling = Dialling(address: address, hasKey: hasKey)
        self.mailbox = mailbox
        self.inbound = inbound
    }

    func takeMail() -> Bool {
        var (letters, closing) = mailbox.take()
        // In place: a frame that the array also held would be copied to be stamped.
        for index in letters.indices {
            MessageCodec.stamp(sequenceSent, on: &letters[index])
            sequenceSent += 1
            outgoing.append(letters[index])
        }
        return closing
    }

    func sendQueued(on socket: WireSocket) -> SocketLoop.Pending {
        while let frame = outgoing.first {
            // A dealer without a connection is full; nothing is unreachable from it.
            guard socket.send(frame) == .sent else { return .untilWritable }
            _ = outgoing.popFirst()
            mailbox.sent(bytes: frame.count)
        }
        return .nothing
    }

    func tend(_ socket: WireSocket) -> Int {
        while let event = socket.nextHandshake() {
            if let news = dialling.take(event, at: .now) { inbound.push(news) }
        }
        let (isDue, milliseconds) = dialling.due(at: .now)
        if isDue { socket.reconnect(dialling.address) }
        return milliseconds
    }

    func hasRoom() -> Bool { inbound.hasRoom() }

    /// Its goodbye has no answer.
    var awaitsGoodbyes: Bool { false }

    func hear(_ received: WireSocket.Received) -> Bool {
        inbound.push(read(received), bytes: received.body.count, isHeld: true)
        return true
    }

    func heardAll() { inbound.show() }

    private func read(_ received: WireSocket.Received) -> InboundFromCoordinator {
        guard received.partCount == 1 else { return .malformed(reason: "\(received.partCount) parts instead of one") }
        do {
            let message = try MessageCodec.decodeCoordinatorMessage(received.body)
            let sequence = try MessageCodec.sequence(of: received.body)
            // 0 begins a connection; which connection this socket has, a dealer does not learn.
            if let last = sequenceHeard, sequence != 0, sequence <= last {
                return .malformed(reason: "sequence \(sequence) after \(last) is a repetition")
            }
            sequenceHeard = sequence
            return .message(message)
        } catch .otherVersion(let major, let minor) {
            return .otherVersion(major: major, minor: minor)
        } catch {
            return .malformed(reason: error.description)
        }
    }

    func end() {
        mailbox.end()
        inbound.end()
    }
}
