import Testing

@testable import MMedSimulation

@Suite(.timeLimit(.minutes(5))) struct SimulationTests {
    @Test func aShortSimulationKeepsEveryPromise() {
        var bounds = SimulationBounds()
        bounds.runs = 12
        let report = Simulation.run(seed: 1, bounds: bounds, threads: 1)
        #expect(report.failure == nil, "\(report.text(seconds: 0, threads: 1))")
        #expect(report.runs == 12 && report.faults.total > 10_000)
    }
}
