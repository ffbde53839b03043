import Foundation
import MMedCore
import MMedScheduling
import MMedProtocol
import MMedStore

/// The `status` command: what a run's folder tells, while it runs or after.
public enum StatusTool {
    struct Status: Encodable {
        var folder: String
        var running: Bool
        var checkpoint: Int
        var stage: Int
        var committedSteps: [Int]
        var adapters: [String: Int]
        var evaluations: [String]
        var merged: String?
        var lastLine: String?
    }

    /// The status as text, or as one JSON object. Throws `badData` when the folder holds no run.
    public static func run(folder: String, asJSON: Bool) throws -> String {
        let loaded = try RunFolder.loadCheckpoint(path: folder)
        let state = loaded.state
        let status = Status(
            folder: folder, running: RunFolder.isOwned(path: folder), checkpoint: loaded.number, stage: state.stage,
            committedSteps: state.tracks.map(\.committedSteps),
            adapters: Dictionary(
                state.heads.map { ($0.reference.name.text, $0.reference.version) }, uniquingKeysWith: { $1 }),
            evaluations: state.evaluations.map { "\($0.stage)/\($0.specialty)" }, merged: state.merged?.digest.hex,
            lastLine: lastLine(of: folder + "/progress.log"))
        if asJSON { return try JSONLines.line(status) }
        var lines = ["run folder   \(folder)", "running      \(status.running ? "yes" : "no")"]
        lines.append("checkpoint   \(status.checkpoint), stage \(status.stage), steps \(status.committedSteps)")
        for head in state.heads {
            lines.append(
                "adapter      \(head.reference.name) v\(head.reference.version) \(head.reference.digest.short)")
        }
        if !status.evaluations.isEmpty { lines.append("evaluated    \(status.evaluations.joined(separator: ", "))") }
        if let merged = state.merged { lines.append("merged       \(merged.digest.short)") }
        if let last = status.lastLine { lines.append("last line    \(last)") }
        if !status.running { lines.append("go on with   mmed-coord start --resume \(folder)") }
        return lines.joined(separator: "\n")
    }

    private static func lastLine(of path: String) -> String? {
        guard let handle = FileHandle(forReadingAtPath: path), let end = try? handle.seekToEnd() else { return nil }
        // A line is far shorter than this tail.
        let start = end > 65_536 ? end - 65_536 : 0
        guard (try? handle.seek(toOffset: start)) != nil, let data = try? handle.readToEnd() else { return nil }
        return String(decoding: data, as: UTF8.self).split(separator: "\n").last.map(String.init)
    }
}
