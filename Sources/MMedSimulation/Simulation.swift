import Foundation
import MMedLocks
import MMedScheduling

/// What a simulation came to.
public struct SimulationReport: Sendable {
    /// The first seed.
    public var seed: UInt64
    /// Runs that were simulated, each from its first stage to its last.
    public var runs = 0
    /// Things that happened.
    public var events = 0
    /// What went wrong, by kind.
    public var faults = FaultCounts()
    /// Simulated hours of all runs together.
    public var hours = 0.0
    /// Times that a coordinator started again.
    public var restarts = 0
    /// Paths that were too old for their adapter, each asked again.
    public var stale = 0
    /// Liars that a check found.
    public var caught = 0
    /// Lies that stood at the end, because no check drew them or nobody was there to judge.
    public var liesLeft = 0
    /// Journals that were played again to the same end.
    public var replays = 0
    /// The first run that broke a promise.
    public var failure: SimulationFailure?
}

/// A run that broke a promise.
public struct SimulationFailure: Sendable {
    /// The seed that plays it again.
    public var seed: UInt64
    /// The promise, in a word or two.
    public var checker: String
    /// What happened instead.
    public var what: String
    /// The last lines before it.
    public var transcript: [String]
}

/// A bound of a simulation; it ends with the first that is reached.
public struct SimulationBounds: Sendable {
    /// Simulated hours of all runs together.
    public var hours = Double.infinity
    /// Runs.
    public var runs = Int.max
    /// Faults of all runs together.
    public var faults = Int.max
    /// Seconds of the machine's clock.
    public var seconds = Double.infinity
    /// No bound: lines that are kept of a run that breaks a promise.
    public var linesKept = 400

    /// No bound.
    public init() {}
}

/// Whole runs of a coordinator and its workers under virtual time, with faults, from one seed.
public enum Simulation {
    /// The seed of a run; the first run of a simulation has the simulation's own, so that a failure is played again by it.
    static func seed(_ first: UInt64, run: Int) -> UInt64 {
        run == 0 ? first : Chance.mix(first &+ UInt64(run) &* 0x9E37_79B9_7F4A_7C15)
    }

    /// Runs on so many threads until a bound is reached or a promise is broken.
    public static func run(seed first: UInt64, bounds: SimulationBounds, threads: Int) -> SimulationReport {
        let began = Date()
        let shared = Locked(Shared(report: SimulationReport(seed: first)))
        DispatchQueue.concurrentPerform(iterations: max(1, threads)) { _ in
            while true {
                let number = shared.withLock { shared -> Int? in
                    let report = shared.report
                    guard report.failure == nil, shared.next < bounds.runs, report.hours < bounds.hours,
                        report.faults.total < bounds.faults, Date().timeIntervalSince(began) < bounds.seconds
                    else { return nil }
                    defer { shared.next += 1 }
                    return shared.next
                }
                guard let number else { return }
                let result = one(seed: seed(first, run: number), linesKept: bounds.linesKept)
                shared.withLock { $0.add(result) }
            }
        }
        return shared.withLock { $0.report }
    }

    private struct Shared {
        var report: SimulationReport
        var next = 0

        mutating func add(_ one: SimulationReport) {
            report.runs += one.runs
            report.events += one.events
            report.faults.add(one.faults)
            report.hours += one.hours
            report.restarts += one.restarts
            report.stale += one.stale
            report.caught += one.caught
            report.liesLeft += one.liesLeft
            report.replays += one.replays
            if report.failure == nil { report.failure = one.failure }
        }
    }

    /// One run with faults; when it breaks a promise it is played again for its transcript.
    static func one(
        seed: UInt64, mutant: Mutant? = nil, rates: FaultRates = .heavy, linesKept: Int = 400
    ) -> SimulationReport {
        var report = SimulationReport(seed: seed)
        guard let cluster = cluster(seed: seed, mutant: mutant, rates: rates) else {
            report.failure = SimulationFailure(
                seed: seed, checker: "quiet run", what: "the run without faults did not complete", transcript: [])
            return report
        }
        play(cluster)
        report.runs = 1
        report.events = cluster.events
        report.faults = cluster.faults
        report.hours = Double(cluster.now) / 3.6e9
        report.restarts = cluster.restarts
        report.stale = cluster.ledger.staleCount
        report.caught = cluster.ledger.quarantined.count
        report.liesLeft = cluster.ledger.checks.lies.count + cluster.ledger.checks.liesSummed
        report.replays = cluster.isReplayed ? 1 : 0
        if let breach = cluster.ledger.breach {
            let again = mutant == nil ? Simulation.cluster(seed: seed, rates: rates, linesKept: linesKept) : nil
            again.map(play)
            report.failure = SimulationFailure(
                seed: seed, checker: breach.checker, what: breach.what, transcript: again?.transcript?.last ?? [])
        }
        return report
    }

    static func play(_ cluster: Cluster) {
        // Faults go on for a time of the run's own, then all heals and it must end.
        var chance = Chance(seed: cluster.seed ^ 0xFA17)
        let faults = UInt64(chance.within(40...240)) * 1_000_000
        cluster.run(faultMicroseconds: faults, patience: 900_000_000)
        replay(cluster)
    }

    /// A run that has nothing but the journal of another, honest workers and no faults: what it comes to is the same.
    private static func replay(_ cluster: Cluster) {
        guard cluster.outcome == .completed, cluster.ledger.breach == nil, cluster.ledger.checks.liesSummed == 0
        else { return }
        // Who was caught is told by the void paths, and what stands is not checked anew.
        let records = cluster.disk.records.filter { if case .quarantine = $0 { false } else { true } }
        var plan = cluster.plan
        plan.settings.spotCheck = 0
        let again = Cluster(
            cluster.simulated, plan, seed: cluster.seed, rates: .none, expected: nil, crew: (2, 2, 0), isReplay: true)
        again.disk.begin(with: records)
        again.run(faultMicroseconds: 0, patience: 900_000_000)
        cluster.isReplayed = true
        if let breach = again.ledger.breach {
            return cluster.ledger.expect(false, breach.checker, "the journal, played again: \(breach.what)")
        }
        let news = again.disk.records.dropFirst(records.count).filter { if case .session = $0 { false } else { true } }
        cluster.ledger.compareReplay(cluster.disk.checkpoint, again.disk.checkpoint, Array(news))
    }

    /// The settings that a seed chooses.
    static func course(of seed: UInt64) -> Course {
        var chance = Chance(seed: seed &+ 1)
        return SimulatedPlan(&chance).course
    }

    static func cluster(
        seed: UInt64, mutant: Mutant? = nil, rates: FaultRates = .heavy, linesKept: Int = 0
    ) -> Cluster? {
        var chance = Chance(seed: seed &+ 1)
        let simulated = SimulatedPlan(&chance)
        guard let plan = simulated.plan else { return nil }
        var expected: RunState?
        if simulated.isExact {
            guard let state = QuietRuns.state(of: simulated) else { return nil }
            expected = state
        }
        let liars = simulated.spotCheck > 0 ? 1 + chance.below(4) : chance.below(4)
        // Where gradients are checked there are learners to do it.
        let learners = chance.within(simulated.spotCheck > 0 ? 5...8 : 2...8)
        return Cluster(
            simulated, plan, seed: seed, rates: rates, expected: expected,
            crew: (chance.within(12...36), learners, liars), mutant: mutant, linesKept: linesKept)
    }
}

/// Final states of runs in which nothing goes wrong: one worker of each role, no fault.
enum QuietRuns {
    private static let known = Locked<[Int: RunState]>([:])

    static func state(of simulated: SimulatedPlan) -> RunState? {
        if let state = known.withLock({ $0[simulated.variant] }) { return state }
        guard let plan = simulated.plan else { return nil }
        let cluster = Cluster(simulated, plan, seed: 1, rates: .none, expected: nil, crew: (1, 1, 0))
        cluster.run(faultMicroseconds: 0, patience: 7_200_000_000)
        guard cluster.outcome == .completed, cluster.ledger.breach == nil else { return nil }
        let state = cluster.disk.checkpoint
        known.withLock { $0[simulated.variant] = state }
        return state
    }
}
