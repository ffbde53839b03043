import MMedLocks

/// A wait that took too long: what was waited for, and what came instead.
struct TookTooLong: Error, CustomStringConvertible {
    let description: String
}

/// What arrived, in order, for a test that waits for some of it with a deadline. What was read over is read.
final class Mailbag<Value: Sendable>: Sendable {
    private struct State {
        var values: [Value] = []
        var read = 0
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Locked(State())

    var values: [Value] { state.withLock { $0.values } }

    func add(_ value: Value) {
        state.withLock { $0.values.append(value) }
        wake()
    }

    /// The next value that `pick` takes.
    func next<Picked: Sendable>(
        _ what: String, within limit: Duration = .seconds(30), _ pick: @Sendable (Value) -> Picked?
    ) async throws -> Picked {
        let deadline = ContinuousClock.now + limit
        while true {
            let count = values.count
            if let found = scan(pick) { return found }
            guard ContinuousClock.now < deadline else {
                throw TookTooLong(
                    description:
                        "no \(what) within \(limit); the last: \(values.suffix(20).map { "\($0)".prefix(120) })")
            }
            await change(after: count, until: deadline)
        }
    }

    private func scan<Picked>(_ pick: (Value) -> Picked?) -> Picked? {
        state.withLock { state in
            for index in state.read..<state.values.count {
                if let found = pick(state.values[index]) {
                    state.read = index + 1
                    return found
                }
            }
            return nil
        }
    }

    private func change(after count: Int, until deadline: ContinuousClock.Instant) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await withCheckedContinuation { waiter in
                    let isThere = self.state.withLock { state -> Bool in
                        if state.values.count > count { return true }
                        state.waiters.append(waiter)
                        return false
                    }
                    if isThere { waiter.resume() }
                }
            }
            group.addTask { try? await Task.sleep(until: deadline) }
            await group.next()
            group.cancelAll()
            self.wake()
        }
    }

    private func wake() {
        let waiters = state.withLock { state in
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }
}
