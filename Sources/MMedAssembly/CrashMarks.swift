import CSystem
import MMedCoordinator
import MMedProtocol
import MMedScheduling
import MMedStore

/// Messages that were in hand when the coordinator crashed (docs/RELIABILITY.md, row 24).
enum CrashMarks {
    /// From now on a crash of this process is marked in the page, and whatever ends it otherwise is not.
    static func watch(_ file: InHandFile) {
        guard let flag = file.crashFlag else { return }
        // It fails for numbers that are no signals alone.
        precondition(mmed_mark_crashes(flag) == 0, "a signal has no handler")
    }

    /// Lines for the progress log about what the page told.
    static func lines(_ findings: InHandFile.Findings) -> [LogEntry] {
        var lines: [LogEntry] = []
        if findings.wasDamaged {
            lines.append(
                LogEntry(
                    .warn, scope: "run", event: "in-hand-damaged",
                    fields: [.init("what", .text("the file begins anew; messages that it knew are read again"))]))
        }
        for suspect in findings.suspects {
            lines.append(
                LogEntry(
                    .warn, scope: "run", event: "crash-suspect",
                    fields: [
                        .init("key", .text(suspect.mark.sender?.text ?? "none")),
                        .init("bytes", .int(suspect.mark.byteCount)),
                        .init("crashes", .int(suspect.crashesOfMessage)),
                        .init("crashes_of_key", .int(suspect.crashesOfSender)),
                        .init("what", .text(suspect.isRefused ? "refused from now on" : "refused after another crash")),
                    ]))
        }
        return lines
    }
}
