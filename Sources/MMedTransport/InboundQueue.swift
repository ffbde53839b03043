import MMedLocks
import MMedProtocol

/// What a socket's thread has heard, until somebody takes it. Beyond its bounds the thread stops to read, so TCP holds the senders back.
final class InboundQueue<Element: Sendable>: Sendable {
    private struct Item: Sendable {
        var element: Element
        var bytes: Int
        var mark: FrameMark?
    }

    private struct State: Sendable {
        var items = Fifo<Item>()
        var bytes = 0
        var takers = Fifo<CheckedContinuation<Item?, Never>>()
        var ended = false
        /// The thread found the queue full and does not read.
        var paused = false

        var isFull: Bool { bytes >= Limits.inboundQueueBytes || items.count >= Limits.inboundQueueMessages }
        var isHalfEmpty: Bool {
            bytes <= Limits.inboundQueueBytes / 2 && items.count <= Limits.inboundQueueMessages / 2
        }
    }

    private let state = Locked(State())
    private let bell: Bell

    init(bell: Bell) { self.bell = bell }

    /// The queue as a stream for one reader; it ends after `end`, and when its reader is cancelled.
    var stream: AsyncStream<Element> { stream { _ in true } }

    /// The same without what may not be taken (any more) when its turn comes; `taken` sees the mark of what the reader gets.
    func stream(
        _ mayTake: @escaping @Sendable (Element) -> Bool, taken: @escaping @Sendable (FrameMark?) -> Void = { _ in }
    ) -> AsyncStream<Element> {
        AsyncStream(
            unfolding: {
                while let item = await self.next() {
                    guard mayTake(item.element) else { continue }
                    taken(item.mark)
                    return item.element
                }
                return nil
            }, onCancel: { self.cancelTakers() })
    }

    /// False when the thread must not read; it is woken when that changes.
    func hasRoom() -> Bool {
        state.withLock { state in
            state.paused = state.isFull
            return !state.paused
        }
    }

    /// Appends; what is `held` is shown to a waiting reader at the next `show`. To wake a reader costs as much as to decode a
    /// message, so those of a turn wake it once.
    func push(_ element: Element, bytes: Int = 0, mark: FrameMark? = nil, isHeld: Bool = false) {
        state.withLock { state in
            if state.ended { return }
            state.items.append(Item(element: element, bytes: bytes, mark: mark))
            state.bytes += bytes
        }
        if !isHeld { show() }
    }

    /// Wakes a reader that waits when there is something for it.
    func show() {
        let (taker, item) = state.withLock { state -> (CheckedContinuation<Item?, Never>?, Item?) in
            guard !state.items.isEmpty, let taker = state.takers.popFirst() else { return (nil, nil) }
            let item = state.items.popFirst()
            state.bytes -= item?.bytes ?? 0
            return (taker, item)
        }
        taker?.resume(returning: item)
    }

    /// Readers that wait.
    var waitingCount: Int { state.withLock { $0.takers.count } }

    /// Nothing more comes; what is there can still be taken.
    func end() {
        show()
        state.withLock { $0.ended = true }
        cancelTakers()
    }

    private func cancelTakers() {
        while let taker = state.withLock({ $0.takers.popFirst() }) { taker.resume(returning: nil) }
    }

    private enum Step {
        case take(Item?)
        case wait
    }

    private func take() -> Step {
        let (step, mustRing) = state.withLock { state -> (Step, Bool) in
            guard let item = state.items.popFirst() else {
                return (state.ended ? .take(nil) : .wait, false)
            }
            state.bytes -= item.bytes
            let resumes = state.paused && state.isHalfEmpty
            if resumes { state.paused = false }
            return (.take(item), resumes)
        }
        if mustRing { bell.ring() }
        return step
    }

    private func next() async -> Item? {
        if case .take(let item) = take() { return item }
        return await withCheckedContinuation { continuation in
            let found = state.withLock { state -> Item?? in
                if let item = state.items.popFirst() {
                    state.bytes -= item.bytes
                    return .some(item)
                }
                if state.ended || Task.isCancelled { return .some(nil) }
                state.takers.append(continuation)
                return nil
            }
            if let found { continuation.resume(returning: found) }
        }
    }
}
