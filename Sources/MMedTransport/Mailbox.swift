import MMedLocks

/// Frames on their way to the thread that owns a socket, and the request to close it.
final class Mailbox<Letter: Sendable>: Sendable {
    private struct Waiting: Sendable {
        var letter: Letter
        var bytes: Int
        var continuation: CheckedContinuation<Void, Never>
    }

    private struct State: Sendable {
        var letters: [Letter] = []
        /// Bytes posted and not yet reported as sent.
        var bytes = 0
        var waiting = Fifo<Waiting>()
        var closers: [CheckedContinuation<Void, Never>] = []
        /// The bell rang since the thread last looked.
        var rung = false
        var closing = false
        var ended = false
    }

    private let state = Locked(State())
    private let bell: Bell
    private let capacity: Int

    /// `capacity` bytes may be unsent before `post` waits.
    init(bell: Bell, capacity: Int) {
        self.bell = bell
        self.capacity = capacity
    }

    /// Leaves a letter without waiting, whatever is unsent. False when the endpoint is closed.
    @discardableResult
    func postNow(_ letter: Letter) -> Bool {
        let (taken, mustRing) = state.withLock { state -> (Bool, Bool) in
            if state.closing { return (false, false) }
            state.letters.append(letter)
            defer { state.rung = true }
            return (true, !state.rung)
        }
        if mustRing { bell.ring() }
        return taken
    }

    /// Leaves a letter, after waiting while too much is unsent. Waiting senders keep their order; closing ends their wait.
    func post(_ letter: Letter, bytes: Int) async {
        if leave(letter, bytes, nil) { return }
        await withCheckedContinuation { continuation in
            if leave(letter, bytes, continuation) { continuation.resume() }
        }
    }

    /// True when the letter was left or the endpoint is closed; else the continuation, where there is one, now waits.
    private func leave(_ letter: Letter, _ bytes: Int, _ continuation: CheckedContinuation<Void, Never>?) -> Bool {
        let (done, mustRing) = state.withLock { state -> (Bool, Bool) in
            if state.closing { return (true, false) }
            guard state.waiting.isEmpty, state.bytes == 0 || state.bytes + bytes <= capacity else {
                if let continuation {
                    state.waiting.append(Waiting(letter: letter, bytes: bytes, continuation: continuation))
                }
                return (false, false)
            }
            state.letters.append(letter)
            state.bytes += bytes
            defer { state.rung = true }
            return (true, !state.rung)
        }
        if mustRing { bell.ring() }
        return done
    }

    /// Senders that wait.
    var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// For the thread: everything left since the last look, and whether to close.
    func take() -> (letters: [Letter], closing: Bool) {
        state.withLock { state in
            state.rung = false
            let letters = state.letters
            state.letters = []
            return (letters, state.closing)
        }
    }

    /// For the thread: so many bytes are with ZeroMQ now. Waiting letters that fit move up, and the bell tells the thread to take them.
    func sent(bytes: Int) {
        let (freed, mustRing) = state.withLock { state -> ([CheckedContinuation<Void, Never>], Bool) in
            state.bytes -= bytes
            var freed: [CheckedContinuation<Void, Never>] = []
            while let next = state.waiting.first, state.bytes == 0 || state.bytes + next.bytes <= capacity {
                _ = state.waiting.popFirst()
                state.letters.append(next.letter)
                state.bytes += next.bytes
                freed.append(next.continuation)
            }
            if freed.isEmpty || state.rung { return (freed, false) }
            state.rung = true
            return (freed, true)
        }
        if mustRing { bell.ring() }
        for continuation in freed { continuation.resume() }
    }

    /// Asks the thread to close, without waiting for it.
    func requestClose() {
        state.withLock { $0.closing = true }
        bell.ring()
    }

    /// Asks the thread to close and waits until it has.
    func close() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let ended = state.withLock { state -> Bool in
                if !state.ended { state.closers.append(continuation) }
                state.closing = true
                return state.ended
            }
            if ended { continuation.resume() } else { bell.ring() }
        }
    }

    /// For the thread: the socket is closed; nobody waits any longer.
    func end() {
        var woken = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            (state.closing, state.ended) = (true, true)
            defer { state.closers = [] }
            return state.closers
        }
        while let next = state.withLock({ $0.waiting.popFirst() }) { woken.append(next.continuation) }
        for continuation in woken { continuation.resume() }
    }
}
