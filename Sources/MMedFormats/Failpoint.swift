import Glibc
public import MMedCore
import MMedLocks
import Synchronization

/// A named place in the program where a test can make the process die, stand still, or fail.
public struct FailpointSite: Hashable, Sendable {
    /// Where it is, in words.
    public let name: String
    /// True where a step can fail; elsewhere the process can only die or be stopped.
    public let canThrow: Bool

    /// A place.
    public init(_ name: String, canThrow: Bool = true) {
        self.name = name
        self.canThrow = canThrow
    }
}

/// Places where the program can be hit, off unless a test asks: then a passage costs one relaxed load. docs/RELIABILITY.md
/// tells what they are for. Whoever starts the process arms them, so no room reads the environment.
public enum Failpoint {
    private enum Deed: String, CaseIterable {
        case kill, stop, trap, error
    }

    private struct Trap {
        let site: FailpointSite
        let passage: Int
        let deed: Deed
    }

    private struct State {
        var traps: [Trap] = []
        var passages: [String: Int] = [:]
    }

    private static let armed = Atomic<Bool>(false)
    private static let state = Locked(State())

    /// True when a test has asked for anything.
    public static var isArmed: Bool { armed.load(ordering: .relaxed) }

    /// Arms `name:n`, `name:n:stop`, `name:n:trap` and `name:n:error`, separated by commas, or counts passages alone for the text
    /// `count`. At the n-th passage the process kills itself with SIGKILL, stops itself with SIGSTOP, crashes by SIGTRAP as a
    /// broken precondition does, or the step throws `tryAgain`.
    /// Throws `usage`, with all names, for a text that says something else.
    public static func arm(_ text: String, sites: [FailpointSite]) throws(MMedError) {
        var traps: [Trap] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) where text != "count" {
            traps.append(try trap(String(part), sites))
        }
        state.withLock { $0.traps += traps }
        armed.store(true, ordering: .relaxed)
    }

    private static func trap(_ text: String, _ sites: [FailpointSite]) throws(MMedError) -> Trap {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard (2...3).contains(parts.count), let passage = Int(parts[1]), passage >= 1,
            let deed = parts.count == 2 ? .kill : Deed(rawValue: parts[2])
        else {
            throw MMedError(
                .usage, at: "failpoint \(text)",
                "expected name:n, name:n:stop, name:n:trap or name:n:error, with n from 1",
                mend: "`mmed-coord failpoints` lists the names")
        }
        guard let site = sites.first(where: { $0.name == parts[0] }) else {
            throw MMedError(
                .usage, at: "failpoint \(text)", "no failpoint has this name",
                mend: "`mmed-coord failpoints` lists the names")
        }
        guard deed != .error || site.canThrow else {
            throw MMedError(
                .usage, at: "failpoint \(text)", "nothing can fail here", mend: "leave out :error, or choose :stop")
        }
        return Trap(site: site, passage: passage, deed: deed)
    }

    /// A passage of a place where a step can fail. Throws `tryAgain` when a test wants it to.
    @inline(__always) public static func pass(_ site: @autoclosure () -> FailpointSite) throws {
        guard isArmed else { return }
        if reach(site()) {
            throw MMedError(
                .tryAgain, at: "failpoint \(site().name)", "it fails because a test wants it to",
                mend: "start without MMED_FAILPOINT")
        }
    }

    /// A passage of a place where nothing can fail.
    @inline(__always) public static func note(_ site: @autoclosure () -> FailpointSite) {
        guard isArmed else { return }
        _ = reach(site())
    }

    /// How often each place was passed, by name.
    public static var passages: [(name: String, count: Int)] {
        state.withLock { state in state.passages.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
    }

    /// True when the step must fail.
    private static func reach(_ site: FailpointSite) -> Bool {
        let trap = state.withLock { state -> Trap? in
            let passage = state.passages[site.name, default: 0] + 1
            state.passages[site.name] = passage
            return state.traps.first { $0.site.name == site.name && $0.passage == passage }
        }
        guard let trap else { return false }
        let line = Array("failpoint \(site.name):\(trap.passage): \(trap.deed.rawValue)\n".utf8)
        _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        switch trap.deed {
        case .error: return true
        case .stop: kill(getpid(), SIGSTOP)
        case .trap: raise(SIGTRAP)
        case .kill:
            kill(getpid(), SIGKILL)
            // The signal takes a moment; nothing may happen after the place.
            while true { pause() }
        }
        return false
    }
}
