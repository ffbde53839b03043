/// How a command ends when an error reaches it; the numbers are those of sysexits.h.
public enum ExitKind: Int32, Sendable {
    /// The command line itself is wrong.
    case usage = 64
    /// A file, a record or a model is malformed or does not fit.
    case badData = 65
    /// No worker is there to do the work.
    case noWorkers = 69
    /// A promise inside the program was broken.
    case internalError = 70
    /// The machine cannot do it now (a lock is held, the disk is full); later it may.
    case tryAgain = 75
    /// The configuration is wrong.
    case badConfig = 78
}

/// The one error of the project: what is wrong and where, what was expected, and the mend.
public struct MMedError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Decides the exit code of a command.
    public let kind: ExitKind
    /// File, line, key or peer: where the user must look. Empty when the message says it.
    public let place: String
    /// What is wrong, and what was expected instead.
    public let problem: String
    /// What the user can do about it. Empty only where nothing can be done.
    public let mend: String

    /// Names the kind, the place, the problem and the mend.
    public init(_ kind: ExitKind, at place: String = "", _ problem: String, mend: String = "") {
        self.kind = kind
        self.place = place
        self.problem = problem
        self.mend = mend
    }

    /// One sentence: `place: problem; mend`.
    public var description: String {
        let head = place.isEmpty ? problem : "\(place): \(problem)"
        return mend.isEmpty ? head : "\(head); \(mend)"
    }
}
