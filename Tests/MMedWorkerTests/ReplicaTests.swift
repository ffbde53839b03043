import MMedCore
import MMedProtocol
import Testing

@testable import MMedWorker

@Suite(.timeLimit(.minutes(10))) struct ReplicaTests {
    private let one = Sample.adapter(1)
    private let two = Sample.adapter(2)
    private let three = Sample.adapter(3)
    private let gradient = Sample.noise(40, key: 50)
    private let moments = Sample.noise(80, key: 60)

    /// A learner that stands at version 1 with its moments.
    private func learner() async throws -> Bench {
        let bench = try await Bench.joined(.learner)
        bench.engine.change { $0.replicas[one.reference] = (one.content, moments) }
        return bench
    }

    @Test func anUpdateIsAppliedFromItsGradientAlone() async throws {
        let bench = try await learner()
        bench.wire.say(Sample.update(from: one.reference, to: two.reference, gradient: gradient, moments: moments))
        try await bench.serve(gradient)
        #expect(try await bench.wire.applied() == two.reference)
        try await bench.end()
        #expect(bench.engine.calls.values == ["apply v2"])
    }

    @Test func aReplicaThatDiffersSaysSoAndPullsTheRightOne() async throws {
        let bench = try await learner()
        let wrong = Sample.digest(of: [9])
        bench.engine.change { $0.reaches = wrong }
        bench.wire.say(Sample.update(from: one.reference, to: two.reference, gradient: gradient, moments: moments))
        try await bench.serve(gradient)
        #expect(try await bench.wire.applied().digest == wrong)
        try await bench.serve(two.content)
        try await bench.serve(moments)
        #expect(try await bench.wire.applied() == two.reference)
        try await bench.end()
        #expect(bench.engine.calls.values == ["apply v2", "load v2", "moments v2"])
    }

    @Test func aGradientThatIsGoneIsNoLoss() async throws {
        let bench = try await learner()
        bench.wire.say(Sample.update(from: one.reference, to: two.reference, gradient: gradient, moments: moments))
        bench.wire.say(.blobMissing(try await bench.wire.request().digest))
        try await bench.serve(two.content)
        try await bench.serve(moments)
        #expect(try await bench.wire.applied() == two.reference)
        try await bench.end()
    }

    @Test func aLateLearnerPullsWeightsForItsLeaseAndMomentsWithTheNextUpdate() async throws {
        let bench = try await Bench.joined(.learner)
        // It never held this adapter: the update means nothing to it.
        bench.wire.say(Sample.update(from: one.reference, to: two.reference, gradient: gradient, moments: moments))
        bench.wire.say(Sample.gradient(1, adapter: two.reference))
        try await bench.serve(two.content)
        _ = try await bench.wire.chunk()
        bench.wire.say(Sample.update(from: two.reference, to: three.reference, gradient: gradient, moments: moments))
        try await bench.serve(three.content)
        try await bench.serve(moments)
        #expect(try await bench.wire.applied() == three.reference)
        try await bench.end()
        #expect(bench.engine.calls.values == ["load v2", "differentiate 1", "load v3", "moments v3"])
    }

    @Test func aLeaseAfterAnUpdateFindsTheNewVersion() async throws {
        let bench = try await learner()
        bench.wire.say(Sample.update(from: one.reference, to: two.reference, gradient: gradient, moments: moments))
        bench.wire.say(Sample.gradient(1, adapter: two.reference))
        try await bench.serve(gradient)
        _ = try await bench.wire.chunk()
        try await bench.end()
        #expect(bench.engine.calls.values == ["apply v2", "differentiate 1"])
    }

    @Test func anUpdateThatCannotBeFollowedIsMadeUpForByTheNextLease() async throws {
        let bench = try await learner()
        bench.wire.say(Sample.update(from: one.reference, to: two.reference, gradient: gradient, moments: moments))
        // Neither the gradient nor the state is there any more.
        for _ in 0..<2 { bench.wire.say(.blobMissing(try await bench.wire.request().digest)) }
        bench.wire.say(Sample.gradient(1, adapter: two.reference))
        try await bench.serve(two.content)
        _ = try await bench.wire.chunk()
        try await bench.end()
        #expect(bench.log.lines.values.contains { $0.contains("could not be followed") })
    }
}
