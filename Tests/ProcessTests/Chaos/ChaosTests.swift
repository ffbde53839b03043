import Foundation
import Testing

/// `make chaos` and `make chaos SECONDS=…` set how much; without either there is nothing to do.
private struct Order {
    var cycles: Int?
    var seconds: Double?
    var seed: UInt64
    var only: Int?

    init?() {
        let environment = ProcessInfo.processInfo.environment
        func number<Number: LosslessStringConvertible>(_ name: String) -> Number? {
            environment["MMED_CHAOS_" + name].flatMap { Number($0) }
        }
        (cycles, seconds, only) = (number("N"), number("SECONDS"), number("RUN"))
        guard cycles != nil || seconds != nil || only != nil else { return nil }
        seed = number("SEED") ?? UInt64.random(in: 0..<1_000_000_000)
    }
}

extension Processes {
    @Suite(.serialized) struct Chaos {}
}

extension Processes.Chaos {
    /// Failures 1 to 4 and 22 of docs/RELIABILITY.md, at random and at every failpoint, on the real programs.
    @Test(.enabled(if: Order() != nil, "make chaos N=cycles"))
    func whateverIsKilledStoppedOrCutTheRunEndsTheSame() async throws {
        let order = try #require(Order())
        let bench = try await ChaosBench()
        say("chaos: seed \(order.seed), load \(load()), an unbroken run takes \(seconds(bench.secondsUnbroken))")
        var tally = ChaosTally(places: bench.places)
        let began = Date()
        for index in order.only.map({ $0...$0 }) ?? 0...Int.max - 1 {
            if let limit = order.seconds, Date().timeIntervalSince(began) >= limit { break }
            if let limit = order.cycles, tally.cycles >= limit { break }
            let plan = ChaosPlan(seed: order.seed, index: index, places: bench.places)
            let run = try ChaosRun(plan, bench: bench)
            let start = Date()
            let title =
                "run \(index): lag \(plan.lag), \(plan.rollouts)+\(plan.learners) workers: "
                + plan.cycles.map(\.description).joined(separator: ", ")
            do {
                try await run.run()
                try await bench.check(run)
                tally.add(run)
                bench.note(Date().timeIntervalSince(start))
                say("\(title): the same in \(seconds(Date().timeIntervalSince(start)))")
            } catch {
                run.scratch.isKept = true
                tally.failures += 1
                let replay = "make chaos SEED=\(order.seed) RUN=\(index)"
                say("\(title): FAILED: \(error)\nkept in \(run.scratch.path); again with: \(replay)")
                Issue.record("run \(index) failed: \(error); kept in \(run.scratch.path); again with: \(replay)")
                if tally.failures >= 3 { break }
            }
        }
        say(tally.report + "\nload \(load()), \(seconds(Date().timeIntervalSince(began)))")
        #expect(tally.cycles > 0, "nothing was hit")
    }
}

private func say(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }
private func seconds(_ value: Double) -> String { String(format: "%.1f s", value) }
func load() -> String { text(of: "/proc/loadavg").split(separator: " ").prefix(3).joined(separator: " ") }

/// What a sitting came to.
struct ChaosTally {
    let places: [Failplace]
    private(set) var runs = 0, cycles = 0
    var failures = 0
    private var byVictim: [Victim: Int] = [:]
    private var byKind: [String: Int] = [:]
    private var hit: [String: Int] = [:]
    private var recoveries: [Double] = []

    init(places: [Failplace]) { self.places = places }

    mutating func add(_ run: ChaosRun) {
        runs += 1
        for struck in run.struck where struck.at != nil {
            cycles += 1
            byVictim[struck.cycle.victim, default: 0] += 1
            byKind[struck.cycle.deed.kind, default: 0] += 1
            if case .failpoint(let name, _, _) = struck.cycle.deed {
                hit[name, default: 0] += 1
            }
        }
        let leases = run.firstLeases
        for (index, death) in run.deaths.enumerated() {
            // A coordinator that had nothing left to lease out, or died again before, has no such line.
            let next = index + 1 < run.deaths.count ? run.deaths[index + 1] : Date.distantFuture
            guard let first = leases.first(where: { $0 > death && $0 < next }) else { continue }
            recoveries.append(first.timeIntervalSince(death))
        }
    }

    var report: String {
        let reachable = places.filter { place in Victim.allCases.contains { place.concerns($0) } }
        let missing = reachable.filter { hit[$0.name] == nil }.map(\.name)
        let never = places.filter { place in !Victim.allCases.contains { place.concerns($0) } }.map(\.name)
        let sorted = recoveries.sorted()
        func quantile(_ part: Double) -> String {
            sorted.isEmpty ? "-" : seconds(sorted[min(sorted.count - 1, Int(part * Double(sorted.count)))])
        }
        let victims = Victim.allCases.map { "\($0) \(byVictim[$0] ?? 0)" }.joined(separator: ", ")
        let kinds = byKind.keys.sorted().map { "\($0) \(byKind[$0] ?? 0)" }.joined(separator: ", ")
        return """
            chaos: \(cycles) cycles in \(runs) runs: \(victims)
            chaos: \(kinds)
            chaos: coordinator's death to its first new lease: p50 \(quantile(0.5)), p99 \(quantile(0.99)) of \(sorted.count)
            chaos: failpoints hit \(reachable.count - missing.count) of \(reachable.count); not yet: \(missing.joined(separator: " ")); a run passes none of: \(never.joined(separator: " "))
            chaos: \(failures) runs failed; in the others 0 acknowledged paths lost, 0 slots recorded twice, 0 bytes different
            """
    }
}
