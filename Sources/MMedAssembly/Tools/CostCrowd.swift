import CSystem
import Foundation
import MMedCoordinator
import MMedCore
import MMedLocks
import MMedProtocol
import MMedStore
import MMedTransport

/// Many workers that are alive and compute nothing. They are a process of their own, so that what the coordinator spends on
/// them can be told from what they spend.
public enum CostCrowd {
    static let size = 1_000
    private static let beat = Duration.seconds(1)
    private static let measured = Duration.seconds(10)

    /// The part of one core that a coordinator spends on the crowd's beats.
    static func share(_ place: String) async throws -> Double {
        guard let name = Name("crowd") else { preconditionFailure("it is a name") }
        let folder = place + "/keys"
        _ = try KeyFolder.extend(folder, workers: [(name, .rollout)])
        let keys = try KeyFolder.read(folder)
        let rig = try CostRig(
            slots: 1, journal: try Journal(path: place + "/crowd.db"),
            keys: CoordinatorKeys(key: keys.coordinator, workers: keys.workers) { _ in })
        let running = Task { try await rig.coordinator.run() }
        defer { running.cancel() }
        var ends: [Int32] = [-1, -1]
        let nothing = open("/dev/null", O_RDONLY | O_CLOEXEC)
        guard nothing >= 0, pipe2(&ends, O_CLOEXEC) == 0 else {
            throw MMedError(.tryAgain, "no descriptors are left", mend: "raise the limit of open files")
        }
        let crowd = try ChildProcess(
            URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path,
            ["bench", "--crowd", KeyFolder.keyPath(folder, name), "--connect", rig.endpoint.localAddress],
            input: nothing, output: ends[1], errors: 2)
        for descriptor in [nothing, ends[1]] { close(descriptor) }
        defer {
            crowd.signal(SIGTERM)
            close(ends[0])
        }
        // It says one word when all have been welcomed.
        var word: UInt8 = 0
        guard read(ends[0], &word, 1) == 1 else {
            throw MMedError(
                .tryAgain, "the crowd of workers did not come up", mend: "raise the limits of files and processes")
        }
        let (start, processor) = (ContinuousClock.now, BenchTool.processorSeconds())
        try await Task.sleep(for: measured)
        let elapsed = (ContinuousClock.now - start) / .nanoseconds(1) * 1e-9
        return (BenchTool.processorSeconds() - processor) / elapsed
    }

    /// The other process: joins with so many workers under one key, says so, and beats until it is ended.
    public static func run(keyFile: String, address: String, say: (String) -> Void) async throws {
        raiseOpenFilesLimit()
        let key = try WorkerKey.read(keyFile)
        var workers: [ZeroMQWorkerEndpoint] = []
        for number in 0..<size {
            guard let name = Name("\(key.identity.name).\(number)") else { preconditionFailure("it is a name") }
            let worker = try ZeroMQWorkerEndpoint(connectingTo: address, key: key)
            await worker.send(.hello(CostRig.hello(name, instance: UInt64(number))))
            workers.append(worker)
        }
        for worker in workers {
            for await case .message(.welcome) in worker.inbound { break }
        }
        say("joined")
        await withDiscardingTaskGroup { group in
            for (number, worker) in workers.enumerated() {
                group.addTask {
                    // Spread over the second, as workers that started at their own times are.
                    try? await Task.sleep(for: beat * number / size)
                    while !Task.isCancelled {
                        await worker.send(.beat(Beat(phase: .idle, progress: 0, leases: [])))
                        try? await Task.sleep(for: beat)
                    }
                }
            }
        }
    }
}
