import MMedProtocol

/// One end of the wire on the thread that owns its socket.
protocol SocketOwner: AnyObject {
    /// Takes over what other threads have queued; true when the endpoint is to close.
    func takeMail() -> Bool
    /// Sends what can be sent now.
    func sendQueued(on socket: WireSocket) -> SocketLoop.Pending
    /// Whether another message may be read now.
    func hasRoom() -> Bool
    /// Somebody was told that the session is over and has not said that he heard it.
    var awaitsGoodbyes: Bool { get }
    /// A message came; false when its connection is to be closed.
    func hear(_ received: WireSocket.Received) -> Bool
    /// All that came in this turn has been heard.
    func heardAll()
    /// Looks after the connections; the milliseconds until it wants to again, -1 for when something happens.
    func tend(_ socket: WireSocket) -> Int
    /// The socket is closed.
    func end()
}

/// The turns of that thread: mail, sends, at most so many receives, sleep.
enum SocketLoop {
    /// What `sendQueued` left behind.
    enum Pending: Equatable {
        case nothing
        /// The socket says when it can take more.
        case untilWritable
        /// Some peer is full, and ZeroMQ says only when any peer is not: ask again after a while.
        case untilRetried(progress: Bool)
    }

    /// Longest pause between two tries at a full peer.
    static let pauseMilliseconds = 16

    /// Works until the owner is told to close.
    static func run(_ owner: any SocketOwner, socket: WireSocket, bell: Bell) {
        var pause = 1
        while !owner.takeMail() {
            let pending = owner.sendQueued(on: socket)
            var timeout = -1
            if case .untilRetried(let progress) = pending {
                pause = progress ? 1 : min(pause * 2, pauseMilliseconds)
                timeout = pause
            }
            if receive(owner, socket) == Limits.receivesPerTurn { timeout = 0 }
            let due = owner.tend(socket)
            if due >= 0 { timeout = timeout < 0 ? due : min(timeout, due) }
            socket.wait(
                bell: bell, forInput: owner.hasRoom(), forOutput: pending == .untilWritable, milliseconds: timeout)
        }
        finish(owner, socket, bell)
    }

    /// Sends what is queued within the time of `Limits.closeMilliseconds`, waits for the goodbyes within that of
    /// `Limits.goodbyeMilliseconds`, and closes. The wait is not politeness: a DEALER with ZMQ_IMMEDIATE drops what it has
    /// received and not yet read when its connection ends, so whoever hangs up behind its last word takes the word back.
    private static func finish(_ owner: any SocketOwner, _ socket: WireSocket, _ bell: Bell) {
        let clock = ContinuousClock()
        let start = clock.now
        var left = 0
        while true {
            _ = owner.takeMail()
            let pending = owner.sendQueued(on: socket)
            let awaits = owner.awaitsGoodbyes
            if awaits { _ = receive(owner, socket) }
            let passed = start.duration(to: clock.now) / Duration.milliseconds(1)
            left = (awaits ? Limits.goodbyeMilliseconds : Limits.closeMilliseconds) - Int(passed)
            if left <= 0 || (pending == .nothing && !owner.awaitsGoodbyes) { break }
            let pause = if case .untilRetried = pending { 1 } else { min(50, left) }
            socket.wait(
                bell: bell, forInput: awaits, forOutput: pending == .untilWritable, milliseconds: pause)
        }
        socket.close(lingerMilliseconds: max(0, left))
        owner.end()
    }

    private static func receive(_ owner: any SocketOwner, _ socket: WireSocket) -> Int {
        var count = 0
        while count < Limits.receivesPerTurn, owner.hasRoom(), let received = socket.receive() {
            if !owner.hear(received) { WireSocket.hangUp(received.descriptor) }
            count += 1
        }
        if count > 0 { owner.heardAll() }
        return count
    }
}
