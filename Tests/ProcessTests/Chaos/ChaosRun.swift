import Foundation
import MMedProtocol

/// One run that is hit three times, and what it left.
final class ChaosRun {
    /// What came of a cycle.
    struct Struck {
        let cycle: Cycle
        /// When it struck; nil when the run was over before.
        var at: Date?
    }

    let plan: ChaosPlan
    let scratch: Scratch
    private(set) var struck: [Struck]
    /// When a coordinator died, or was asked to stop.
    private(set) var deaths: [Date] = []
    private(set) var restarts = 0
    private let bench: ChaosBench
    private let port: UInt16
    private var coordinator: Program?
    private var workers: [ChaosWorker] = []
    private var strangers: [Program] = []
    private var began = Date()
    /// Deeds under way: what ends them, and when.
    private var pending: [(at: Date, undo: () -> Void)] = []
    private var isDone = false

    var folder: String { scratch.path + "/run" }

    init(_ plan: ChaosPlan, bench: ChaosBench) throws {
        self.plan = plan
        self.bench = bench
        scratch = try Scratch()
        port = try Loopback.freePort()
        struck = plan.cycles.map { Struck(cycle: $0) }
    }

    /// Runs until the coordinator says that the run is complete. Throws when it does not go on by itself.
    func run() async throws {
        defer { for worker in workers { worker.proxy.close() } }
        began = Date()
        try startCoordinator(isFirst: true)
        for (victim, count) in [(Victim.rollout, plan.rollouts), (.learner, plan.learners)] {
            for number in 1...count {
                let worker = try ChaosWorker(victim, number, target: port)
                try worker.start(bench, in: scratch, failpoint: number == 1 ? failpoint(of: victim) : nil)
                workers.append(worker)
            }
        }
        let deadline = began + bench.secondsPerRun
        while !isDone {
            guard Date() < deadline else { throw Failure("it does not end: \(tail)") }
            try await step()
            try await Task.sleep(for: .milliseconds(4))
        }
        try await endWorkers()
    }

    private func step() async throws {
        for index in struck.indices where struck[index].at == nil { try strike(index) }
        let now = Date()
        let due = pending.filter { $0.at <= now }
        pending.removeAll { $0.at <= now }
        for deed in due { deed.undo() }
        for worker in workers { try await worker.look(self, bench, in: scratch) }
        guard let code = coordinator?.code else { return }
        try await coordinatorEnded(code)
    }

    // MARK: Deeds

    private var fraction: Double { Date().timeIntervalSince(began) / bench.secondsUnbroken }

    private func process(of victim: Victim) -> Program? {
        victim == .coordinator ? coordinator : workers.first { $0.role == victim }?.program
    }

    private func strike(_ index: Int) throws {
        let cycle = struck[index].cycle
        guard let process = process(of: cycle.victim) else { return }
        if case .failpoint(let name, _, let deed) = cycle.deed {
            try approach(name, cycle, index)
            // A kill shows as the process's end; the other deeds by what the process says first.
            guard ([process] + strangers).contains(where: { $0.errors.contains("failpoint \(name):") }) else { return }
            struck[index].at = Date()
            if deed == "stop" { pending.append((Date() + 0.5 * cycle.moment, { process.signal(SIGCONT) })) }
            return
        }
        // In the first instants a signal meets a process that does not listen yet: it only ends, and nothing is shown.
        guard fraction >= cycle.moment, process.isRunning,
            process.errors.contains(cycle.victim == .coordinator ? "tail -f" : "joined")
        else { return }
        struck[index].at = Date()
        switch cycle.deed {
        case .failpoint: break
        case .kill: process.signal(SIGKILL)
        case .terminate: process.signal(SIGTERM)
        case .stop(let seconds):
            process.signal(SIGSTOP)
            pending.append((Date() + seconds, { process.signal(SIGCONT) }))
        case .link(let fault, let seconds):
            let links = workers.filter {
                cycle.victim == .coordinator || $0 === workers.first { $0.role == cycle.victim }
            }
            for link in links { link.proxy.set(fault) }
            pending.append((Date() + seconds, { for link in links { link.proxy.set(nil) } }))
        }
    }

    private var isApproached = false

    /// Brings the victim to a failpoint that needs more than a run.
    private func approach(_ name: String, _ cycle: Cycle, _ index: Int) throws {
        guard !isApproached else { return }
        let stimulus = Stimulus(name)
        if stimulus == .nothing || stimulus == .leaseFails {
            isApproached = true
            return
        }
        guard fraction >= cycle.moment, let coordinator, coordinator.errors.contains("tail -f"),
            let victim = process(of: cycle.victim), cycle.victim == .coordinator || victim.errors.contains("joined")
        else { return }
        isApproached = true
        switch stimulus {
        case .nothing, .leaseFails: break
        case .coordinatorWasKilled: coordinator.signal(SIGKILL)
        case .coordinatorIsAsked: coordinator.signal(SIGTERM)
        case .victimIsAsked:
            (cycle.victim == .coordinator ? workers.first?.program : victim)?.signal(SIGTERM)
        case .stranger:
            strangers.append(
                try Program(
                    "mmed-worker",
                    [
                        "--role", "learner", "--connect", "tcp://127.0.0.1:\(port)", "--name", "stranger", "--model",
                        bench.otherModel,
                    ], in: scratch, folder: bench.programs,
                    environment: cycle.victim == .coordinator ? [:] : ["MMED_FAILPOINT": cycle.deed.variable ?? ""]))
        }
    }

    /// What the first process of a role starts with.
    private func failpoint(of victim: Victim) -> String? {
        for cycle in plan.cycles {
            guard case .failpoint(let name, _, _) = cycle.deed else { continue }
            let fails = Stimulus(name) == .leaseFails
            if fails && victim == .rollout {
                let own = cycle.victim == victim ? "," + (cycle.deed.variable ?? "") : ""
                return "worker-sample-before:1:error" + own
            }
            if fails && cycle.victim == victim && victim == .learner {
                return "worker-differentiate-before:1:error," + (cycle.deed.variable ?? "")
            }
            if cycle.victim == victim { return cycle.deed.variable }
        }
        return nil
    }

    // MARK: The coordinator

    private func startCoordinator(isFirst: Bool) throws {
        let cluster = try scratch.write("cluster.yaml", Lab.cluster(listen: "tcp://127.0.0.1:\(port)"))
        var arguments = ["start", "--resume", folder]
        // What died before it wrote its launch record has left nothing to resume: it begins anew.
        if isFirst || !FileManager.default.fileExists(atPath: folder + "/launch.json") {
            arguments = [
                "start", "--config", bench.config(lag: plan.lag), "--cluster", cluster, "--model", bench.lab.model,
                "--run-dir", folder,
            ]
        }
        var environment: [String: String] = [:]
        if let variable = failpoint(of: .coordinator) {
            let needsDeath = plan.cycles.contains {
                if case .failpoint(let name, _, _) = $0.deed { return Stimulus(name) == .coordinatorWasKilled }
                return false
            }
            if isFirst != needsDeath { environment["MMED_FAILPOINT"] = variable }
            if !isFirst && restarts > 1 { environment = [:] }
        }
        coordinator = try Program("mmed-coord", arguments, in: scratch, folder: bench.bin, environment: environment)
    }

    private func coordinatorEnded(_ code: Int32) async throws {
        guard let ended = coordinator else { return }
        if code == 0 && ended.errors.contains("is complete") {
            isDone = true
            return
        }
        let wasHit = code == -SIGKILL || code == 0 || (ended.errors.contains("failpoint ") && [70, 75].contains(code))
        guard wasHit else { throw Failure("the coordinator ended with \(code): \(ended.errors)") }
        for index in struck.indices where struck[index].at == nil {
            if case .failpoint(let name, _, _) = struck[index].cycle.deed, struck[index].cycle.victim == .coordinator,
                ended.errors.contains("failpoint \(name):")
            {
                struck[index].at = Date()
            }
        }
        deaths.append(Date())
        restarts += 1
        guard restarts <= 8 else { throw Failure("the coordinator ended \(restarts) times: \(ended.errors)") }
        // To look means to recover the journal; every other time that is left to the coordinator which goes on.
        if code == -SIGKILL && plan.index % 2 == 0 { try await requireAcknowledged("after a kill") }
        try startCoordinator(isFirst: false)
    }

    // MARK: Checks

    /// Every path that a worker was told to forget is in the journal.
    func requireAcknowledged(_ when: String) async throws {
        let told = workers.reduce(into: Set<SlotID>()) { $0.formUnion($1.proxy.acknowledged) }
        guard !told.isEmpty else { return }
        let rows = try await bench.ask(
            folder,
            "SELECT stage, track, step, question, guideline, sample FROM record WHERE kind IN ('path', 'drop')",
            in: scratch)
        let kept = Set(
            rows.compactMap { row -> SlotID? in
                let parts = row.split(separator: "\t").compactMap { Int32($0) }
                guard parts.count == 6 else { return nil }
                return SlotID(
                    stage: parts[0], track: parts[1], step: parts[2], question: parts[3], guideline: parts[4],
                    sample: parts[5])
            })
        let lost = told.subtracting(kept)
        guard lost.isEmpty else {
            throw Failure(
                "\(lost.count) acknowledged paths are not in the journal \(when), such as \(lost.sorted()[0])")
        }
    }

    private func endWorkers() async throws {
        // A worker that missed the word of the end waits for a coordinator that will not come.
        let deadline = Date() + 1
        while Date() < deadline, workers.contains(where: { $0.program?.isRunning == true }) {
            for deed in pending { deed.undo() }
            pending = []
            try await Task.sleep(for: .milliseconds(10))
        }
        for worker in workers { worker.program?.signal(SIGKILL) }
        for program in strangers { program.signal(SIGKILL) }
    }

    private var tail: String {
        let lines = text(of: folder + "/progress.log").split(separator: "\n").suffix(12).joined(separator: "\n")
        let states = workers.map { "\($0.name): \($0.program?.code.map { "ended with \($0)" } ?? "runs")" }
        return "\(states)\n\(lines)\n\(coordinator?.errors ?? "")"
    }
}

extension ChaosRun {
    /// When coordinators sent their first leases, by progress.log.
    var firstLeases: [Date] {
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true, timeZone: .gmt)
        return text(of: folder + "/progress.log").split(separator: "\n").compactMap { line in
            guard line.contains(" event=first-lease") else { return nil }
            return try? style.parse(String(line.prefix { $0 != " " }))
        }
    }
}
