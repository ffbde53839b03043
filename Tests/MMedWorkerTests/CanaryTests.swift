import MMedCore
import MMedProtocol
import Testing

@testable import MMedWorker

@Suite(.timeLimit(.minutes(10))) struct CanaryTests {
    @Test func theBaseModelSingsForEachConnectionAndEachLoadedVersionBeforeItsPaths() async throws {
        let bench = Bench()
        _ = try await bench.wire.hello()
        let welcome = CoordinatorMessage.welcome(
            Welcome(run: Sample.run, seed: 3, beatMilliseconds: 60_000, adapters: [], canaryIds: [5, 6, 7]))
        bench.wire.say(welcome)
        let adapter = Sample.adapter(4)
        bench.wire.say(Sample.rollout(1, paths: 1, adapter: adapter.reference))
        try await bench.serve(adapter.content)
        _ = try await bench.wire.path()
        // A new connection of the same process, maybe to a new coordinator: it says what the base model scored.
        bench.wire.say(.introduceYourself)
        _ = try await bench.wire.hello()
        bench.wire.say(welcome)
        _ = try await bench.wire.ready()
        let order = bench.wire.said.values.compactMap { message -> String? in
            switch message {
            case .canary(let report): "canary \(report.adapter.map { "v\($0.version)" } ?? "base") \(report.logprob)"
            case .trajectories: "paths"
            default: nil
            }
        }
        #expect(order.prefix(3) == ["canary base -18.0", "canary v4 -22.0", "paths"])
        #expect(
            order.filter { $0.hasPrefix("canary") } == ["canary base -18.0", "canary v4 -22.0", "canary base -18.0"])
        bench.wire.say(.trajectoriesRecorded(LeaseID(fence: 1), [Sample.slot(0)]))
        try await bench.end()
    }
}
