import Foundation
import MMedConfig
import MMedCoordinator
import MMedCore
import MMedFormats
import MMedMerging
import MMedProtocol
public import MMedScheduling
import MMedStore
import MMedTransport

/// A coordinator process from a checked run to its end.
public struct RunSession: Sendable {
    private let run: PreparedRun
    private let folder: RunFolder
    private let store: RunStore
    private let state: RunState
    private let telemetry: RunTelemetry

    /// Begins a run in an empty folder, or goes on from its last checkpoint. Throws before anything is changed when it cannot.
    public init(_ run: PreparedRun, folderPath: String, isResumed: Bool) throws {
        self.run = run
        if !isResumed, FileManager.default.fileExists(atPath: folderPath + "/checkpoint.json") {
            throw MMedError(
                .usage, at: folderPath, "the folder holds a run already",
                mend: "go on with `mmed-coord start --resume \(folderPath)`, or choose another --run-dir")
        }
        folder = try RunFolder(path: folderPath)
        let layouts = run.layouts
        store = RunStore(
            folder: folder, planDigest: run.planDigest, layouts: layouts,
            baseModel: (run.host.path as NSString).lastPathComponent)
        if isResumed {
            let loaded = try folder.loadCheckpoint()
            guard loaded.planDigest == run.planDigest else {
                throw MMedError(
                    .badConfig, at: folderPath, "its configuration, data or model are not those the run began with",
                    mend: "put them back as they were; a changed configuration needs a run of its own")
            }
            state = try RunSession.resumed(loaded.state, folder, planDigest: run.planDigest)
            store.clean(state)
        } else {
            state = try RunSession.initial(run, layouts, store)
            try folder.writeWhole(Array(run.config.resolvedYAML.utf8), to: folderPath + "/config.resolved.yaml")
            try folder.saveCheckpoint(state, planDigest: run.planDigest)
        }
        let budget = TokenBudget(run.plan)
        telemetry = try RunTelemetry(
            folder: folderPath, tokensPlanned: budget.stages.map { ($0.name, TokenBudget.seconds($0)) })
    }

    private static func initial(_ run: PreparedRun, _ layouts: [Name: AdapterLayout], _ store: RunStore) throws
        -> RunState
    {
        RunState(
            heads: try run.config.specialties.map { specialty in
                guard let layout = layouts[specialty] else {
                    throw MMedError(.internalError, "no layout for \(specialty)")
                }
                let weights = run.initialWeights(of: specialty, layout: layout)
                let digest = try store.put(AdapterContent.bytes(layout, weights))
                return AdapterHead(
                    reference: AdapterReference(name: specialty, version: 0, digest: digest), momentsDigest: nil,
                    optimizerSteps: 0)
            })
    }

    /// The epoch is raised on the disk before the first bind, so that fences of the former process are always older.
    private static func resumed(_ state: RunState, _ folder: RunFolder, planDigest: Digest) throws -> RunState {
        var state = state
        state.epoch += 1
        try folder.saveCheckpoint(state, planDigest: planDigest)
        return state
    }

    /// Runs to the end; `workerProgram` is started for each local worker of the cluster. Returns how it ended.
    public func run(workerProgram: String, say: @escaping @Sendable (String) -> Void) async throws -> Outcome {
        let keys = try run.keys.map { [telemetry] in
            try RunKeys($0, cluster: run.cluster, runFolder: folder.path) { telemetry.log($0) }
        }
        defer { keys?.remove() }
        let endpoint = try ZeroMQCoordinatorEndpoint(listeningAt: run.cluster.listen, keys: keys?.ofEndpoint)
        let reloading = keys?.serve(endpoint, say: say)
        defer { reloading?.cancel() }
        let ports = CoordinatorPorts(
            optimizer: ReferenceOptimizer(
                layouts: run.layouts, settings: run.config.optimizer, store: store, threads: 1),
            reward: RewardJudge(tokenizer: run.host.tokenizer), store: store, merge: try merge(),
            telemetry: telemetry)
        let coordinator = Coordinator(
            plan: run.plan, state: state, modelDigest: run.host.digest, endpoint: endpoint, ports: ports)
        let telemetry = telemetry
        let workers = try LocalWorkers(
            cluster: run.cluster, executable: workerProgram, address: endpoint.localAddress, modelPath: run.host.path,
            logFolder: folder.path + "/workers", keyFile: { keys?.file(of: $0) },
            onEvent: { name, what in
                telemetry.log(
                    LogEntry(
                        .warn, scope: "run", event: "worker-process",
                        fields: [.init("worker", .text(name)), .init("what", .text(what))]))
            })
        say("run \(run.name): listening at \(endpoint.boundAddress), folder \(folder.path)")
        say("follow it with: tail -f \(folder.path)/progress.log")
        let signals = StopSignals {
            telemetry.clear()
            workers.expectEnds()
            say("stopping: finishing what is leased, then committing (again Ctrl-C: stop at once, to the last step)")
            workers.letGo()
            Task { await coordinator.drain() }
        }
        defer { signals.cancel() }
        try workers.start()
        let outcome: Outcome
        do {
            outcome = try await coordinator.run()
        } catch {
            workers.stop(within: 5)
            throw error
        }
        workers.stop(within: 10)
        telemetry.clear()
        return outcome
    }

    /// The report of what is evaluated so far, also written to report.txt.
    public func report() throws -> String {
        let state = try folder.loadCheckpoint().state
        let text = try RunReport(config: run.config, data: run.data).text(of: state)
        try folder.writeWhole(Array(text.utf8), to: folder.path + "/report.txt")
        return text
    }

    private func merge() throws -> ExpertMerge {
        let settings = run.config.merge
        let method: MergeMethod =
            switch settings.method {
            case .caci: .caci
            case .ties: .ties
            case .taskArithmetic: .taskArithmetic
            case .linear: .linear
            }
        guard let name = Name("merged") else { preconditionFailure("\"merged\" is a name") }
        return ExpertMerge(
            layouts: run.layouts,
            settings: MMedMerging.MergeSettings(
                method: method, density: settings.density, lambdaSFT: settings.lambdaSFT, lambdaRL: settings.lambdaRL,
                rank: settings.rank),
            store: store, baseModel: (run.host.path as NSString).lastPathComponent,
            threads: max(1, ProcessInfo.processInfo.activeProcessorCount), mergedName: name)
    }
}
