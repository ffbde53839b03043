import Foundation
import MMedCore
import MMedScheduling
import MMedStore

/// The `verify` and `lineage` commands: what a run's journal says, and whether it can be believed.
public enum JournalTool {
    /// Checks the whole hash chain, the checkpoint and those before it, every blob that they name, that the exported folders
    /// hold what their blobs do, and that the configuration is the run's; returns what was found.
    /// Throws `badData` naming the first thing that is damaged, `tryAgain` while a coordinator works in the folder.
    public static func verify(folder: String) throws -> String {
        // Before all else: it tells a coordinator at work, which would take the states away while they are read.
        let journal = try Journal(existingIn: folder)
        var former = try RunFolder.loadCheckpoints(path: folder).map { try $0.state.get() }
        let loaded = former.removeFirst()
        let head = try journal.verify()
        try journal.verifyTail(from: loaded.journal)
        let launch = try LaunchRecord(folder: folder)
        try launch.requireConfiguration(folder)
        let adapters = ExportedAdapter.all(in: loaded.state)
        let foldersByDigest = Dictionary(grouping: adapters, by: \.digest)
        let blobs = former.reduce(into: loaded.state.blobDigests) { $0.formUnion($1.state.blobDigests) }
        for digest in blobs.sorted() {
            let blob = try RunFolder.openBlob(digest, path: folder)
            for adapter in foldersByDigest[digest] ?? [] {
                try adapter.verify(below: folder, blob: blob, baseModel: launch.baseModel)
            }
        }
        let numbers = former.map { String($0.number) }.joined(separator: ", ")
        let before = former.isEmpty ? "" : "; before it \(numbers)"
        let end =
            journal.knowsItsEnd || head.sequence == 0
            ? "" : " (journal.end is missing: whether records behind the checkpoint were cut off is not known)"
        return """
            journal      \(head.sequence) records, chain \(head.chain.short)\(end)
            checkpoint   \(loaded.number), written after record \(loaded.journal.sequence)\(before)
            blobs        \(blobs.count), each with the digest of its name
            adapters     \(adapters.count) exported folders, each with the numbers of its blob
            config       as the run began
            \(folder): verified
            """
    }

    /// The rows of a query as tab-separated lines below the column names. Throws `usage` for a query that is not understood or
    /// would change something, `tryAgain` while a coordinator works in the folder.
    public static func lineage(folder: String, query: String) throws -> String {
        lines(try Journal(existingIn: folder).rows(of: query))
    }

    private static func lines(_ rows: [[String]]) -> String {
        rows.map { $0.joined(separator: "\t") }.joined(separator: "\n")
    }

    /// What trained an adapter version and all that it descends from, by the first digits of its digest: rows as of `lineage`.
    /// Throws `badData` when the run has trained no version of such a digest.
    public static func lineage(folder: String, ofDigest prefix: String) throws -> String {
        let query = try query(ofDigest: prefix)
        let journal = try Journal(existingIn: folder)
        let versions = try journal.rows(of: "SELECT digest FROM ancestry WHERE digest LIKE '\(prefix)%' LIMIT 1")
        guard versions.count > 1 else {
            throw MMedError(
                .badData, at: "--digest \(prefix)", "no version that this run has trained has such a digest",
                mend: "take it from progress.log or from `mmed-coord status`")
        }
        return lines(try journal.rows(of: query))
    }

    private static func query(ofDigest prefix: String) throws -> String {
        guard (4...64).contains(prefix.count), prefix.allSatisfy({ $0.isHexDigit && !$0.isUppercase }) else {
            throw MMedError(
                .usage, at: "--digest", "\"\(prefix)\" is not 4 to 64 hexadecimal digits",
                mend: "take it from progress.log or from `mmed-coord status`")
        }
        return """
            SELECT DISTINCT adapter, version, kind, question, prompt, patient, image, source FROM lineage WHERE digest IN
              (SELECT ancestor FROM ancestry WHERE digest LIKE '\(prefix)%') ORDER BY adapter, version, question, prompt
            """
    }
}
