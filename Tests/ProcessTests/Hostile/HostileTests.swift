import Foundation
import Testing

/// What `make hostile` asks for.
private struct HostileOrder {
    /// What the honest workers of a run do.
    enum Work: String {
        case quickstart
        case tiny
    }

    let work: Work
    let messages: Int
    /// Attacked runs with keys, and as many without, that an unattacked one goes before; later ones are held against the last
    /// of these, and their rate is not told.
    let pairs: Int
    let seed: UInt64
    let idle: Int
    /// Adversaries of each kind.
    let crowd: Int
    /// Runs of the tiny model are so many times as long as those of other tests.
    let length: Int

    init?() {
        let environment = ProcessInfo.processInfo.environment
        func number<Number: LosslessStringConvertible>(_ name: String) -> Number? {
            guard let text = environment["MMED_HOSTILE_" + name], !text.isEmpty else { return nil }
            if let number = Number(text) { return number }
            fatalError("make hostile: \(name)=\(text) is not a number")
        }
        guard let messages: Int = number("COUNT") else { return nil }
        self.messages = messages
        guard let work = Work(rawValue: environment["MMED_HOSTILE_WORK"] ?? "quickstart") else {
            fatalError("make hostile: WORK is quickstart or tiny")
        }
        self.work = work
        pairs = number("PAIRS") ?? 2
        seed = number("SEED") ?? UInt64.random(in: 0..<1_000_000_000)
        idle = number("IDLE") ?? 1_000
        crowd = number("CROWD") ?? 8
        length = number("LENGTH") ?? 4
        if pairs < 1 { fatalError("make hostile: PAIRS is 1 or more; rates need a run that nobody attacks") }
        if let _: Int = number("LENGTH"), work != .tiny { fatalError("make hostile: LENGTH is for WORK=tiny") }
    }

    /// A run in a folder of its own.
    func run(hasKeys: Bool) async throws -> HostileRun {
        let scratch = try Scratch()
        switch work {
        case .quickstart: return try await HostileRun(.quickstart(in: scratch), hasKeys: hasKeys, in: scratch)
        case .tiny:
            let config = try await Lab.shared.value.path + "/hostile.yaml"
            try Data(Lab.hostileConfigText(length: length).utf8).write(to: URL(fileURLWithPath: config))
            return try await HostileRun(.tiny(config, in: scratch), hasKeys: hasKeys, in: scratch)
        }
    }
}

/// What the runs of one order came to together.
private struct HostileSums {
    var counts = HostileTally.Counts()
    var refusals: [String: Int] = [:]
    var ratesByKeys: [Bool: [Double]] = [:]
    var sent: Int { counts.readTotal + counts.cutTotal }

    func text(runs: Int) -> String {
        let reasons = refusals.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        return """
            hostile: \(sent) messages sent in \(runs) runs: \(counts.readTotal) read to the end, \(counts.cutTotal) on \
            connections closed meanwhile
            hostile: sent (read + closed meanwhile): \(counts.text)
            hostile: refused, as the coordinators counted: \(reasons)
            hostile: honest work, of its rate without attack: no keys \(spread(ratesByKeys[false])), keys \
            \(spread(ratesByKeys[true])); load \(load())
            """
    }
}

extension Processes {
    @Suite(.serialized) struct Hostile {}
}

/// MiB that a coordinator may grow by: what docs/PROTOCOL.md lets queues and connections hold, far below what is sent.
private let growthMax = 256.0

/// Nothing of what adversaries said is in the run, and neither memory nor log grew with it.
/// The run has a growth of its own, which `honestMemory` is the end of, in MiB.
private func expectUntouched(
    _ outcome: HostileOutcome, by honest: RunResult, honestLines: Int, honestMemory: Double = 0
) {
    outcome.result.expectSame(as: honest)
    #expect(Set(outcome.takenFrom.keys) == ["rollout-1"], "paths were taken from \(outcome.takenFrom)")
    let growth = outcome.memoryMost - max(outcome.memoryBefore, honestMemory)
    #expect(growth <= growthMax, "the coordinator grew by \(growth) MiB")
    // The allowance of each kind of line that names a worker, and two lines in ten seconds that say what was left out.
    let kinds = 24.0
    let allowed = Double(honestLines) + kinds * (200 + 6 * outcome.seconds)
    #expect(Double(outcome.lines) <= allowed, "progress.log has \(outcome.lines) lines")
}

extension Processes.Hostile {
    /// Failures 12, 13 and 14 of the table in docs/RELIABILITY.md, for as long as a short run takes.
    @Test(.enabled(if: HostileOrder() == nil, "make hostile does the long form"), arguments: [false, true])
    func row19_adversariesGetNothingIn(hasKeys: Bool) async throws {
        let seed: UInt64 = 20
        let run = try await HostileRun(config: try await Lab.shared.value.config, hasKeys: hasKeys)
        let outcome = try await run.run(attackedBy: seed, messages: 3_000, idle: 100)
        let unbroken = try await Lab.unbroken.value
        let lines = try ProgressLine.all(try await Lab.shared.value.unbrokenFolder).count
        expectUntouched(outcome, by: unbroken, honestLines: lines)
        let counts = run.tally.now
        for kind in HostileKind.allCases where kind != .oversize && (kind != .unknownKey || hasKeys) {
            #expect(counts.read[kind] ?? 0 > 0, "no \(kind.rawValue) was read: \(counts.text)")
        }
        // Paths for real slots come late only when the adversaries got a lease, which a short run may not have left over.
        for reason in ["malformed-message", "wrong-role", "unintroduced", "void-lease"] {
            #expect(outcome.refusals[reason] ?? 0 > 0, "none was refused for \(reason): \(outcome.refusals)")
        }
        #expect(hasKeys == (outcome.keysRefused > 0))
        #expect(run.idled.most == 100)
    }

    @Test(.enabled(if: HostileOrder() != nil, "make hostile"))
    func liesChangeNothing() async throws {
        let order = try #require(HostileOrder())
        raiseOpenFiles()
        say("hostile: work \(order.work), seed \(order.seed), load \(load())")
        var sums = HostileSums()
        var unattacked: [Bool: HostileOutcome] = [:]
        var index = 0
        while sums.sent < order.messages || index < 2 * order.pairs {
            let hasKeys = index % 2 == 1
            // One of its own kind just before it: keys cost something by themselves, and a shared machine's pace drifts.
            let isMeasured = index < 2 * order.pairs
            if isMeasured { unattacked[hasKeys] = try await order.run(hasKeys: hasKeys).run(attackedBy: nil) }
            let honest = try #require(unattacked[hasKeys])
            let run = try await order.run(hasKeys: hasKeys)
            let outcome = try await run.run(
                attackedBy: order.seed &+ UInt64(index), crowd: order.crowd, idle: order.idle, .leftovers)
            say(describe(index, hasKeys, run, outcome, honest))
            expectUntouched(
                outcome, by: honest.result, honestLines: honest.lines, honestMemory: honest.memoryMost)
            #expect(outcome.takenFrom == honest.takenFrom)
            sums.refusals.merge(outcome.refusals, uniquingKeysWith: +)
            sums.counts.add(run.tally.now)
            if isMeasured { sums.ratesByKeys[hasKeys, default: []].append(rate(outcome, honest)) }
            guard run.tally.now.readTotal > 0 else { throw Failure("no message was read in run \(index)") }
            index += 1
        }
        say(sums.text(runs: index))
    }
}

private func rate(_ attacked: HostileOutcome, _ honest: HostileOutcome) -> Double {
    100 * honest.seconds / max(0.001, attacked.seconds)
}

private func spread(_ rates: [Double]?) -> String {
    guard let sorted = rates?.sorted(), let first = sorted.first, let last = sorted.last else { return "none" }
    let median = (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
    return "\(decimal(first)) to \(decimal(last)) %, median \(decimal(median)) % of \(sorted.count)"
}

private func describe(
    _ index: Int, _ hasKeys: Bool, _ run: HostileRun, _ outcome: HostileOutcome, _ honest: HostileOutcome
) -> String {
    let counts = run.tally.now
    return """
        hostile: run \(index), \(hasKeys ? "keys" : "no keys"): \(counts.readTotal)+\(counts.cutTotal) messages on \
        \(counts.connections) connections, \(counts.leasesGivenBack) leases given back, \(counts.read[.unknownKey] ?? 0) \
        refused at the door, \(run.idled.most) idle at once of \(run.idled.opened) opened
        hostile:   honest work at \(decimal(rate(outcome, honest))) % of its rate (\(decimal(outcome.seconds)) s, unattacked \
        \(decimal(honest.seconds))), coordinator's memory \(decimal(outcome.memoryBefore)) to \
        \(decimal(outcome.memoryMost)) MiB (unattacked \(decimal(honest.memoryMost))), processor \
        \(decimal(outcome.processorSeconds)) s (unattacked \(decimal(honest.processorSeconds))), \(outcome.lines) lines of \
        log (unattacked \(honest.lines)), load \(load())
        """
}

private func say(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }
private func decimal(_ value: Double) -> String { String(format: "%.1f", value) }

extension Lab {
    /// As the shared run, so many times as long.
    static func hostileConfigText(length: Int) -> String {
        configText.replacingOccurrences(of: "{steps: 6,", with: "{steps: \(6 * length),")
            .replacingOccurrences(of: "epochs: 10,", with: "epochs: \(10 * length),")
    }
}
