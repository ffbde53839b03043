import MMedFormats
import MMedProtocol
import MMedWorker

/// A worker's engine with failpoints around each of its steps.
struct FailpointEngine: WorkerEngine {
    let inner: any WorkerEngine

    var progress: UInt64 { inner.progress }
    func holds(_ adapter: AdapterReference) -> Bool { inner.holds(adapter) }

    func load(_ adapter: AdapterReference, content: [UInt8]) throws {
        try hitNow("worker-load") { try inner.load(adapter, content: content) }
    }

    func canary(_ ids: [Int32], adapter: AdapterReference?) async throws -> Double {
        try await hit("worker-canary") { try await inner.canary(ids, adapter: adapter) }
    }

    func sample(
        _ lease: RolloutLease, seed: UInt64, isCancelled: @escaping @Sendable () -> Bool,
        onFinished: @escaping @Sendable (Trajectory) -> Void
    ) async throws {
        try await hit("worker-sample") {
            try await inner.sample(
                lease, seed: seed, isCancelled: isCancelled,
                onFinished: { path in
                    Failpoint.note(Failpoints.pathFinished)
                    onFinished(path)
                })
        }
    }

    func differentiate(
        _ lease: GradientLease, isCancelled: @escaping @Sendable () -> Bool
    ) async throws -> ShardGradient {
        try await hit("worker-differentiate") { try await inner.differentiate(lease, isCancelled: isCancelled) }
    }

    func canApply(_ update: UpdateAnnouncement) -> Bool { inner.canApply(update) }

    func apply(_ update: UpdateAnnouncement, gradient: [UInt8]) async throws -> AdapterReference {
        try await hit("worker-apply") { try await inner.apply(update, gradient: gradient) }
    }

    func loadMoments(_ adapter: AdapterReference, content: [UInt8]) throws {
        try hitNow("worker-load-moments") { try inner.loadMoments(adapter, content: content) }
    }
}
