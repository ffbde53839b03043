import CSystem
import Foundation
import MMedCore
import MMedLocks

/// A child process by `posix_spawn`. Foundation's `Process` reads beyond the end of a directory entry while it looks for
/// descriptors to close, which at the edge of a page ends the parent: seen once in some hundred starts.
final class ChildProcess: Sendable {
    /// How it ended.
    enum End: Hashable, Sendable, CustomStringConvertible {
        case exit(Int32), signal(Int32)

        init(waitStatus status: Int32) {
            let signal = status & 0x7f
            self = signal == 0 ? .exit((status >> 8) & 0xff) : .signal(signal)
        }

        var description: String {
            switch self {
            case .exit(let code): "exit code \(code)"
            case .signal(let number): "signal \(number)"
            }
        }
    }

    /// Its process id.
    let id: pid_t
    private let ended = Locked<End?>(nil)

    /// Starts a program with the signals of a fresh process and these descriptors as its first three; it inherits no others.
    /// `onEnd` is called once, on a thread of its own. Throws `tryAgain` when it cannot be started.
    init(
        _ program: String, _ arguments: [String], environment: [String: String] = ProcessInfo.processInfo.environment,
        folder: String? = nil, input: Int32, output: Int32, errors: Int32,
        onEnd: @escaping @Sendable (ChildProcess) -> Void = { _ in }
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (place, descriptor) in [input, output, errors].enumerated() {
            posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(place))
        }
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        if let folder { posix_spawn_file_actions_addchdir_np(&actions, folder) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var (all, none) = (sigset_t(), sigset_t())
        sigfillset(&all)
        sigemptyset(&none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
        var words = ([program] + arguments).map { strdup($0) } + [nil]
        var variables = environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in words + variables { free(text) } }
        var child = pid_t()
        let code = posix_spawn(&child, program, &actions, &attributes, &words, &variables)
        guard code == 0 else {
            throw MMedError(
                .tryAgain, at: program, "cannot be started (\(String(cString: strerror(code))))",
                mend: "check that it is there and executable, and the limits of processes and memory")
        }
        let id = child
        self.id = id
        Thread.detachNewThread { [self] in
            var status: Int32 = 0
            while waitpid(id, &status, 0) < 0 && errno == EINTR {}
            ended.withLock { $0 = End(waitStatus: status) }
            onEnd(self)
        }
    }

    /// How it ended; nil while it runs.
    var end: End? { ended.withLock { $0 } }

    /// Sends a signal, unless it has ended: its number may be another's by then.
    func signal(_ number: Int32) {
        ended.withLock { end in if end == nil { kill(id, number) } }
    }
}
