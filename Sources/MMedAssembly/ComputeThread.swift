import Dispatch

/// A serial queue of its own for blocking computation, which must never hold a thread of the cooperative pool.
struct ComputeThread: Sendable {
    private let queue: DispatchQueue

    init(_ label: String) { queue = DispatchQueue(label: label, qos: .userInitiated) }

    /// Runs the body on the queue and waits for it without blocking the caller's thread.
    func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try body() }) }
        }
    }
}
