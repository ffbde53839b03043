import CZeroMQ
import Glibc
import MMedCore

/// Wakes the thread that owns a socket; any thread may ring it.
final class Bell: Sendable {
    /// Readable while the bell has rung.
    let descriptor: Int32

    init() throws(MMedError) {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard descriptor >= 0 else {
            throw MMedError(
                .tryAgain, "no event descriptor: \(describe(errno))", mend: "raise the limit of open files (ulimit -n)")
        }
    }

    deinit { close(descriptor) }

    func ring() {
        var one: UInt64 = 1
        // A full counter is a rung bell, so the result does not matter.
        _ = write(descriptor, &one, 8)
    }

    func silence() {
        var rings: UInt64 = 0
        _ = read(descriptor, &rings, 8)
    }
}

/// The system's words for an error number, ZeroMQ's own included.
func describe(_ code: Int32) -> String {
    zmq_strerror(code).map { String(cString: $0) } ?? "error \(code)"
}
