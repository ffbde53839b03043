import Foundation
import MMedCore
import Synchronization

/// A text file that several processes may append to: each call is one `write` with `O_APPEND`, so that lines stay whole.
/// A line that cannot be written is counted, never thrown: a full disk must not stop training.
final class AppendFile: Sendable {
    private let descriptor: Int32
    private let lost = Atomic<Int>(0)

    /// Opens or makes the file; a last line that a crash cut off is closed first.
    ///
    /// - Throws: `tryAgain` with the system's reason.
    init(path: String) throws(MMedError) {
        // A pipe whose reader sleeps must not hold the run up: what does not fit into it is lost, and counted. A file never
        // says that it would block.
        let opened = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0o644)
        guard opened >= 0 else {
            throw MMedError(
                .tryAgain, at: path, "cannot open the file for appending: \(String(cString: strerror(errno)))",
                mend: "make the run folder writable, or choose another with --run-dir")
        }
        descriptor = opened
        let end = lseek(descriptor, 0, SEEK_END)
        var last: UInt8 = 0x0A
        if end > 0, pread(descriptor, &last, 1, end - 1) == 1, last != 0x0A { append("") }
    }

    deinit { close(descriptor) }

    /// Lines that could not be written since the last call.
    func takeLostCount() -> Int { lost.exchange(0, ordering: .relaxed) }

    /// Writes the text and a line feed; false when it is lost.
    @discardableResult
    func append(_ line: String) -> Bool {
        let bytes = Array((line + "\n").utf8)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                written += count
            } else if errno != EINTR {
                lost.wrappingAdd(1, ordering: .relaxed)
                return false
            }
        }
        return true
    }

    /// Gives back lines that were taken but still could not be told of.
    func putBackLostCount(_ count: Int) { lost.wrappingAdd(count, ordering: .relaxed) }
}

/// `2026-01-02T03:04:05.678Z`, rounded to the millisecond (the style itself cuts, which shows 0.678 s as 677 ms).
func timestamp(_ date: Date) -> String {
    date.addingTimeInterval(0.0005).formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true, timeZone: .gmt))
}
