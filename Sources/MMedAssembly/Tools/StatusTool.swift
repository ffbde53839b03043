import Foundation
import MMedCore
import MMedFormats
import MMedScheduling
import MMedProtocol
import MMedStore
import MMedTelemetry

/// The `status` command: what a run's folder tells, while it runs or after.
public enum StatusTool {
    struct Status: Encodable {
        struct Steps: Encodable {
            var specialty: String
            var committed: Int
            /// Nil where the folder does not tell.
            var of: Int?
        }
        struct Evaluation: Encodable {
            var stage: String
            var specialty: String
            var prompt: String
            var answers: Int
            var questions: Int
            var strict: Double
            var lenient: Double
            var balanced: Double
            var choice: Double?
            var unparsed: Double
            var meanReward: Double
        }
        var folder: String
        var running: Bool
        var complete: Bool
        var checkpoint: Int
        /// Nil when all stages are done.
        var stage: String?
        /// Counted from 1.
        var stageNumber: Int
        var stages: Int?
        var steps: [Steps]
        /// Versions.
        var adapters: [String: Int]
        var digests: [String: String]
        var evaluations: [Evaluation]
        var merged: String?
        var lastLine: String?
    }

    /// The status as text, or as one JSON object. Throws `badData` when the folder holds no run.
    public static func run(folder: String, asJSON: Bool) throws -> String {
        let loaded = try RunFolder.loadCheckpoint(path: folder)
        let status = status(of: loaded.state, checkpoint: loaded.number, folder: folder)
        return asJSON ? try SortedJSON.line(status) : text(status, heads: loaded.state.heads)
    }

    private static func status(of state: RunState, checkpoint: Int, folder: String) -> Status {
        // A folder of an earlier release has no outline; a report is written at the end alone.
        let outline = (try? LaunchRecord(folder: folder))?.stages
        let isComplete =
            (outline.map { state.stage >= $0.count } ?? true)
            && FileManager.default.fileExists(atPath: folder + "/report.txt")
        let current = outline.flatMap { $0.indices.contains(state.stage) ? $0[state.stage] : nil }
        let steps = state.tracks.enumerated().map { index, track in
            let planned = current.flatMap { $0.tracks.indices.contains(index) ? $0.tracks[index] : nil }
            return Status.Steps(
                specialty: planned?.specialty ?? "track \(index + 1)", committed: track.committedSteps,
                of: planned?.steps)
        }
        return Status(
            folder: folder, running: RunFolder.isOwned(path: folder), complete: isComplete, checkpoint: checkpoint,
            stage: isComplete ? nil : current?.name, stageNumber: min(state.stage + 1, outline?.count ?? .max),
            stages: outline?.count, steps: isComplete ? [] : steps,
            adapters: Dictionary(
                state.heads.map { ($0.reference.name.text, $0.reference.version) }, uniquingKeysWith: { $1 }),
            digests: Dictionary(
                state.heads.map { ($0.reference.name.text, $0.reference.digest.hex) }, uniquingKeysWith: { $1 }),
            evaluations: state.evaluations.flatMap(evaluations), merged: state.merged?.digest.hex,
            lastLine: lastLine(of: folder + "/progress.log"))
    }

    private static func evaluations(of record: EvaluationRecord) -> [Status.Evaluation] {
        RunReport.results(of: record).map { result in
            let paths = record.paths.filter { $0.prompt == result.prompt }
            func share(_ part: Int) -> Double { Double(part) / Double(max(1, result.samples)) }
            return Status.Evaluation(
                stage: record.stage, specialty: record.specialty.text, prompt: result.prompt, answers: result.samples,
                questions: result.questions, strict: share(result.strict), lenient: share(result.lenient),
                balanced: result.balancedAccuracy,
                choice: paths.contains { $0.choice != nil }
                    ? Double(result.choice) / Double(max(1, result.questions)) : nil,
                unparsed: share(result.unparsed),
                meanReward: paths.reduce(0) { $0 + $1.reward } / Double(max(1, paths.count)))
        }
    }

    private static func text(_ status: Status, heads: [AdapterHead]) -> String {
        var lines = [
            "run folder   \(status.folder)", "running      \(status.running ? "yes" : "no")",
            "complete     \(status.complete ? "yes" : "no")", "checkpoint   \(status.checkpoint)",
        ]
        if !status.complete {
            let place = "\(status.stageNumber)" + (status.stages.map { " of \($0)" } ?? "")
            lines.append("stage        \(status.stage.map { "\($0), " } ?? "")\(place)")
            let steps = status.steps.map { steps in
                "\(steps.specialty) \(steps.committed)" + (steps.of.map { " of \($0)" } ?? "")
            }
            if !steps.isEmpty { lines.append("steps done   \(steps.joined(separator: ", "))") }
        }
        for head in heads {
            lines.append(
                "adapter      \(head.reference.name) v\(head.reference.version) \(head.reference.digest.short)")
        }
        // The newest stage; all of them are in the report and in --json.
        let newest = status.evaluations.last?.stage
        for row in status.evaluations where row.stage == newest {
            let strict = String(format: "%.1f", row.strict * 100)
            lines.append(
                "evaluated    \(row.stage) \(row.specialty) \(row.prompt): \(strict) % strict of \(row.answers) answers"
            )
        }
        let earlier = status.evaluations.count { $0.stage != newest }
        if earlier > 0 { lines.append("evaluated    \(earlier) rows of earlier stages: --json") }
        if let merged = status.merged { lines.append("merged       \(merged.prefix(8))") }
        if let last = status.lastLine { lines.append("last line    \(last)") }
        if status.complete {
            lines.append("report       \(status.folder)/report.txt")
        } else if !status.running {
            lines.append("go on with   mmed-coord start --resume \(status.folder)")
        }
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
