import MMedCodec
import MMedProtocol

/// The coordinator's socket, peers and queues on its thread.
final class CoordinatorSide: SocketOwner {
    /// A frame and whom it is for.
    struct Letter: Sendable {
        var peer: PeerID
        var frame: [UInt8]
    }

    private struct Peer {
        var routingID: [UInt8]
        var sequenceHeard: UInt64?
        var sequenceSent: UInt64 = 0
        var outgoing = Fifo<[UInt8]>()
        var outgoingBytes = 0
        /// Count of all messages when this peer was last heard.
        var heardAt: UInt64
        /// Frames that were not of the protocol.
        var malformed = 0

        var isClosed: Bool { malformed >= Limits.malformedFrames }
        /// Who goes first when there are too many: who never said a word of the protocol, then who was silent longest.
        var standing: (Int, UInt64) { (isClosed ? 0 : sequenceHeard == nil ? 1 : 2, heardAt) }
    }

    private let mailbox: Mailbox<Letter>
    private let inbound: InboundQueue<InboundFromWorkers>
    private var peers: [UInt64: Peer] = [:]
    private var numbers: [[UInt8]: UInt64] = [:]
    /// Peers with frames to send, in the order in which they got some.
    private var waiting: [UInt64] = []
    private var lastNumber: UInt64 = 0
    private var heard: UInt64 = 0

    init(mailbox: Mailbox<Letter>, inbound: InboundQueue<InboundFromWorkers>) {
        self.mailbox = mailbox
        self.inbound = inbound
    }

    func takeMail() -> Bool {
        let (letters, closing) = mailbox.take()
        for letter in letters { queue(letter) }
        return closing
    }

    private func queue(_ letter: Letter) {
        let number = letter.peer.number
        guard peers[number] != nil else { return inbound.push(.unreachable(letter.peer)) }
        let bytes = peers[number, default: Peer(routingID: [], heardAt: 0)].outgoingBytes + letter.frame.count
        guard bytes <= Limits.peerQueueBytes else { return forget(number) }
        update(number) { peer in
            var frame = letter.frame
            MessageCodec.stamp(peer.sequenceSent, on: &frame)
            peer.sequenceSent += 1
            if peer.outgoing.isEmpty { waiting.append(number) }
            peer.outgoing.append(frame)
            peer.outgoingBytes = bytes
        }
    }

    private func update(_ number: UInt64, _ change: (inout Peer) -> Void) {
        guard let index = peers.index(forKey: number) else { return }
        change(&peers.values[index])
    }

    /// The peer's number is used up: it is reported, and if it lives, its next message gets a new number.
    private func forget(_ number: UInt64) {
        guard let peer = peers.removeValue(forKey: number) else { return }
        numbers[peer.routingID] = nil
        waiting.removeAll { $0 == number }
        inbound.push(.unreachable(PeerID(number: number)))
    }

    func sendQueued(on socket: WireSocket) -> SocketLoop.Pending {
        var progress = false
        var blocked: [UInt64] = []
        var gone: [UInt64] = []
        for number in waiting {
            update(number) { peer in
                while let frame = peer.outgoing.first {
                    switch socket.send(frame, to: peer.routingID) {
                    case .sent:
                        progress = true
                        _ = peer.outgoing.popFirst()
                        peer.outgoingBytes -= frame.count
                        continue
                    case .full: blocked.append(number)
                    case .unreachable: gone.append(number)
                    }
                    return
                }
            }
        }
        waiting = blocked
        for number in gone { forget(number) }
        return blocked.isEmpty ? .nothing : .untilRetried(progress: progress)
    }

    func hasRoom() -> Bool { inbound.hasRoom() }

    func hear(_ received: WireSocket.Received) -> Bool {
        // What was under way when the connection was closed is not even read.
        if let known = numbers[received.routingID], peers[known]?.isClosed == true { return false }
        let result = Result { () throws(CodecError) in
            guard received.partCount == 1 else {
                throw .malformed(reason: "\(received.partCount) parts instead of one")
            }
            let message = try MessageCodec.decodeWorkerMessage(received.body)
            return (message, try MessageCodec.sequence(of: received.body))
        }
        let number = number(of: received.routingID, opens: (try? result.get().1) == 0)
        let peer = PeerID(number: number)
        var event = read(result, from: peer)
        if case .malformed(_, let reason) = event {
            update(number) { $0.malformed += 1 }
            if peers[number]?.isClosed == true {
                event = .malformed(
                    peer, reason: "\(reason); its connection is closed after \(Limits.malformedFrames) such frames")
            }
        }
        inbound.push(event, bytes: received.body.count)
        return peers[number]?.isClosed != true
    }

    private func read(_ result: Result<(WorkerMessage, UInt64), CodecError>, from peer: PeerID) -> InboundFromWorkers {
        switch result {
        case .success((let message, let sequence)):
            let last = peers[peer.number]?.sequenceHeard
            if let last, sequence <= last {
                return .malformed(peer, reason: "sequence \(sequence) after \(last) is a repetition")
            }
            update(peer.number) { $0.sequenceHeard = sequence }
            return .message(peer, message)
        case .failure(.otherVersion(let major, let minor)): return .otherVersion(peer, major: major, minor: minor)
        case .failure(let error): return .malformed(peer, reason: error.description)
        }
    }

    /// The number of a connection, a new one for a routing id that is not known or that begins anew at sequence 0.
    private func number(of routingID: [UInt8], opens: Bool) -> UInt64 {
        heard += 1
        if let known = numbers[routingID] {
            if !(opens && peers[known]?.sequenceHeard != nil) {
                update(known) { $0.heardAt = heard }
                return known
            }
            forget(known)
        }
        if peers.count >= Limits.peers, let silent = peers.min(by: { $0.value.standing < $1.value.standing }) {
            forget(silent.key)
        }
        lastNumber += 1
        peers[lastNumber] = Peer(routingID: routingID, heardAt: heard)
        numbers[routingID] = lastNumber
        return lastNumber
    }

    func end() {
        mailbox.end()
        inbound.end()
    }
}
