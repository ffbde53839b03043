import MMedCore
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedCoordinator

@Suite(.timeLimit(.minutes(10))) struct WholeRunTests {
    /// Runs the tiny plan to its end and returns what its last checkpoint holds.
    private func run(
        rollouts: Int, learners: Int, seed: UInt64 = 0, accidentsPerMille: UInt32 = 0
    ) async throws -> (state: RunState, accidents: Int) {
        let bench = Bench(Tiny.whole) {
            $0.retries = 1_000
            // What was on its way when a connection broke comes back when its lease ends.
            if accidentsPerMille > 0 { $0.leaseMilliseconds = 400 }
        }
        let names = (0..<rollouts).map { ("r\($0)", WorkerRole.rollout) } + (0..<learners).map { ("l\($0)", .learner) }
        let hands = names.enumerated().map { index, worker in
            let random = CounterRandom(key: seed &+ UInt64(index))
            return Hand(bench.router, Tiny.hello(worker.1, worker.0), seed: 5) { number in
                let draw = random.block(UInt64(number))
                guard draw.0 % 1_000 < accidentsPerMille else { return nil }
                return draw.1 % 2 == 0 ? .reconnect : .death
            }
        }
        for hand in hands { hand.join() }
        #expect(try await bench.running.value == .completed, "seed \(seed)")
        for hand in hands { #expect(hand.isOver, "every worker is told that the run is over, seed \(seed)") }
        #expect(await bench.coordinator.desk.held.gradientBytes == 0, "no gradient is left, seed \(seed)")
        let last = try #require(bench.store.saved.values.last)
        return (last, hands.reduce(0) { $0 + $1.accidentCount })
    }

    @Test func aPlanIsCompletedByTwoOfEachRole() async throws {
        let (state, _) = try await run(rollouts: 2, learners: 2)
        #expect(state.stage == Tiny.whole.count)
        #expect(state.heads.map(\.reference.name) == Tiny.specialties)
        #expect(state.heads.allSatisfy { $0.reference.version >= 2 })
        #expect(state.merged?.name == Name("merged"))
        #expect(state.stageHeads.map(\.stage) == ["dsa", "dsa", "gba", "gba"])
        #expect(state.evaluations.map(\.stage) == ["eval-base", "eval-gba", "eval-merged"].flatMap { [$0, $0] })
        #expect(state.evaluations.allSatisfy { $0.paths.count == 2 })
    }

    @Test func theResultDoesNotDependOnTheWorkers() async throws {
        let one = try await run(rollouts: 1, learners: 1).state
        for (rollouts, learners) in [(2, 2), (3, 4)] {
            let other = try await run(rollouts: rollouts, learners: learners).state
            #expect(other == one, "\(rollouts) rollout workers and \(learners) learners")
        }
    }

    @Test(arguments: [11, 22, 33, 44] as [UInt64])
    func accidentsChangeNothing(seed: UInt64) async throws {
        let quiet = try await run(rollouts: 2, learners: 2).state
        let (state, accidents) = try await run(rollouts: 2, learners: 2, seed: seed, accidentsPerMille: 300)
        #expect(accidents > 3, "seed \(seed)")
        #expect(state == quiet, "seed \(seed)")
    }
}
