import Foundation
import Testing

/// What all runs of a sitting share: programs, configurations, and what an unbroken run makes and passes.
final class ChaosBench {
    let lab: Lab
    /// The programs, and a folder where the coordinator's own workers are idle: those of a run are the driver's.
    let programs: String, bin: String
    let otherModel: String
    private(set) var places: [Failplace] = []
    private(set) var secondsUnbroken = 0.0
    private var unbroken: [Int: RunResult] = [:]
    private let scratch: Scratch
    /// Far more than a run that is hit three times takes.
    var secondsPerRun: Double { 120 + 20 * secondsUnbroken }

    init() async throws {
        lab = try await Lab.shared.value
        scratch = try Scratch()
        programs = try ProcessInfo.processInfo.environment["MMED_CHAOS_PROGRAMS"] ?? Program.folder()
        bin = scratch.path + "/bin"
        otherModel = scratch.path + "/other"
        try FileManager.default.createDirectory(atPath: bin, withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: programs + "/mmed-coord", toPath: bin + "/mmed-coord")
        try scratch.write("bin/mmed-worker", "#!/bin/sh\nexec cat > /dev/null\n")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: bin + "/mmed-worker")
        for lag in 0...1 { try write(lab.chaosConfig(lag: lag), Lab.chaosConfigText(lag: lag)) }
        _ = try await end(["tiny-model", "--output", otherModel, "--seed", "8"])
        for lag in 0...1 { try await runUnbroken(lag) }
    }

    private func write(_ path: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    func config(lag: Int) -> String { lab.chaosConfig(lag: lag) }

    /// A run that nothing disturbs, by the coordinator's own workers; it counts which failpoints it passes.
    private func runUnbroken(_ lag: Int) async throws {
        let folder = scratch.path + "/unbroken-\(lag)"
        let cluster = try scratch.write("cluster.yaml", Lab.cluster())
        let began = Date()
        let program = try Program(
            "mmed-coord",
            [
                "start", "--config", config(lag: lag), "--cluster", cluster, "--model", lab.model, "--run-dir", folder,
            ], in: scratch, folder: programs, environment: ["MMED_FAILPOINT": "count"])
        let ended = try await program.end(within: 600)
        guard ended.code == 0 else { throw Failure("the unbroken run failed: \(ended)") }
        note(Date().timeIntervalSince(began))
        unbroken[lag] = try RunResult(folder)
        if lag == 0 {
            places = try await list([
                .coordinator: ended.errors, .rollout: text(of: folder + "/workers/rollout-1.log"),
                .learner: text(of: folder + "/workers/learner-1.log"),
            ])
        }
    }

    /// What a run takes changes with the load of the machine; hits are spread over what the last ones took.
    func note(_ seconds: Double) {
        secondsUnbroken = secondsUnbroken == 0 ? seconds : 0.8 * secondsUnbroken + 0.2 * seconds
    }

    private func list(_ logs: [Victim: String]) async throws -> [Failplace] {
        let counts = logs.mapValues { log in
            log.matches(of: /failpoint (\S+) passed (\d+)/).reduce(into: [String: Int]()) {
                $0[String($1.1)] = Int($1.2)
            }
        }
        return try await end(["failpoints"]).output.split(separator: "\n").map { line in
            let parts = line.split(separator: " ").map(String.init)
            let own = counts.filter { ($0.key == .coordinator) == (parts[0] == "coordinator") }
            return Failplace(
                name: parts[1], deeds: parts[2].split(separator: ",").map(String.init).filter { $0 != "trap" },
                passages: own.compactMapValues { $0[parts[1]] })
        }
    }

    private func end(_ arguments: [String]) async throws -> Ended {
        let ended = try await Program("mmed-coord", arguments, in: scratch, folder: programs).end(within: 300)
        guard ended.code == 0 else { throw Failure("\(ended)") }
        return ended
    }

    /// The rows of a query over a run's journal, without the names of the columns.
    func ask(_ folder: String, _ query: String, in scratch: Scratch) async throws -> [Substring] {
        let ended = try await Program("mmed-coord", ["lineage", folder, query], in: scratch, folder: programs).end()
        guard ended.code == 0 else { throw Failure("\(ended)") }
        return Array(ended.output.split(separator: "\n").dropFirst())
    }

    /// Throws what is wrong with a run that is over.
    func check(_ run: ChaosRun) async throws {
        try await run.requireAcknowledged("at the end")
        let verified = try await Program("mmed-coord", ["verify", run.folder], in: run.scratch, folder: programs).end()
        guard verified.code == 0 else { throw Failure("\(verified)") }
        let twice = try await ask(
            run.folder,
            """
            SELECT stage, track, step, question, guideline, sample, count(*) FROM record WHERE kind = 'path'
            GROUP BY 1, 2, 3, 4, 5, 6 HAVING count(*) > 1
            """, in: run.scratch)
        guard twice.isEmpty else { throw Failure("slots that were recorded twice: \(twice)") }
        guard let unbroken = unbroken[run.plan.lag] else { throw Failure("there is no unbroken run to compare with") }
        let made = try RunResult(run.folder)
        let paths = Set(made.adapters.keys).union(unbroken.adapters.keys)
        let different = paths.filter { made.adapters[$0] != unbroken.adapters[$0] }.sorted()
        guard different.isEmpty else { throw Failure("files that differ from an unbroken run's: \(different)") }
        guard made.report == unbroken.report else { throw Failure("report.txt differs from an unbroken run's") }
    }
}

extension Lab {
    func chaosConfig(lag: Int) -> String { path + "/chaos-\(lag).yaml" }

    /// As the shared run, but shorter, and with what makes a lease short and a silence noticed soon.
    static func chaosConfigText(lag: Int) -> String {
        configText.replacingOccurrences(of: "{steps: 6,", with: "{steps: 4, maxLag: \(lag),")
            .replacingOccurrences(of: "epochs: 10,", with: "epochs: 4,")
            .replacingOccurrences(of: "questionsPerSpecialty: 4", with: "questionsPerSpecialty: 2")
            .replacingOccurrences(of: "seconds: 20, beatSeconds: 0.2", with: "seconds: 4, beatSeconds: 0.1")
    }
}
