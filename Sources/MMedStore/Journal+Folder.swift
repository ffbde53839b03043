import Foundation
import MMedCore

extension RunFolder {
    /// The journal's file in a run folder.
    public static func journalPath(in folder: String) -> String { folder + "/journal.db" }
}

extension Journal {
    /// A new journal in a folder that is this process's own. One that is there belongs to a start that never came to its
    /// first checkpoint: nothing was asked of anybody, so it is begun anew.
    public convenience init(new folder: RunFolder) throws {
        let path = RunFolder.journalPath(in: folder.path)
        // The end first: it must not be there beside a journal that is shorter.
        let files = [JournalEnd.path(beside: path)] + ["", "-wal", "-shm"].map { path + $0 }
        for file in files { try? FileManager.default.removeItem(atPath: file) }
        try self.init(path: path)
    }

    /// True when a folder's journal has records of work, and not only what every run begins with. Throws what `init` throws.
    static func holdsWork(in folder: String) throws -> Bool {
        let path = RunFolder.journalPath(in: folder)
        guard FileManager.default.fileExists(atPath: path) else { return false }
        let journal = try Journal(path: path)
        let beginnings = "SELECT EXISTS (SELECT 1 FROM record WHERE kind NOT IN ('run', 'question', 'session'))"
        let found = try journal.rows(of: beginnings)
        try journal.close()
        return found.last == ["1"]
    }

    /// The journal of a run that has begun. Throws `badData` when it is not there.
    public convenience init(existing folder: RunFolder) throws {
        try self.init(existingIn: folder.path)
    }

    /// The journal in a folder. Throws `badData` when it is not there, `tryAgain` while a coordinator holds it.
    public convenience init(existingIn folder: String) throws {
        let path = RunFolder.journalPath(in: folder)
        guard FileManager.default.fileExists(atPath: path) else {
            throw MMedError(
                .badData, at: path, "there is no journal", mend: "restore it from a backup, or begin the run anew")
        }
        try self.init(path: path)
    }
}
