import Foundation
import Testing

@testable import MMedSimulation

@Suite(.timeLimit(.minutes(40))) struct SimulationTests {
    @Test func aShortSimulationKeepsEveryPromise() {
        var bounds = SimulationBounds()
        bounds.runs = 12
        let report = Simulation.run(seed: 1, bounds: bounds, threads: 1)
        #expect(report.failure == nil, "\(report.text(seconds: 0, threads: 1))")
        #expect(report.runs == 12 && report.replays == 12 && report.faults.total > 10_000)
        for place in Fault.Place.allCases {
            let done = Fault.allCases.filter { $0.place == place && report.faults[$0] > 0 }
            #expect(done.count >= 3, "\(place): \(done)")
        }
    }

    /// Free-running mode and spot checks, by the seeds whose runs have them: what they are about does happen.
    @Test func agesAndChecksKeepEveryPromise() {
        var (stale, caught, runs) = (0, 0, 0)
        for seed in 1...24 as ClosedRange<UInt64> where Simulation.course(of: seed).spotCheck > 0 {
            let report = Simulation.one(seed: seed)
            #expect(report.failure == nil, "\(report.text(seconds: 0, threads: 1))")
            stale += report.stale
            caught += report.caught
            runs += 1
        }
        #expect(runs >= 4 && stale > 0 && caught > 0, "\(runs) runs, \(stale) too old, \(caught) caught")
    }

    /// Seeds that found a bug of the program or of a checker, as docs/SIMULATION.md and the log of changes tell it.
    @Test(
        arguments: [
            // Answers that no tokenizer could read outvoted an honest path.
            11_687_522_808_016_481_304,
            // The silence of a worker was judged when its line came out, not when it had been silent.
            9_713_239_539_168_342_645,
            // A gradient that was taken back was acknowledged again while the record of it waited for the disk.
            5_479_020_018_280_759_725,
        ] as [UInt64])
    func aSeedThatFoundABugFindsNoneAnyMore(seed: UInt64) {
        // As they were found: a run that goes back to an older state draws otherwise behind it.
        var rates = FaultRates.heavy
        rates.stateDamage = 0
        let report = Simulation.one(seed: seed, rates: rates)
        #expect(report.failure == nil, "\(report.text(seconds: 0, threads: 1))")
    }

    @Test func aSeedPlaysTheSameRunAgain() {
        let runs = [UInt64(7), 7, 8].map { Simulation.one(seed: $0) }
        #expect(runs[0].faults == runs[1].faults && runs[0].events == runs[1].events)
        #expect(runs[0].faults != runs[2].faults)
    }

    @Test(arguments: [
        Mutant.acknowledgesBeforeCommit, .recordsTwice, .ignoresFence, .keepsEpoch, .sumsInArrivalOrder, .batchesStale,
        .checksNothing, .checksByTheSameWorker, .quarantineForgottenOnResume,
    ])
    func aPlantedBugIsCaught(mutant: Mutant) {
        let result = Mutations.hunt(mutant, seed: 1, seconds: 60, threads: 1)
        #expect(result.checker != nil, "\(mutant.rawValue) survived \(result.runs) runs")
        #expect(result.withoutBug == nil, "seed \(result.seed) without the bug: \(result.withoutBug?.what ?? "")")
    }
}

@Suite struct SimulationPageTests {
    private func page(_ name: String) throws -> String {
        var top = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { top.deleteLastPathComponent() }
        return try String(contentsOf: top.appendingPathComponent("docs/\(name)"), encoding: .utf8)
    }

    @Test func theTableOfMutantsIsThatOfTheCode() throws {
        let rows = try page("SIMULATION.md").split(separator: "\n").compactMap {
            $0.firstMatch(of: /^\| `([a-z-]+)` \| ([^|]+) \| ([^|]+) \|/)
        }
        #expect(rows.map { String($0.1) } == Mutant.allCases.map(\.rawValue))
        #expect(rows.map { String($0.2) } == Mutant.allCases.map(\.plants))
        #expect(Mutant.allCases.count >= 30)
        #expect(!rows.contains { $0.3.contains("**nobody**") })
    }

    @Test func everyFaultIsOnThePage() throws {
        let page = try page("SIMULATION.md")
        #expect(Fault.allCases.filter { !page.contains("`\($0)`") } == [])
    }

    @Test func everyCheckerOfTheCodeIsOnThePage() throws {
        var folder = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { folder.deleteLastPathComponent() }
        folder.appendPathComponent("Sources/MMedSimulation")
        let page = try page("SIMULATION.md")
        var names = Set<String>()
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() {
            let code = try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
            // The name follows a condition, which may hold texts of its own: it is the text with another one after it.
            for call in code.split(separator: "expect(").dropFirst() {
                if let match = call.firstMatch(of: /"([a-z' ]+)",\s*"/) { names.insert(String(match.1)) }
            }
        }
        #expect(names.count > 20)
        #expect(names.filter { !page.contains("| \($0) |") } == [])
    }
}
