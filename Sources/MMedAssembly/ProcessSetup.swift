import Foundation
public import MMedCore

/// What both programs do first, and how they speak on standard error.
public enum ProcessSetup {
    /// Makes a closed pipe and a file-size limit errors of the call that meets them, where their signals would end the
    /// process, and arms the failpoints that the environment asks for. Throws `usage` for one that is not there.
    public static func prepare() throws(MMedError) {
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        try Failpoints.armFromEnvironment()
    }

    /// Says a line on standard error. When nobody reads it any more it is lost, and nothing else happens.
    public static func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if count > 0 { done += count } else if errno != EINTR { return }
        }
    }
}
