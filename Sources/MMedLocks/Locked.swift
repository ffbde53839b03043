import Glibc

/// A value that one thread at a time may touch. It stands on a pthread mutex, which ThreadSanitizer understands; the slow path of
/// Swift's own `Mutex` is not instrumented, so that a contended one is taken for a race.
/// Proof of `@unchecked Sendable`: `value` is read and written only between lock and unlock of `mutex`, and `mutex` itself never changes.
public final class Locked<Value: Sendable>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private var value: Value

    /// The value as it is before anyone has touched it.
    public init(_ value: Value) {
        self.value = value
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        let code = pthread_mutex_init(mutex, nil)
        precondition(code == 0, "pthread_mutex_init of a default mutex cannot fail on Linux: \(code)")
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deinitialize(count: 1)
        mutex.deallocate()
    }

    /// Runs `body` alone; it must be short and must not wait. Throws what `body` throws.
    public func withLock<Result, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value)
    }
}
