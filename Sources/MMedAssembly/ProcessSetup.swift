import CSystem
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

    /// Gives blocks of four mebibytes and more back to the system as soon as they are free. Left alone, the C library takes the size
    /// of what is freed for a hint and keeps ever larger blocks: an adapter's worth, for a coordinator (mallopt(3)).
    public static func giveLargeBlocksBack() { mallopt(M_MMAP_THRESHOLD, 4 << 20) }

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
