import Glibc
import MMedCodec
import MMedCore
import MMedProtocol

/// The coordinator's socket, peers and queues on its thread.
final class CoordinatorSide: SocketOwner {
    /// A frame and whom it is for.
    struct Letter: Sendable {
        var peer: PeerID
        var frame: [UInt8]
        /// It is the last word of a session.
        var isEnd = false
    }

    private struct Peer {
        var routingID: [UInt8]
        var identity: Identity?
        /// The connection that it was heard on last.
        var descriptor: Int32 = -1
        var sequenceHeard: UInt64?
        var sequenceSent: UInt64 = 0
        var outgoing = Fifo<[UInt8]>()
        var outgoingBytes = 0
        /// Count of all messages when this peer was last heard.
        var heardAt: UInt64
        /// It was told the end and has not said goodbye.
        var awaitsGoodbye = false
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
    /// Nil where connections have no keys.
    private let gatekeeper: Gatekeeper?
    /// Nil where nobody records what is in hand.
    private let inHand: (any InHandPort)?
    /// The list that all peers were last held against.
    private var edition = 0
    private var meter = ConnectionMeter()
    /// Nil where there are no TCP connections: a folder of sockets is its owner's alone.
    private let port: UInt16?
    private var looksAt = ContinuousClock.now
    /// Something came that the gatekeeper should have stopped, or it has ended: nothing more is taken or sent.
    private var isBroken = false
    /// The endpoint is closing: nobody takes what comes, and only a goodbye is listened for.
    private var isClosing = false

    init(
        mailbox: Mailbox<Letter>, inbound: InboundQueue<InboundFromWorkers>, gatekeeper: Gatekeeper? = nil,
        port: UInt16? = nil, inHand: (any InHandPort)? = nil
    ) {
        self.port = port
        self.mailbox = mailbox
        self.inbound = inbound
        self.gatekeeper = gatekeeper
        self.inHand = inHand
    }

    func takeMail() -> Bool {
        var (letters, closing) = mailbox.take()
        if let gatekeeper { watch(gatekeeper, isClosing: closing) }
        isClosing = closing
        for index in letters.indices where !isBroken { queue(&letters[index]) }
        return closing || isBroken
    }

    // MARK: Keys

    /// Ends the endpoint when the gatekeeper is gone, and cuts off whom a new list leaves out.
    private func watch(_ gatekeeper: Gatekeeper, isClosing: Bool) {
        if gatekeeper.hasEnded, !isClosing { breakOff("the thread that checks keys has ended") }
        let current = gatekeeper.edition
        if edition == current { return }
        edition = current
        for (number, peer) in peers where peer.identity.map(gatekeeper.admits) != true {
            forget(number)
            cut(peer.descriptor)
        }
    }

    private func breakOff(_ why: String) {
        guard !isBroken else { return }
        isBroken = true
        for (number, peer) in peers {
            forget(number)
            cut(peer.descriptor)
        }
        inbound.push(
            .closed(
                MMedError(
                    .internalError, at: "the wire", "\(why), and without it strangers would be let in",
                    mend: "go on with --resume; nothing that came since then was taken")))
    }

    /// Closes a connection, so that its worker must pass the door again. ZeroMQ owns the descriptor and cannot be asked
    /// to close one connection; should it have given the number to another by now, that one connects anew, and no more.
    private func cut(_ descriptor: Int32) { WireSocket.hangUp(descriptor) }

    private enum Pass {
        case nobodyAsked
        case granted(Identity?)
        case denied
    }

    /// Holds a message against the list once more: the door may have been passed under an older one, or unattended.
    private func check(_ received: WireSocket.Received) -> Pass {
        guard let gatekeeper else { return .granted(nil) }
        guard let userID = received.userID else { return .nobodyAsked }
        let (identity, current) = gatekeeper.look(userID)
        // Whom the new list leaves out is gone before anybody is heard under it.
        if current != edition { watch(gatekeeper, isClosing: false) }
        return identity.map(Pass.granted) ?? .denied
    }

    private func queue(_ letter: inout Letter) {
        let number = letter.peer.number
        guard peers[number] != nil else { return inbound.push(.unreachable(letter.peer)) }
        let bytes = peers[number, default: Peer(routingID: [], heardAt: 0)].outgoingBytes + letter.frame.count
        guard bytes <= Limits.peerQueueBytes else { return forget(number) }
        update(number) { peer in
            // In place: a frame that is held twice would be copied to be stamped.
            MessageCodec.stamp(peer.sequenceSent, on: &letter.frame)
            peer.sequenceSent += 1
            if peer.outgoing.isEmpty { waiting.append(number) }
            peer.outgoing.append(letter.frame)
            peer.outgoingBytes = bytes
            if letter.isEnd { peer.awaitsGoodbye = true }
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
        inbound.push(.unreachable(PeerID(number: number, identity: peer.identity)))
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

    func hasRoom() -> Bool { isClosing || inbound.hasRoom() }

    var awaitsGoodbyes: Bool { !isBroken && peers.values.contains { $0.awaitsGoodbye } }

    func tend(_ socket: WireSocket) -> Int {
        guard let port else { return -1 }
        let now = ContinuousClock.now
        if now >= looksAt {
            looksAt = now + .milliseconds(ConnectionMeter.lookMilliseconds)
            if meter.isDue(resident: ConnectionMeter.residentBytes(), at: now) {
                for (descriptor, bytes) in meter.look(ConnectionMeter.readings(port: port)) {
                    closeUnheard(descriptor, bytes)
                }
            }
        }
        return Int((looksAt - now) / Duration.milliseconds(1)) + 1
    }

    private func closeUnheard(_ descriptor: Int32, _ bytes: Int) {
        let known = peers.filter { $0.value.descriptor == descriptor }.max { $0.value.heardAt < $1.value.heardAt }
        // Who never ended a message has no number; 0 is nobody's.
        let peer = PeerID(number: known?.key ?? 0, identity: known?.value.identity)
        inbound.push(.malformed(peer, reason: "\(bytes) bytes came and no end of a message: its connection is closed"))
        cut(descriptor)
    }

    func hear(_ received: WireSocket.Received) -> Bool {
        meter.hear(received.descriptor, bytes: received.body.count)
        if isBroken { return true }
        // What was under way when the connection was closed is not even read.
        if let known = numbers[received.routingID], peers[known]?.isClosed == true { return false }
        let identity: Identity?
        switch check(received) {
        case .granted(let found): identity = found
        case .denied: return false
        case .nobodyAsked:
            breakOff("a message came from a connection that nobody had checked")
            return true
        }
        let mark = inHand?.mark(received.body, sender: identity?.key)
        if let inHand, let mark, inHand.isPoison(mark) { return refusePoison(received, identity) }
        inHand?.hold(mark, at: .decoding)
        let result = Result { () throws(CodecError) in
            guard received.partCount == 1 else {
                throw .malformed(reason: "\(received.partCount) parts instead of one")
            }
            let message = try MessageCodec.decodeWorkerMessage(received.body)
            return (message, try MessageCodec.sequence(of: received.body))
        }
        inHand?.hold(nil, at: .decoding)
        let number = number(of: received.routingID, by: identity, opens: (try? result.get().1) == 0)
        update(number) { $0.descriptor = received.descriptor }
        let peer = PeerID(number: number, identity: identity)
        var event = read(result, from: peer)
        if case .malformed(_, let reason) = event {
            update(number) { $0.malformed += 1 }
            if peers[number]?.isClosed == true {
                event = .malformed(
                    peer, reason: "\(reason); its connection is closed after \(Limits.malformedFrames) such frames")
            }
        }
        if case .message(_, .goodbye) = event { update(number) { $0.awaitsGoodbye = false } }
        if !isClosing { inbound.push(event, bytes: received.body.count, mark: mark, isHeld: true) }
        return peers[number]?.isClosed != true
    }

    func heardAll() { inbound.show() }

    /// Not a byte of its payload is looked at.
    private func refusePoison(_ received: WireSocket.Received, _ identity: Identity?) -> Bool {
        let number = number(of: received.routingID, by: identity, opens: false)
        update(number) { $0.malformed = Limits.malformedFrames }
        let reason =
            "poison: the coordinator crashed twice with this message or this key's messages in hand, and does not read it"
        if !isClosing { inbound.push(.malformed(PeerID(number: number, identity: identity), reason: reason)) }
        return false
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

    /// The number of a connection, a new one for a routing id that is not known, that begins anew at sequence 0, or that
    /// comes with another key: a peer may choose its routing id, and must not step into another's session by it.
    private func number(of routingID: [UInt8], by identity: Identity?, opens: Bool) -> UInt64 {
        heard += 1
        if let known = numbers[routingID] {
            if peers[known]?.identity == identity, !(opens && peers[known]?.sequenceHeard != nil) {
                update(known) { $0.heardAt = heard }
                return known
            }
            forget(known)
        }
        if peers.count >= Limits.peers, let silent = peers.min(by: { $0.value.standing < $1.value.standing }) {
            forget(silent.key)
        }
        lastNumber += 1
        peers[lastNumber] = Peer(routingID: routingID, identity: identity, heardAt: heard)
        numbers[routingID] = lastNumber
        return lastNumber
    }

    func end() {
        mailbox.end()
        inbound.end()
    }
}
