import CKernels
import MMedCore

/// A fixed set of threads that run the parts of one job at a time; they sleep when there is none.
///
/// The partition of a job is the caller's and never depends on `threads`, so results do not either.
///
/// Proof: the only stored state is a handle that never changes; the C side guards it with a mutex and atomics.
public final class ComputePool: @unchecked Sendable {
    /// Threads that take part in a job, the calling one included.
    public let threads: Int
    private let handle: OpaquePointer

    /// A pool of `threads` threads (held within `ComputeThreads.allowed`), the caller of `run` being one of them.
    public init(threads: Int) {
        let wanted = min(max(threads, ComputeThreads.allowed.lowerBound), ComputeThreads.allowed.upperBound)
        guard let handle = mmed_pool_create(Int32(wanted)) else {
            preconditionFailure("the system gives no thread for a pool of \(wanted)")
        }
        self.threads = wanted
        self.handle = handle
    }

    deinit { mmed_pool_destroy(handle) }

    /// Runs `body(0)` to `body(parts - 1)`, each once, in any order and on any thread, and returns when all are done.
    ///
    /// Jobs from several threads run one after another; a `run` inside a part runs its parts in line.
    public func run(parts: Int, _ body: @Sendable (Int) -> Void) {
        guard parts > 0 else { return }
        withoutActuallyEscaping(body) { escapable in
            var job = escapable
            withUnsafeMutablePointer(to: &job) { context in
                mmed_pool_run(
                    handle, parts,
                    { context, part in
                        guard let context else { return }
                        context.assumingMemoryBound(to: (@Sendable (Int) -> Void).self).pointee(part)
                    }, context)
            }
        }
    }
}
