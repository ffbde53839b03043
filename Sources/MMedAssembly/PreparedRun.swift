import Foundation
public import MMedConfig
public import MMedCore
import MMedEngine
import MMedFormats
import MMedProtocol
public import MMedScheduling
import MMedStore
import MMedTransport

/// A run whose configuration, cluster, data and model have been read and checked against each other: nothing has begun.
public struct PreparedRun: Sendable {
    /// The checked configuration.
    public let config: RunConfig
    /// The checked cluster.
    public let cluster: ClusterConfig
    /// The keys of its connections; nil is none, and then nothing leaves this machine.
    let keys: KeyFolder?
    /// The questions.
    public let data: RunData
    /// The model.
    public let host: ModelHost
    /// Everything the run will do.
    public let plan: RunPlan
    /// Names the plan's inputs: a checkpoint belongs to one of them.
    public let planDigest: Digest
    /// What the plan was made of, in the order of `planDigest`, and the figures that the report is held against: no step
    /// rests on those, so they are no part of the digest.
    let inputs: [Input]
    /// What this process does otherwise than the recorded configuration says.
    let operationalOverrides: [String]
    /// The run's name.
    public let name: Name

    /// Something that a run was begun with.
    struct Input: Sendable {
        /// `configuration`, `model` or the key of a data file.
        var name: String
        var path: String
        var digest: Digest

        static let configuration = "configuration"
    }

    /// Reads and checks everything. Throws what is wrong first.
    public init(_ options: RunOptions, name: Name) throws {
        let recorded = try RunConfig.load(path: options.configPath, overrides: options.overrides)
        operationalOverrides = options.operationalOverrides
        config =
            operationalOverrides.isEmpty
            ? recorded
            : try RunConfig.load(path: options.configPath, overrides: options.overrides + operationalOverrides)
        // A key that is none was told by the line above, with the nearest one.
        try PreparedRun.requireOperational(operationalOverrides)
        let place = options.clusterPath ?? "the default cluster"
        var cluster = try options.clusterPath.map { try ClusterConfig.load(path: $0) } ?? defaultCluster()
        if let keys = options.keys { cluster.keys = keys }
        self.cluster = cluster
        try cluster.check(against: config, place: place)
        if let reason = cluster.nonLoopbackReason {
            throw MMedError(
                .badConfig, at: place, reason,
                mend:
                    "make some with `mmed-coord keygen --output keys --worker NAME --role learner` and name the folder "
                    + "with --keys or keys:, or stay here: tcp://127.0.0.1:PORT or ipc://PATH, and host: local")
        }
        keys = try cluster.keys.map { try RunKeys.read($0, for: cluster) }
        // The transport has the last word on addresses, so `check` refuses what `start` would.
        _ = try WireAddress(cluster.listen, for: .listening, hasKeys: keys != nil)
        data = try RunData(config)
        try PreparedRun.requireQuestions(config, data)
        host = try ModelHost(cluster: cluster.model, override: options.model)
        self.name = name
        let prompts = try host.prompts(config.prompt)
        let builder = PlanBuilder(config: config, data: data, prompts: prompts, run: name)
        var plan = try builder.plan()
        try ContextCheck.require(
            plan.stages, contextLength: host.source.config.contextLength, lineOf: builder.line(of:))
        let files = try [
            ("data.train", config.data.train), ("data.validation", config.data.validation),
            ("data.test", config.data.test),
        ].map { Input(name: $0.0, path: $0.1, digest: try ContentDigest.ofFile($0.1)) }
        let yaml = recorded.resolvedYAML
        let parts = [yaml, host.digest.hex] + files.map(\.digest.hex)
        inputs =
            [
                Input(name: Input.configuration, path: options.configPath, digest: ContentDigest.of(Array(yaml.utf8))),
                Input(name: "model", path: host.path, digest: host.digest),
            ] + files + (try PreparedRun.reference(config))
        let digest = ContentDigest.of(Array(parts.joined(separator: "\n").utf8))
        // It names the whole configuration and all data, so that no worker can draw as the coordinator does.
        plan.settings.spotSalt = digest.bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        plan.settings.workersExpected = cluster.localWorkers
        (self.plan, planDigest) = (plan, digest)
    }

    /// Layout of each specialty's adapter.
    var layouts: [Name: AdapterLayout] {
        let layout = AdapterLayout(settings: config.adapter.settings, shape: host.shape)
        return Dictionary(uniqueKeysWithValues: config.specialties.map { ($0, layout) })
    }

    /// Bytes of a step's gradients on the disk at their most: the shards of every specialty and their sum.
    var gradientBytesPerStep: Int {
        layouts.values.reduce(0) { $0 + 4 * $1.parameterCount * (plan.settings.gradientShards + 1) }
    }

    /// The initial adapters, version 0: drawn from the seed, so that they need not be stored to be had again.
    func initialWeights(of specialty: Name, layout: AdapterLayout) -> [Float] {
        AdapterInitialiser.weights(
            layout: layout, seed: stableHash(Array("\(config.seed)/adapter/\(specialty)".utf8)))
    }

    /// Sections that decide how a run is carried out; no adapter's bytes depend on them.
    private static let operationalSections = ["leases", "storage", "security"]

    private static func requireOperational(_ overrides: [String]) throws(MMedError) {
        let isOther = { (text: String) in
            !operationalSections.contains { text.hasPrefix($0 + ".") || text.hasPrefix($0 + "=") }
        }
        guard let other = overrides.first(where: isOther) else { return }
        throw MMedError(
            .usage, at: "--set \(other)", "a resumed run keeps what its results depend on",
            mend: "change keys of \(operationalSections.joined(separator: ", ")) alone, or begin a run of its own")
    }

    private static func reference(_ config: RunConfig) throws -> [Input] {
        let path = config.data.reference
        return path.isEmpty
            ? [] : [Input(name: "data.reference", path: path, digest: try ContentDigest.ofFile(path))]
    }

    private static func requireQuestions(_ config: RunConfig, _ data: RunData) throws {
        for specialty in config.specialties {
            let needs: [(Dataset, Bool)] = [
                (data.train, config.dsa.enabled || config.gba.enabled), (data.test, !config.eval.stages.isEmpty),
                (data.validation, config.gba.enabled && config.eval.judgeQuestions > 0),
            ]
            for (split, isNeeded) in needs where isNeeded && split.records(of: specialty).isEmpty {
                throw MMedError(
                    .badData, at: split.path, "there is no question of \(specialty)",
                    mend: "add some, or remove \(specialty) from specialties")
            }
        }
    }
}

extension ClusterConfig {
    /// Workers of each role where the coordinator starts all of them; nil where others join by themselves.
    var localWorkers: [WorkerRole: Int]? {
        guard workers.allSatisfy({ $0.host == "local" }) else { return nil }
        return workers.reduce(into: [:]) { counts, worker in
            counts[worker.role == .rollout ? .rollout : .learner, default: 0] += worker.count
        }
    }
}
