import Foundation
import MMedAlgorithms
import MMedConfig
import MMedCoordinator
import MMedCore
import MMedEngine
import MMedLocks
import MMedProtocol
import MMedScheduling
import MMedStore
import MMedTransport
import MMedWorker

/// What durability and keys cost of one GBA step of a run: the first specialty's steps with the run's own settings, over
/// real sockets, with real adapters and updates. Without computing the cost is all that differs; with it, all that it is held against.
struct StepCost {
    private let run: PreparedRun
    private let plan: RunPlan
    private let adapter: Name
    private let place: String
    private let rollout: NativeWorkerEngine
    private let learner: NativeWorkerEngine
    /// Where writing durably costs nothing.
    static let memoryPlace = "/dev/shm/mmed-bench-\(getpid())"
    private static let repeats = 5

    /// `place` is a folder on the disk that is measured. Throws `badConfig` for a run without GBA.
    init(configPath: String, model: String?, place: String) throws {
        guard let name = Name("bench") else { preconditionFailure("it is a name") }
        run = try PreparedRun(
            RunOptions(configPath: configPath, overrides: [], clusterPath: nil, model: model, runFolder: nil),
            name: name)
        guard var stage = run.plan.stages.first(where: { $0.kind == .reinforce }), let track = stage.tracks.first else {
            throw MMedError(
                .badConfig, at: configPath, "it has no GBA, whose step is measured", mend: "set gba.enabled")
        }
        stage.tracks = [track]
        var plan = run.plan
        plan.stages = [stage]
        adapter = track.specialty
        plan.adapters = plan.adapters.filter { $0.name == track.specialty }
        // A tie would be drawn anew, and a step is to be a step.
        plan.settings.resampleRounds = 0
        self.plan = plan
        self.place = place
        let threads = max(1, run.cluster.workers.map(\.threads).max() ?? 1)
        rollout = try NativeWorkerEngine(host: run.host, threads: threads, concurrentPaths: 64)
        learner = try NativeWorkerEngine(host: run.host, threads: threads, concurrentPaths: 64)
    }

    /// Seconds of a step: computed with nothing saved, and what disk and keys add where nothing is computed.
    func measure() async throws -> (step: Double, bare: Double, kept: Double) {
        var (bare, kept): ([Double], [Double]) = ([], [])
        // In turns, so that what else the machine does meets both.
        for round in 0...StepCost.repeats {
            let pair = [
                try await steps("bare-\(round)", isKept: false, computes: false),
                try await steps("kept-\(round)", isKept: true, computes: false),
            ]
            // The first of all warms caches up, for whoever comes first.
            if round == 0 { continue }
            bare += pair[0]
            kept += pair[1]
        }
        let step = try await steps("computed", isKept: true, computes: true)
        return (StepCost.median(step), StepCost.median(bare), StepCost.median(kept))
    }

    private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

    /// Seconds of each step of one run. What is kept is kept on the measured disk and sent under keys.
    private func steps(_ label: String, isKept: Bool, computes: Bool) async throws -> [Double] {
        let path = (isKept ? place : StepCost.memoryPlace) + "/" + label
        defer { try? FileManager.default.removeItem(atPath: path) }
        let folder = try RunFolder(path: path)
        let journal = try Journal(new: folder)
        try journal.begin(
            run: run.name, plan: run.planDigest, model: run.host.digest, seed: plan.seed, questions: run.data.lineage)
        let store = RunStore(
            folder: folder, journal: journal, planDigest: run.planDigest, baseModel: run.host.baseName,
            updatesPerStep: run.plan.updatesPerStep)
        guard let layout = run.layouts[adapter] else { throw MMedError(.internalError, "no layout for \(adapter)") }
        let first = AdapterReference(
            name: adapter, version: 0,
            digest: try store.put(AdapterContent.parts(layout, run.initialWeights(of: adapter, layout: layout))))
        let state = RunState(heads: [AdapterHead(reference: first, momentsDigest: nil, optimizerSteps: 0)])
        let clock = StepClock()
        let keys = isKept ? try makeKeys(path + "/keys") : nil
        let endpoint = try ZeroMQCoordinatorEndpoint(
            listeningAt: "tcp://127.0.0.1:0",
            keys: keys.map { CoordinatorKeys(key: $0.coordinator, workers: $0.workers) { _ in } })
        let coordinator = Coordinator(
            plan: plan, state: state, modelDigest: run.host.digest, endpoint: endpoint,
            ports: CoordinatorPorts(
                optimizer: ReferenceOptimizer(
                    layouts: run.layouts, settings: run.config.optimizer, store: store, threads: 1),
                reward: EveryOtherIsRight(), store: store,
                journal: isKept ? RunJournal(journal) : NothingToRecord(), merge: NothingToMerge(), telemetry: clock))
        try await withThrowingTaskGroup { group in
            for (role, engine) in [(WorkerRole.rollout, rollout), (.learner, learner)] {
                let worker = try worker(
                    role, computes ? engine : IdleEngine(inner: engine), endpoint.localAddress,
                    keys: keys == nil ? nil : path + "/keys")
                group.addTask { try await worker.run() }
            }
            guard try await coordinator.run() == .completed else {
                throw MMedError(.internalError, "the measured run did not end")
            }
            try await group.waitForAll()
        }
        return clock.seconds.withLock { $0 }
    }

    private func makeKeys(_ folder: String) throws -> KeyFolder {
        _ = try KeyFolder.extend(folder, workers: [WorkerRole.rollout, .learner].map { (StepCost.name($0), $0) })
        return try KeyFolder.read(folder)
    }

    private static func name(_ role: WorkerRole) -> Name {
        guard let name = Name(role.rawValue) else { preconditionFailure("a role is a name") }
        return name
    }

    private func worker(
        _ role: WorkerRole, _ engine: any WorkerEngine, _ address: String, keys: String?
    ) throws -> Worker {
        let name = StepCost.name(role)
        let key = try keys.map { try WorkerKey.read(KeyFolder.keyPath($0, name)) }
        let hello = Hello(
            role: role, name: name, instance: UInt64.random(in: 0...UInt64.max), modelDigest: run.host.digest,
            threads: 1, adapters: [], host: "bench", processID: 1)
        return Worker(
            hello: hello, address: address, answerWithin: .seconds(30),
            endpoint: try ZeroMQWorkerEndpoint(connectingTo: address, key: key), engine: engine, log: NoLines(),
            digestOf: { ContentDigest.of($0) })
    }
}

/// Takes the seconds of each step from its metrics.
private final class StepClock: TelemetryPort {
    let seconds = Locked<[Double]>([])

    func log(_ entry: LogEntry) {}

    func metric(_ entry: LogEntry) {
        guard entry.event == "update" else { return }
        for case .double(let value) in entry.fields.filter({ $0.key == "step_s" }).map(\.value) {
            seconds.withLock { $0.append(value) }
        }
    }
}

/// Paths of one question get different rewards, so that every step has something to learn.
private struct EveryOtherIsRight: RewardPort {
    func judge(_ trajectory: Trajectory, task: RewardTask) -> RewardParts {
        let isRight = trajectory.slot.sample % 2 == 0
        return RewardParts(
            strictOption: isRight ? task.answerIndex : nil, lenientOption: nil, isStrictCorrect: isRight,
            isLenientCorrect: isRight, total: isRight ? 1 : 0)
    }
}

private struct NothingToRecord: JournalPort {
    func append(_ records: [JournalRecord]) async throws {}
}

private struct NoLines: WorkerLog {
    func line(_ text: String) {}
}

/// Holds and updates adapters as the native engine does, and answers leases at once: paths of full length and gradients of
/// full size, of numbers that no compression makes smaller.
private struct IdleEngine: WorkerEngine {
    let inner: NativeWorkerEngine

    var progress: UInt64 { inner.progress }
    func holds(_ adapter: AdapterReference) -> Bool { inner.holds(adapter) }
    func load(_ adapter: AdapterReference, content: [UInt8]) throws { try inner.load(adapter, content: content) }
    func canary(_ ids: [Int32], adapter: AdapterReference?) async throws -> Double { -40 }

    func sample(
        _ lease: RolloutLease, seed: UInt64, isCancelled: @escaping @Sendable () -> Bool,
        onFinished: @escaping @Sendable (Trajectory) -> Void
    ) async throws {
        for question in lease.questions {
            for slot in question.slots {
                let random = CounterRandom(key: slot.randomKey(seed: seed))
                let count = question.sampling.maxTokens
                onFinished(
                    Trajectory(
                        slot: slot, version: question.adapter?.version ?? -1, adapterDigest: question.adapter?.digest,
                        completionIds: (0..<count).map { Int32(random.uniform(UInt64($0)) * 40_000) },
                        logprobs: (0..<count).map { -Float(random.uniform(UInt64(count + $0))) }, stop: .budget,
                        choiceLogprobs: question.reward.probeChoices ? question.reward.options.map { _ in -1 } : [],
                        reward: slot.sample % 2 == 0 ? 1 : 0))
            }
        }
    }

    func differentiate(_ lease: GradientLease, isCancelled: @escaping @Sendable () -> Bool) async throws
        -> ShardGradient
    {
        let random = CounterRandom(key: UInt64(lease.shard.shard))
        let count = try inner.require(lease.adapter).layout.parameterCount
        let bytes = LittleEndian.bytes(of: (0..<count).map { Float(random.uniform(UInt64($0))) - 0.5 })
        var statistics = ShardStatistics()
        statistics.lossTokens = 1
        return ShardGradient(bytes: bytes, digest: ContentDigest.of(bytes), statistics: statistics)
    }

    func canApply(_ update: UpdateAnnouncement) -> Bool { inner.canApply(update) }
    func apply(_ update: UpdateAnnouncement, gradient: [UInt8]) async throws -> AdapterReference {
        try await inner.apply(update, gradient: gradient)
    }
    func loadMoments(_ adapter: AdapterReference, content: [UInt8]) throws {
        try inner.loadMoments(adapter, content: content)
    }
}
