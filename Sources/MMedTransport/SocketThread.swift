import CZeroMQ
import Glibc
import MMedCore

private final class ThreadStart {
    let name: String
    let body: () -> Void

    init(_ name: String, _ body: @escaping () -> Void) {
        self.name = name
        self.body = body
    }
}

/// Runs `body` on a thread of its own that takes no signals. Blocking C calls never run on Swift's cooperative pool.
func startThread(named name: String, _ body: sending @escaping () -> Void) throws(MMedError) {
    let start = Unmanaged.passRetained(ThreadStart(name, body))
    var thread = pthread_t()
    let code = pthread_create(
        &thread, nil,
        { argument in
            var every = sigset_t()
            sigfillset(&every)
            pthread_sigmask(SIG_SETMASK, &every, nil)
            guard let argument else { return nil }
            let start = Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue()
            mmed_name_thread(start.name)
            start.body()
            return nil
        }, start.toOpaque())
    guard code == 0 else {
        start.release()
        throw MMedError(
            .tryAgain, "no thread for the socket: \(describe(code))", mend: "raise the limit of processes (ulimit -u)")
    }
    pthread_detach(thread)
}
