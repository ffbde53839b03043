import Foundation
import MMedConfig
import MMedCoordinator
import MMedCore
import MMedFormats
import MMedLocks
import MMedMerging
import MMedProtocol
import MMedScheduling
import MMedStore
import MMedTransport

/// A coordinator process from a checked run to its end.
public struct RunSession: Sendable {
    private let run: PreparedRun
    private let folder: RunFolder
    private let store: RunStore
    private let journal: RunJournal
    /// What the journal knows beyond the states that the run may go back to.
    private let openRecords: [JournalRecord]
    /// Blobs of updates among them.
    private let kept: Set<Digest>
    /// What was to be gone on from; nil where the run begins.
    private let found: WholeCheckpoint?
    /// Exported folders that were lost or damaged, and are whole again.
    private let restored: [String]
    /// What the run was computed by before and is now; nil when that is the same, the run begins, or nobody knows.
    private let machines: (was: LaunchRecord.Machine, is: LaunchRecord.Machine)?
    private let state: RunState
    private let telemetry: RunTelemetry
    private let room: DiskRoom
    /// What the process before had in hand when it crashed.
    private let crash: InHandFile.Findings

    /// Begins a run in an empty folder, or goes on from its last checkpoint. Throws before anything is changed when it cannot.
    init(
        _ run: PreparedRun, folderPath: String, isResumed: Bool, launch: LaunchRecord, inHand: InHandFile
    ) throws {
        self.run = run
        room = DiskRoom(
            folderPath, lowWaterMiB: run.config.storage.lowWaterMiB, gradientMiB: run.gradientBytesPerStep >> 20)
        try room.require(isResumed: isResumed)
        folder = try RunFolder(path: folderPath)
        if isResumed { try launch.requireInstance(folder) } else { try folder.requireFresh() }
        var launch = launch
        launch.instance = folder.instance
        // Once: it hashes the program.
        let machine = LaunchRecord.Machine.current
        machines = launch.machine.flatMap { isResumed && $0 != machine ? ($0, machine) : nil }
        launch.machine = machine
        if !isResumed {
            // First of all: whatever ends this process from here on, `--resume` knows what to begin.
            try folder.writeWhole(
                Array(run.config.resolvedYAML.utf8), to: LaunchRecord.configurationPath(in: folderPath))
            try launch.write(in: folder)
        }
        let layouts = run.layouts
        found = isResumed ? try folder.loadNewestWhole() : nil
        let loaded = found?.checkpoint
        if let loaded, loaded.planDigest != run.planDigest || !launch.changed(run.inputs).isEmpty {
            throw launch.changedInputs(run.inputs, folderPath)
        }
        journal = RunJournal(try isResumed ? Journal(existing: folder) : Journal(new: folder))
        store = RunStore(
            folder: folder, journal: journal.file, planDigest: run.planDigest, baseModel: run.host.baseName,
            updatesPerStep: run.plan.updatesPerStep)
        if let found, let loaded {
            try journal.file.verifyTail(from: loaded.journal)
            // Of all states that the run may go back to: what is between them must not be taken away.
            openRecords = try journal.file.openRecords(after: found.oldest)
            // The epoch is raised on the disk before the first bind, so that fences of the former process are always older.
            var raised = loaded.state
            raised.epoch += 1
            state = raised
            let updates = found.oldest.openUpdates(in: openRecords)
            kept = store.clean(state, found.older.map(\.state), keeping: updates)
            restored = try store.export(state)
        } else {
            state = try RunSession.initial(run, layouts, store)
            store.hold([state])
            (openRecords, kept, restored) = ([], [], [])
            try journal.file.begin(
                run: run.name, plan: run.planDigest, model: run.host.digest, seed: run.plan.seed,
                questions: run.data.lineage)
        }
        let budget = TokenBudget(run.plan)
        telemetry = try RunTelemetry(
            folder: folderPath, secondsPlanned: budget.stages.map { ($0.name, TokenBudget.seconds($0)) },
            stagesDone: state.stage)
        // Before the checkpoint that forgets it.
        if let found { RunSession.damageLines(found).forEach(telemetry.log) }
        // Before the checkpoint: whoever finds one goes on by what is said here.
        if isResumed { try launch.write(in: folder) }
        let head = try journal.file.head()
        let (place, begun, former) = (folder, state, found)
        try hitNow("epoch-raise") {
            try place.saveCheckpoint(begun, planDigest: run.planDigest, journal: head, inPlaceOf: former)
        }
        crash = try inHand.open(folder: folder.path)
        CrashMarks.watch(inHand)
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
                let digest = try store.put(AdapterContent.parts(layout, weights))
                return AdapterHead(
                    reference: AdapterReference(name: specialty, version: 0, digest: digest), momentsDigest: nil,
                    optimizerSteps: 0)
            })
    }

    /// Runs to the end; `workerProgram` is started for each local worker of the cluster. Returns how it ended.
    func run(
        _ endpoint: ZeroMQCoordinatorEndpoint, keys: RunKeys?, workerProgram: String,
        say: @escaping @Sendable (String) -> Void
    ) async throws -> Outcome {
        raiseOpenFilesLimit()
        let reloading = try keys?.begin(endpoint, runFolder: folder.path, log: telemetry.log, say: say)
        defer {
            reloading?.cancel()
            keys?.end()
        }
        let watched = FirstLeaseEndpoint(
            Failpoint.isArmed ? FailpointCoordinatorEndpoint(endpoint) : endpoint, telemetry: telemetry)
        let optimizer = ReferenceOptimizer(
            layouts: run.layouts, settings: run.config.optimizer, store: store, threads: 1)
        var ports = CoordinatorPorts(
            optimizer: optimizer, reward: RewardJudge(tokenizer: run.host.tokenizer), store: store, journal: journal,
            merge: try merge { optimizer.release() }, telemetry: telemetry)
        if Failpoint.isArmed { ports = ports.withFailpoints }
        let coordinator = Coordinator(
            plan: run.plan, state: state, journal: openRecords, kept: kept, modelDigest: run.host.digest,
            endpoint: watched, ports: ports)
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
        CrashMarks.lines(crash).forEach(telemetry.log)
        logConditions()
        say("run \(run.name): listening at \(endpoint.boundAddress), folder \(folder.path)")
        say("follow it with: tail -f \(folder.path)/progress.log")
        for damaged in found?.damaged ?? [] { say("checkpoint \(damaged.number) is damaged: \(damaged.error.place)") }
        let path = folder.path
        let signals = StopSignals(isHangupWish: keys == nil) {
            telemetry.clear()
            workers.expectEnds()
            say("stopping: finishing what is leased, then committing (again Ctrl-C: stop at once, to the last step)")
            Task { await coordinator.drain() }
        } onSecond: {
            keys?.end()
            telemetry.log(LogEntry(.warn, scope: "run", event: "stopped-at-once", fields: []))
            say("stopped at once; what was not committed is done again: go on with mmed-coord start --resume \(path)")
        }
        // A step's gradients come and go: what was low when it was looked at may not be when the run has stopped for it.
        let shortage = Locked<Int?>(nil)
        let watch = drainWhenDiskIsLow(coordinator, workers, shortage)
        defer {
            signals.cancel()
            watch.cancel()
        }
        try workers.start()
        let outcome: Outcome
        do {
            outcome = try await coordinator.run { workers.expectEnds() }
        } catch {
            workers.stop(within: 5)
            throw error
        }
        workers.stop(within: 10)
        telemetry.clear()
        return try ended(outcome, freeMiB: shortage.withLock { $0 })
    }

    /// The outcome; `freeMiB` is what was left when the disk was low.
    private func ended(_ outcome: Outcome, freeMiB: Int?) throws -> Outcome {
        if outcome == .completed { store.finish() }
        guard outcome == .stopped, let freeMiB else { return outcome }
        throw room.shortage(
            freeMiB: freeMiB, mend: "make room, then go on with: mmed-coord start --resume \(folder.path)")
    }

    private static func damageLines(_ found: WholeCheckpoint) -> [LogEntry] {
        found.damaged.map { damaged in
            let fields: [LogEntry.Field] = [
                .init("checkpoint", .int(damaged.number)), .init("goes_on_from", .int(found.checkpoint.number)),
                .init("what", .text("\(damaged.error.place): \(damaged.error.problem)")),
            ]
            return LogEntry(.warn, scope: "run", event: "state-damaged", fields: fields)
        }
    }

    /// What is otherwise than the files of the run would make one think.
    private func logConditions() {
        for sentence in run.data.leftOut {
            telemetry.log(
                LogEntry(.warn, scope: "run", event: "rows-left-out", fields: [.init("what", .text(sentence))]))
        }
        if let machines {
            let fields: [LogEntry.Field] = [
                .init("was", .text("\(machines.was.build), \(machines.was.kernels)")),
                .init("is", .text("\(machines.is.build), \(machines.is.kernels)")),
                .init("mend", .text("to have the bytes of an unbroken run, resume with the same build and processor")),
            ]
            telemetry.log(LogEntry(.warn, scope: "run", event: "machine-differs", fields: fields))
        }
        for path in restored {
            telemetry.log(LogEntry(.info, scope: "run", event: "folder-restored", fields: [.init("path", .text(path))]))
        }
        for override in run.operationalOverrides {
            telemetry.log(LogEntry(.info, scope: "run", event: "overridden", fields: [.init("set", .text(override))]))
        }
    }

    private func drainWhenDiskIsLow(
        _ coordinator: Coordinator, _ workers: LocalWorkers, _ shortage: Locked<Int?>
    ) -> Task<Void, Never> {
        let telemetry = telemetry
        return room.watch { free in
            shortage.withLock { $0 = free }
            telemetry.log(
                LogEntry(.warn, scope: "run", event: "disk-low", fields: [.init("free_mib", .int(free))]))
            workers.expectEnds()
            Task { await coordinator.drain() }
        }
    }

    /// The report of what is evaluated so far, also written to report.txt and, as figures, to report.json.
    public func report() throws -> String {
        let state = try folder.loadCheckpoint().state
        let report = RunReport(config: run.config, data: run.data)
        let text = try report.text(of: state)
        let record = ReportRecord(try report.figures(of: state))
        try folder.writeWhole(try record.bytes(), to: folder.path + "/report.json")
        try folder.writeWhole(Array(text.utf8), to: folder.path + "/report.txt")
        return text
    }

    private func merge(onBegin: @escaping @Sendable () -> Void) throws -> ExpertMerge {
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
            store: store, threads: max(1, ProcessInfo.processInfo.activeProcessorCount), mergedName: name,
            onBegin: onBegin)
    }
}
