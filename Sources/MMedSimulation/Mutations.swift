import Foundation
import MMedLocks

/// What became of a planted bug.
public struct MutationResult: Sendable {
    /// The bug.
    public var mutant: Mutant
    /// The promise that it broke first, in a word or two; nil when it survived.
    public var checker: String?
    /// What the checker said.
    public var what = ""
    /// Seed of the run that caught it.
    public var seed: UInt64 = 0
    /// Runs with the bug until it was caught.
    public var runs = 0
    /// Faults of those runs together.
    public var faults = 0
    /// Seconds of the machine's clock until it was caught.
    public var seconds = 0.0
    /// What the production code does in the same run, with the same faults; nil when it keeps every promise.
    public var withoutBug: SimulationFailure?
}

/// The check of the checkers: each bug that `Mutant` names is planted alone, and must be caught.
public enum Mutations {
    /// Runs of one bug from the seed on until one is caught or the seconds are over; then the same run without the bug.
    public static func hunt(_ mutant: Mutant, seed first: UInt64, seconds: Double, threads: Int) -> MutationResult {
        let began = Date()
        let shared = Locked(Hunt())
        DispatchQueue.concurrentPerform(iterations: max(1, threads)) { _ in
            while true {
                let number = shared.withLock { hunt -> Int? in
                    guard hunt.caught == nil, Date().timeIntervalSince(began) < seconds else { return nil }
                    while !mutant.concerns(Simulation.course(of: Simulation.seed(first, run: hunt.next))) {
                        hunt.next += 1
                    }
                    defer { hunt.next += 1 }
                    return hunt.next
                }
                guard let number else { return }
                let report = Simulation.one(
                    seed: Simulation.seed(first, run: number), mutant: mutant, rates: mutant.rates)
                shared.withLock { $0.add(report, number) }
            }
        }
        let hunt = shared.withLock { $0 }
        var result = MutationResult(mutant: mutant)
        result.seconds = Date().timeIntervalSince(began)
        let last = hunt.caught?.number ?? .max
        result.runs = hunt.faults.keys.count { $0 <= last }
        result.faults = hunt.faults.reduce(0) { $0 + ($1.key <= last ? $1.value : 0) }
        guard let caught = hunt.caught else { return result }
        (result.checker, result.what, result.seed) = (caught.failure.checker, caught.failure.what, caught.failure.seed)
        result.withoutBug = Simulation.one(seed: caught.failure.seed, rates: mutant.rates).failure
        return result
    }

    private struct Hunt {
        var next = 0
        var faults: [Int: Int] = [:]
        /// The first run that broke a promise, by number and not by time: threads end in any order.
        var caught: (number: Int, failure: SimulationFailure)?

        mutating func add(_ report: SimulationReport, _ number: Int) {
            faults[number] = report.faults.total
            guard let failure = report.failure, caught.map({ number < $0.number }) ?? true else { return }
            caught = (number, failure)
        }
    }
}

extension MutationResult {
    /// The head of the table.
    public static let head = """
        | mutant | what it plants | caught by | seed | runs | faults | seconds |
        |---|---|---|---|---|---|---|
        """

    /// A line of the table.
    public var row: String {
        let caught = checker ?? "**nobody**"
        return
            "| `\(mutant.rawValue)` | \(mutant.plants) | \(caught) | \(checker == nil ? "" : String(seed)) | \(runs) "
            + "| \(faults) | \(String(format: "%.1f", seconds)) |"
    }
}
