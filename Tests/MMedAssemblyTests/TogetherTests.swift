import MMedCore
import MMedProtocol
import MMedScheduling
import Synchronization
import Testing

@testable import MMedCoordinator
@testable import MMedWorker

/// Workers that come back as a supervisor would bring them back, until the run is over.
private final class Crew: Sendable {
    static let names: [(role: WorkerRole, name: String)] = [
        (.rollout, "r1"), (.rollout, "r2"), (.learner, "l1"), (.learner, "l2"),
    ]
    private let hub: Loopback
    private let isOver = Mutex(false)
    private let workers = Mutex<[String: Worker]>([:])
    private let errors = Mutex<[String]>([])

    init(_ hub: Loopback) { self.hub = hub }

    /// What workers ended with that was not in good order.
    var troubles: [String] { errors.withLock { $0 } }

    func keep(_ role: WorkerRole, _ name: String) async {
        var process: UInt64 = 0
        while !isOver.withLock({ $0 }) {
            process += 1
            let timing = Worker.Timing(
                introduction: .milliseconds(20), farewell: .milliseconds(200), engineStop: .seconds(1),
                patience: 4)
            let worker = Worker(
                hello: TogetherPlan.hello(role, name, instance: process), endpoint: hub.connect(),
                engine: TogetherEngine(),
                log: TogetherLog(), timing: timing, digestOf: { TogetherContent.digest(of: $0) })
            workers.withLock { $0[name] = worker }
            do { try await worker.run() } catch { errors.withLock { $0.append("\(name): \(error)") } }
        }
    }

    func kill(_ name: String) async { await workers.withLock { $0[name] }?.stop("killed") }

    func finish() async {
        isOver.withLock { $0 = true }
        for (_, name) in Crew.names { await kill(name) }
    }
}

/// The real coordinator and real workers on a wire that breaks: whatever happens to them, the run ends with the same bytes.
@Suite(.serialized, .timeLimit(.minutes(5))) struct TogetherTests {
    private struct Faults {
        var cutsPerMille: UInt32 = 0
        /// Of a thousand moments, in how many a worker is killed, and in how many the coordinator.
        var kills: UInt32 = 0, restarts: UInt32 = 0
    }

    private struct Result {
        let state: RunState
        let ports: TogetherPorts
        let cuts: Int

        func count(_ event: String) -> Int { ports.log.count { $0.event == event } }
    }

    private enum Turn {
        case ended(Outcome)
        case killed
    }

    private func run(seed: UInt64, _ faults: Faults) async throws -> Result {
        let hub = Loopback(seed: seed, cutsPerMille: faults.cutsPerMille)
        let ports = TogetherPorts()
        let crew = Crew(hub)
        let plan = TogetherPlan.plan(TogetherPlan.whole) {
            $0.retries = 10_000
            $0.beatMilliseconds = 10
            $0.silentBeats = 500
            $0.leaseMilliseconds = 200
        }
        let (deaths, death) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await hub.pump() }
            for (role, name) in Crew.names { group.addTask { await crew.keep(role, name) } }
            group.addTask {
                let random = CounterRandom(key: seed ^ 0xABCD)
                for await moment in hub.moments {
                    let draw = random.block(UInt64(moment))
                    if draw.0 % 1_000 < faults.kills { await crew.kill(Crew.names[Int(draw.1 % 4)].name) }
                    if draw.2 % 1_000 < faults.restarts { death.yield() }
                }
            }
            var state = TogetherPlan.state(plan, ports)
            while true {
                let coordinator = Coordinator(
                    plan: plan, state: state, modelDigest: TogetherPlan.model, endpoint: hub.listen(),
                    ports: CoordinatorPorts(
                        optimizer: ports, reward: ports, store: ports, merge: ports, telemetry: ports))
                if case .ended(let outcome) = try await turn(of: coordinator, deaths, hub) {
                    #expect(outcome == .completed, "seed \(seed)")
                    break
                }
                state = ports.state ?? state
                state.epoch += 1
            }
            #expect(crew.troubles == [], "seed \(seed)")
            await crew.finish()
            group.cancelAll()
            return Result(state: try #require(ports.state), ports: ports, cuts: hub.cuts)
        }
    }

    /// A coordinator's life, to the end of the run or to its death.
    private func turn(of coordinator: Coordinator, _ deaths: AsyncStream<Void>, _ hub: Loopback) async throws -> Turn {
        try await withThrowingTaskGroup(of: Turn.self) { group in
            group.addTask { .ended(try await coordinator.run()) }
            group.addTask {
                for await _ in deaths { return .killed }
                try await Task.sleep(for: .seconds(3_600))
                return .killed
            }
            let turn = try await group.next() ?? .killed
            // Nothing that a killed process says is heard any more.
            if case .killed = turn { hub.silence() }
            group.cancelAll()
            return turn
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func whateverBreaksTheResultIsTheSame(seed: UInt64) async throws {
        let quiet = try await run(seed: 0, Faults())
        #expect(quiet.cuts == 0)
        let broken = try await run(seed: seed, Faults(cutsPerMille: 30, kills: 150, restarts: 50))
        #expect(broken.cuts > 5, "seed \(seed)")
        var (left, right) = (quiet.state, broken.state)
        (left.epoch, right.epoch) = (0, 0)
        #expect(left == right, "seed \(seed)")
        for event in ["lease-failed", "path-contradicts", "replica-differs", "reward-differs"] {
            #expect(broken.count(event) == 0, "seed \(seed): \(event) is no one's fault here")
        }
    }
}
