import Foundation
import MMedCore
import MMedConfig
import MMedProtocol
import MMedScheduling
import MMedStore
import MMedTransport

/// What `start` and `check` share: options to a prepared run, and a run to an exit code.
public struct RunLaunch: Sendable {
    private let prepared: PreparedRun
    private let folderPath: String
    private let isResumed: Bool
    private let record: LaunchRecord

    /// Reads and checks everything that the options name; `isAdopted` lets a resumed run go on in a copy of its folder.
    /// Throws what is wrong first; nothing has begun then.
    public init(
        config: String?, overrides: [String], cluster: String?, keys: String? = nil, model: String?,
        runFolder: String?, resume: String?, isAdopted: Bool = false
    ) throws {
        if let resume {
            guard config == nil, runFolder == nil else {
                throw MMedError(
                    .usage, at: "--resume", "a resumed run keeps its own configuration and folder",
                    mend: "leave out --config and --run-dir")
            }
            let former = try LaunchRecord(folder: resume)
            var record = former
            record.cluster = cluster ?? former.cluster
            record.keys = keys.map(absolutePath) ?? former.keys
            record.model = model ?? former.model
            if isAdopted { record.instance = nil }
            self.record = record
            prepared = try PreparedRun(
                RunOptions(
                    configPath: try LaunchRecord.requireConfiguration(in: resume), overrides: [],
                    operationalOverrides: overrides,
                    clusterPath: record.cluster, keys: record.keys, model: record.model, runFolder: resume),
                name: record.name)
            folderPath = resume
            // One that ended before its first checkpoint has nothing to go on from, and is begun.
            isResumed = try RunFolder.holdsWork(path: resume)
            return
        }
        guard !isAdopted else {
            throw MMedError(
                .usage, at: "--adopt", "there is nothing to adopt", mend: "name the folder to go on in with --resume")
        }
        guard let config else {
            throw MMedError(
                .usage, at: "--config", "no configuration is named",
                mend: "for example: --config configs/quickstart.yaml")
        }
        let clusterPath = cluster ?? RunLaunch.localCluster(beside: config)
        let name = try RunLaunch.runName(config: config, folder: runFolder)
        record = LaunchRecord(
            name: name, cluster: clusterPath.map(absolutePath), keys: keys.map(absolutePath),
            model: model.map(absoluteModel))
        prepared = try PreparedRun(
            RunOptions(
                configPath: config, overrides: overrides, clusterPath: clusterPath, keys: record.keys, model: model,
                runFolder: runFolder),
            name: name)
        folderPath = runFolder ?? "runs/\(name.text)"
        isResumed = false
    }

    /// The configuration with every key.
    public var resolvedConfig: String { prepared.config.resolvedYAML }

    /// The plan by stages, its tokens and a predicted time.
    public var summary: String {
        let budget = TokenBudget(prepared.plan)
        var rows = ["stage          paths   prompt tok   drawn tok   learned tok   about"]
        var total = 0.0
        for stage in budget.stages {
            let seconds = TokenBudget.seconds(stage)
            total += seconds
            let columns = [
                pad(stage.name, 13), left(stage.paths, 6), left(stage.promptTokens, 12), left(stage.drawnTokens, 11),
                left(stage.learnedTokens, 13), pad("  " + duration(seconds), 9),
            ]
            rows.append(columns.joined(separator: " "))
        }
        rows.append(
            "predicted time: \(duration(total)) on two quiet Zen 4 cores with SmolLM2-135M; drawn tokens are half the budget of each path"
        )
        rows += prepared.data.leftOut
        rows.append("model: \(prepared.host.path), sha256 \(prepared.host.digest.hex)")
        if let keys = prepared.keys { rows.append("keys: \(keys.path), \(keys.workers.count) workers on the list") }
        return rows.joined(separator: "\n")
    }

    /// Runs to the end and returns the exit code.
    public func run(say: @escaping @Sendable (String) -> Void) async throws -> Int32 {
        let own = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
        let program = (Bundle.main.executableURL ?? own).deletingLastPathComponent().appendingPathComponent(
            "mmed-worker")
        // What can be refused is refused before the folder is made, so that the same command works once it is mended. A
        // resumed run has its folder, and must raise the epoch there before it binds.
        try LocalWorkers.requireProgram(program.path, of: prepared.cluster)
        let listen = prepared.cluster.listen
        let keys = prepared.keys.map { RunKeys($0, cluster: prepared.cluster) }
        let inHand = InHandFile()
        let bind = { () throws in
            try hitNow("first-bind") {
                try ZeroMQCoordinatorEndpoint(listeningAt: listen, keys: keys?.ofEndpoint, inHand: inHand)
            }
        }
        let early = isResumed ? nil : try bind()
        var record = record
        record.baseModel = prepared.host.baseName
        // A resumed run is held against what it began with.
        if !isResumed {
            record.inputs = Dictionary(uniqueKeysWithValues: prepared.inputs.map { ($0.name, $0.digest.hex) })
        }
        record.stages = prepared.plan.stages.map { stage in
            LaunchRecord.Stage(
                name: stage.name,
                tracks: stage.tracks.map { LaunchRecord.Track(specialty: $0.specialty.text, steps: $0.steps.count) })
        }
        let session: RunSession
        do {
            session = try RunSession(
                prepared, folderPath: folderPath, isResumed: isResumed, launch: record, inHand: inHand)
        } catch {
            await early?.close()
            throw error
        }
        let endpoint = try early ?? bind()
        for sentence in prepared.data.leftOut { say(sentence) }
        let outcome = try await session.run(endpoint, keys: keys, workerProgram: program.path, say: say)
        let resume = "go on with: mmed-coord start --resume \(folderPath)"
        switch outcome {
        case .completed:
            let report = try session.report()
            say("run \(prepared.name) is complete")
            print(report)
            // What follows goes to the other stream.
            fflush(nil)
            say("report: \(folderPath)/report.txt, adapters: \(folderPath)/adapters, merged: \(folderPath)/merged")
            return 0
        case .stopped:
            say("stopped at the last committed step; \(resume)")
            return 0
        case .noWorkers(let role):
            throw MMedError(
                .noWorkers, at: "run \(prepared.name)", "no \(role.rawValue) worker came in time",
                mend: "start one with mmed-worker and \(resume)")
        case .failed(let why):
            throw MMedError(.internalError, at: "run \(prepared.name)", why, mend: "see the workers' logs; \(resume)")
        }
    }

    /// `cluster/local.yaml` beside the folder of the configuration, if it is there.
    private static func localCluster(beside config: String) -> String? {
        let folder = URL(fileURLWithPath: config).deletingLastPathComponent().deletingLastPathComponent()
        let path = folder.appendingPathComponent("cluster/local.yaml").path
        return FileManager.default.fileExists(atPath: path) ? path : nil
    }

    private static func runName(config: String, folder: String?) throws -> Name {
        let stem = URL(fileURLWithPath: config).deletingPathExtension().lastPathComponent
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.dateFormat = "yyyyMMdd-HHmmss"
        let text =
            folder.map { URL(fileURLWithPath: $0).lastPathComponent } ?? "\(stem)-\(formatter.string(from: Date()))"
        guard let name = Name(text.lowercased()) else {
            throw MMedError(
                .usage, at: "--run-dir", "\"\(text)\" is no run's name",
                mend: "use letters, digits, dots, hyphens and underscores, at most 64")
        }
        return name
    }
}

private func absolutePath(_ path: String) -> String { URL(fileURLWithPath: path).path }

/// A pinned name stays a name; a path must not depend on the folder a later command runs in.
private func absoluteModel(_ model: String) -> String {
    PinnedModel.all.contains { $0.name == model } ? model : absolutePath(model)
}

private func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
}

private func left(_ number: Int, _ width: Int) -> String {
    let text = String(number)
    return String(repeating: " ", count: max(0, width - text.count)) + text
}

private func duration(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded())
    return whole >= 60 ? "\(whole / 60) min \(whole % 60) s" : "\(whole) s"
}
