import MMedCore
import MMedLocks
import MMedProtocol

@testable import MMedWorker

/// A door that a test closes to hold the engine where it is.
final class Gate: Sendable {
    private struct State {
        var isOpen = true
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Locked(State())

    func close() { state.withLock { $0.isOpen = false } }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for waiter in waiting { waiter.resume() }
    }

    func pass() async {
        await withCheckedContinuation { waiter in
            let isOpen = state.withLock { state -> Bool in
                if !state.isOpen { state.waiting.append(waiter) }
                return state.isOpen
            }
            if isOpen { waiter.resume() }
        }
    }
}

/// Computes nothing, in the order of a real engine.
final class FakeEngine: WorkerEngine {
    struct State {
        /// Content and moments of the versions held.
        var replicas: [AdapterReference: (content: [UInt8], moments: [UInt8]?)] = [:]
        var tokens: UInt64 = 0
        /// Thrown by the next call.
        var failure: MMedError?
        /// Paths after which sampling ends without an error.
        var pathsMax = Int.max
        var gradientBytes = 8
        /// What applying an update reaches, where it differs from the announcement.
        var reaches: Digest?
    }

    let state = Locked(State())
    /// Passed before each path and each gradient.
    let gate = Gate()
    /// What it was asked to do.
    let calls = Mailbag<String>()

    func change(_ body: (inout State) -> Void) { state.withLock { body(&$0) } }

    private func takeFailure() throws {
        let failure = state.withLock { state in
            defer { state.failure = nil }
            return state.failure
        }
        if let failure { throw failure }
    }

    var progress: UInt64 { state.withLock { $0.tokens } }
    func holds(_ adapter: AdapterReference) -> Bool { state.withLock { $0.replicas[adapter] != nil } }

    func load(_ adapter: AdapterReference, content: [UInt8]) throws {
        calls.add("load v\(adapter.version)")
        try takeFailure()
        state.withLock { $0.replicas[adapter] = (content, nil) }
    }

    func canary(_ ids: [Int32], adapter: AdapterReference?) async throws -> Double {
        calls.add("canary \(adapter.map { "v\($0.version)" } ?? "base")")
        try takeFailure()
        return -Double(ids.reduce(0) { $0 + Int($1) }) - Double(adapter?.version ?? 0)
    }

    func sample(
        _ lease: RolloutLease, seed: UInt64, isCancelled: @escaping @Sendable () -> Bool,
        onFinished: @escaping @Sendable (Trajectory) -> Void
    ) async throws {
        calls.add("sample \(lease.lease.fence)")
        var count = 0
        for question in lease.questions {
            for slot in question.slots {
                await gate.pass()
                try takeFailure()
                if isCancelled() { throw MMedError(.tryAgain, "the lease was revoked") }
                if count >= state.withLock({ $0.pathsMax }) { return }
                count += 1
                state.withLock { $0.tokens += 1 }
                onFinished(Sample.path(slot, question.adapter))
            }
        }
    }

    func differentiate(_ lease: GradientLease, isCancelled: @escaping @Sendable () -> Bool) async throws
        -> ShardGradient
    {
        calls.add("differentiate \(lease.lease.fence)")
        await gate.pass()
        try takeFailure()
        if isCancelled() { throw MMedError(.tryAgain, "the lease was revoked") }
        let bytes = Sample.noise(state.withLock { $0.gradientBytes }, key: lease.lease.fence)
        return ShardGradient(bytes: bytes, digest: Sample.digest(of: bytes), statistics: ShardStatistics())
    }

    func canApply(_ update: UpdateAnnouncement) -> Bool { state.withLock { $0.replicas[update.base]?.moments != nil } }

    func apply(_ update: UpdateAnnouncement, gradient: [UInt8]) async throws -> AdapterReference {
        calls.add("apply v\(update.result.version)")
        try takeFailure()
        return state.withLock { state in
            var reached = update.result
            reached.digest = state.reaches ?? update.result.digest
            if reached == update.result { state.replicas[reached] = (gradient, gradient) }
            return reached
        }
    }

    func loadMoments(_ adapter: AdapterReference, content: [UInt8]) throws {
        calls.add("moments v\(adapter.version)")
        state.withLock { $0.replicas[adapter]?.moments = content }
    }
}

final class LogLines: WorkerLog {
    let lines = Mailbag<String>()
    func line(_ text: String) { lines.add(text) }
}
