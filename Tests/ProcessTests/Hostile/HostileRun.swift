import Foundation
import MMedAssembly
import MMedConfig
import MMedCore
import MMedLocks
import MMedProtocol
import MMedTransport
import Testing

/// What one run came to, attacked or not.
struct HostileOutcome {
    var result: RunResult
    /// From the first line of progress.log to the one that says that the run is complete: the farewell to adversaries, who do
    /// not answer it, comes after.
    var seconds: Double
    /// Of the coordinator, in MiB: when the attack began, and the most until the end.
    var memoryBefore: Double
    var memoryMost: Double
    /// Processor seconds of the coordinator.
    var processorSeconds: Double
    var lines: Int
    /// Paths that were taken, by worker.
    var takenFrom: [String: Int]
    /// Refusals by reason, as the coordinator counted them.
    var refusals: [String: Int]
    /// Connections refused at the door, as the coordinator counted them when it last said so.
    var keysRefused: Int
}

/// What the honest workers of a run do meanwhile.
struct HonestWork: Sendable {
    /// Options of `start` beside the folder and the keys.
    var options: [String]
    /// The model that every worker must have.
    var model = ModelConfig()

    /// The run of a configuration on the tests' tiny model, in steps of a tenth of a second.
    static func tiny(_ config: String, in scratch: Scratch) async throws -> HonestWork {
        var work = HonestWork(options: [
            "--config", config, "--cluster", try scratch.write("cluster.yaml", Lab.cluster()),
        ])
        work.model.path = try await Lab.shared.value.model
        work.options += ["--model", work.model.path]
        return work
    }

    /// One specialty of the quickstart on its real model, in steps of many seconds. Its workers have one thread each and take
    /// turns: one core is theirs, and what adversaries need on this machine, they find on another.
    static func quickstart(in scratch: Scratch) throws -> HonestWork {
        let local = text(of: repository + "/cluster/local.yaml")
        try #require(local.contains("threads: 2"), "\(local)")
        let cluster = try scratch.write(
            "cluster.yaml", local.replacingOccurrences(of: "threads: 2", with: "threads: 1"))
        let keys = ["specialties=[pediatrics]", "dsa.epochs=1", "eval.stages=[merged]", "eval.questionsPerSpecialty=8"]
        return HonestWork(
            options: ["--config", repository + "/configs/quickstart.yaml", "--cluster", cluster]
                + keys.flatMap { ["--set", $0] })
    }
}

/// A run of the real coordinator with its own honest workers, which adversaries may be let loose on.
final class HostileRun {
    let scratch: Scratch
    private let program: Program
    private let work: HonestWork
    private let hasKeys: Bool
    let tally = HostileTally()
    private let failures = Locked<[String]>([])
    private let alive = Locked(0)
    private var crowd: IdleCrowd?
    private var folder: String { scratch.path + "/run" }

    /// A run of a configuration on the tiny model.
    convenience init(config: String, hasKeys: Bool) async throws {
        let scratch = try Scratch()
        try await self.init(.tiny(config, in: scratch), hasKeys: hasKeys, in: scratch)
    }

    init(_ work: HonestWork, hasKeys: Bool, in scratch: Scratch) async throws {
        self.scratch = scratch
        self.work = work
        self.hasKeys = hasKeys
        var arguments = ["start"] + work.options + ["--run-dir", scratch.path + "/run"]
        if hasKeys {
            let keys = scratch.path + "/keys"
            let workers = ["--worker", "visitor", "--role", "rollout", "--worker", "guest", "--role", "learner"]
            let made = try await coordinator(["keygen", "--output", keys] + workers, in: scratch)
            try #require(made.code == 0, "\(made)")
            arguments += ["--keys", keys]
        }
        program = try Program("mmed-coord", arguments, in: scratch)
    }

    private var log: String { text(of: folder + "/progress.log") }

    private func number(_ name: String, in file: String) -> Double {
        let line = text(of: "/proc/\(program.processID)/" + file).split(separator: "\n").first { $0.hasPrefix(name) }
        return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Double($0) } ?? 0
    }

    /// In MiB; the kernel counts in KiB.
    private func memory(_ name: String) -> Double { number(name, in: "status") / 1_024 }

    /// User and system time of the coordinator in seconds; the kernel counts hundredths.
    private var processorSeconds: Double {
        // Behind the name, which may hold blanks, field 3 of proc_pid_stat(5) comes first.
        let fields = text(of: "/proc/\(program.processID)/stat").split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 12 else { return 0 }
        return ((Double(fields[11]) ?? 0) + (Double(fields[12]) ?? 0)) / 100
    }

    // MARK: The attack

    /// Lets a crowd loose as soon as both honest workers are there.
    private func attack(seed: UInt64, crowd copies: Int, idle: Int, _ place: HostilePlace) async throws {
        let match = try #require(
            program.errors.firstMatch(of: /listening at (tcp:\/\/127\.0\.0\.1:(\d+))/), "\(program.errors)")
        let (address, port) = (String(match.1), try #require(UInt16(match.2)))
        let digest = try ModelHost(cluster: work.model, override: nil).digest
        let standings = try (0..<copies).flatMap { hasKeys ? try keyed(copy: $0) : try keyless(copy: $0) }
        for (index, standing) in standings.enumerated() {
            alive.withLock { $0 += 1 }
            let adversary = Adversary(
                standing, at: address, modelDigest: digest, seed: seed &+ UInt64(index) &* 1_000_003, tally: tally,
                place)
            adversary.start { [failures, alive] failure in
                if let failure { failures.withLock { $0.append(failure) } }
                alive.withLock { $0 -= 1 }
            }
        }
        let crowd = IdleCrowd(idle, at: port, greets: !hasKeys, place)
        alive.withLock { $0 += 1 }
        crowd.start { [alive] in alive.withLock { $0 -= 1 } }
        self.crowd = crowd
    }

    private func name(_ text: String) throws -> Name { try #require(Name(text)) }

    private func keyless(copy: Int) throws -> [Adversary.Standing] {
        let names = try (1...3).map { try name("evil-\(3 * copy + $0)") }
        return [.guest(.rollout, names[0]), .guest(.learner, names[1]), .guest(.rollout, names[2])]
    }

    /// A key stands for its name and for that name with a number behind it.
    private func keyed(copy: Int) throws -> [Adversary.Standing] {
        let rollout = try WorkerKey.read(scratch.path + "/keys/visitor.key")
        let learner = try WorkerKey.read(scratch.path + "/keys/guest.key")
        return [
            .listed(rollout, try name(copy == 0 ? "visitor" : "visitor.\(2 * copy + 1)"), claims: .rollout),
            .listed(learner, try name(copy == 0 ? "guest" : "guest.\(copy + 1)"), claims: .learner),
            .listed(rollout, try name("visitor.\(2 * copy + 2)"), claims: .learner),
            .stranger(coordinator: rollout.coordinator), .keyless,
        ]
    }

    // MARK: To the end

    /// Runs to the end, attacked with a seed or left alone. Stops the attack after so many messages, or never.
    func run(
        attackedBy seed: UInt64?, crowd: Int = 1, messages: Int = .max, idle: Int = 0,
        _ place: HostilePlace = .behindOthers
    ) async throws -> HostileOutcome {
        defer { end() }
        try await eventually("both workers") {
            if !program.isRunning { throw Failure("it ended: \(program.errors)") }
            return log.split(separator: "\n").count { $0.contains("event=worker-joined") } >= 2
        }
        let before = memory("VmRSS:")
        if let seed { try await attack(seed: seed, crowd: crowd, idle: idle, place) }
        var (most, processor) = (before, 0.0)
        try await eventually("the end of the run", within: 3_600) {
            most = max(most, memory("VmHWM:"))
            processor = max(processor, processorSeconds)
            if isEnough(messages, idle) { end() }
            return !program.isRunning
        }
        end()
        try await eventually("the end of the attack") { alive.withLock { $0 } == 0 }
        let ended = try await program.end()
        try #require(ended.code == 0, "\(ended)\n\(log.suffix(4_000))")
        try #require(failures.withLock { $0 } == [])
        let lines = try ProgressLine.all(folder)
        return HostileOutcome(
            result: try RunResult(folder), seconds: seconds(of: log), memoryBefore: before, memoryMost: most,
            processorSeconds: processor, lines: lines.count, takenFrom: try await taken(), refusals: refusals(lines),
            keysRefused: lines.last { $0.event == "key-refused" }?.values["refusals"].flatMap { Int($0) } ?? 0)
    }

    /// So many were read, the crowd stood whole, and somebody was refused at the door where there is one.
    private func isEnough(_ messages: Int, _ idle: Int) -> Bool {
        let counts = tally.now
        return counts.readTotal >= messages && idled.most >= idle && (!hasKeys || counts.read[.unknownKey] ?? 0 > 0)
    }

    private func end() {
        tally.end()
        crowd?.end()
    }

    /// Connections that only waited: the most at once, and all.
    var idled: (most: Int, opened: Int) { crowd?.counts ?? (0, 0) }

    private func taken() async throws -> [String: Int] {
        let query = "SELECT worker, count(*) FROM trajectories GROUP BY worker"
        let asked = try await coordinator(["lineage", folder, query], in: scratch)
        try #require(asked.code == 0, "\(asked)")
        let rows = asked.output.split(separator: "\n").dropFirst().map { $0.split(separator: "\t") }
        return rows.reduce(into: [:]) { counts, row in
            if row.count == 2 { counts[String(row[0])] = Int(row[1]) }
        }
    }

    private func refusals(_ lines: [ProgressLine]) -> [String: Int] {
        let last = lines.last { $0.event == "refusals" }
        return (last?.values ?? [:]).compactMapValues { Int($0) }
    }

    private func seconds(of log: String) -> Double {
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true, timeZone: .gmt)
        let lines = log.split(separator: "\n")
        func time(_ line: Substring?) -> Date? { line.flatMap { try? style.parse(String($0.prefix { $0 != " " })) } }
        guard let first = time(lines.first), let last = time(lines.last { $0.contains("event=completed") }) else {
            return 0
        }
        return last.timeIntervalSince(first)
    }
}
