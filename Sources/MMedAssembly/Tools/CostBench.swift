import Foundation
import MMedCoordinator
import MMedCore
import MMedLocks
import MMedProtocol
import MMedStore
import MMedTransport

/// `bench --cost`: what a coordinator costs beside the training itself. `make bench` prints the machine's raw limits beside.
public enum CostBench {
    /// Of the run whose acknowledgements are timed.
    private static let pathsPerSecond = 1_000
    private static let ackSeconds = 10

    /// Measures row by row; `folder` is on the disk that is to be measured, and what is written there is removed. With the
    /// path of a configuration its GBA step is measured too.
    public static func run(
        folder: String, config: String?, model: String?, say: @escaping (String) -> Void
    ) async throws {
        let place = folder + "/mmed-bench-\(ProcessInfo.processInfo.processIdentifier)"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        let remove = { @Sendable in
            for path in [place, StepCost.memoryPlace] { try? FileManager.default.removeItem(atPath: path) }
        }
        let signals = StopSignals(isHangupWish: true) {
            remove()
            _exit(130)
        }
        defer {
            signals.cancel()
            remove()
        }
        raiseOpenFilesLimit()
        let idle = try ZeroMQCoordinatorEndpoint(listeningAt: "tcp://127.0.0.1:0")
        row("memory of a coordinator that listens, no run loaded", "\(residentMegabytes()) MB", say)
        await idle.close()
        let pulled = try await onRig(place + "/chunks.db", slots: 1) { try await pull(count: 16, $0, $1) }
        row("adapter chunks to one worker", String(format: "%.0f MB/s", pulled), say)
        let slots = pathsPerSecond * ackSeconds
        let acks = try await onRig(place + "/acks.db", slots: slots) { try await acknowledge(slots, $0, $1) }
        row(
            "acknowledgement on the disk at \(pathsPerSecond) paths a second",
            String(
                format: "p50 %.1f ms, p99 %.1f ms of %d, over %.1f s", acks.milliseconds[acks.milliseconds.count / 2],
                acks.milliseconds[acks.milliseconds.count * 99 / 100], acks.milliseconds.count, acks.seconds), say)
        let share = try await CostCrowd.share(place)
        row(
            "\(CostCrowd.size) CURVE workers that beat every second",
            String(format: "%.1f %% of one core, memory %d MB", 100 * share, residentMegabytes()), say)
        guard let config else { return }
        let cost = try await StepCost(configPath: config, model: model, place: place).measure()
        row(
            "disk and CURVE in a GBA step of \((config as NSString).lastPathComponent)",
            String(
                format: "%.3f s (%.3f instead of %.3f s without computing), %.1f %% of the step's %.1f s",
                cost.kept - cost.bare, cost.kept, cost.bare, 100 * (cost.kept - cost.bare) / cost.step, cost.step), say)
    }

    private static func row(_ name: String, _ value: String, _ say: (String) -> Void) {
        say(name.padding(toLength: 58, withPad: " ", startingAt: 0) + " " + value)
    }

    static func residentMegabytes() -> Int {
        let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = status?.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        return (line?.split(whereSeparator: { !$0.isNumber }).first.flatMap { Int($0) } ?? 0) / 1_024
    }

    private static func seconds(since start: ContinuousClock.Instant) -> Double {
        (ContinuousClock.now - start) / .nanoseconds(1) * 1e-9
    }

    // MARK: Rows

    /// Messages of 10,000 bytes a second: one worker sends, the coordinator's end reads, checks and hands over.
    public static func messagesPerSecond(count: Int = 50_000) async throws -> Double {
        let coordinator = try ZeroMQCoordinatorEndpoint(listeningAt: "tcp://127.0.0.1:0")
        let worker = try ZeroMQWorkerEndpoint(connectingTo: coordinator.localAddress)
        let slot = SlotID(stage: 0, track: 0, step: 0, question: 0, guideline: 0, sample: 0)
        // 8 bytes a token.
        let path = CostRig.path(slot, tokens: 1_250)
        let sender = Task {
            for _ in 0...count { await worker.send(.trajectories(LeaseID(fence: 1), [path])) }
        }
        var events = coordinator.inbound.makeAsyncIterator()
        _ = await events.next()
        let start = ContinuousClock.now
        var taken = 0
        while taken < count, let event = await events.next() {
            guard case .message = event else { throw MMedError(.internalError, "the bench heard \(event)") }
            taken += 1
        }
        let rate = Double(count) / seconds(since: start)
        await sender.value
        await worker.close()
        await coordinator.close()
        return rate
    }

    /// A rig with one worker that has joined. Ends the rig when the body is done.
    private static func onRig<Result: Sendable>(
        _ path: String, slots: Int, _ body: (CostRig, ZeroMQWorkerEndpoint) async throws -> Result
    ) async throws -> Result {
        let rig = try CostRig(slots: slots, journal: try Journal(path: path))
        let running = Task { try await rig.coordinator.run() }
        defer { running.cancel() }
        let worker = try ZeroMQWorkerEndpoint(connectingTo: rig.endpoint.localAddress)
        guard let name = Name("worker") else { preconditionFailure("it is a name") }
        await worker.send(.hello(CostRig.hello(name, instance: 1)))
        let result = try await body(rig, worker)
        await worker.close()
        return result
    }

    /// Pulls the blob as a worker does; megabytes a second.
    private static func pull(count: Int, _ rig: CostRig, _ worker: ZeroMQWorkerEndpoint) async throws -> Double {
        let chunk = Limits.blobChunkBytes
        let offsets = (0..<count).flatMap { _ in Array(stride(from: 0, to: CostRig.blobBytes, by: chunk)) }
        var next = 0
        var taken = 0
        func ask() async {
            guard next < offsets.count else { return }
            next += 1
            await worker.send(.blobRequest(rig.blob, offset: offsets[next - 1]))
        }
        let start = ContinuousClock.now
        for _ in 0..<Limits.blobRequestsOutstanding { await ask() }
        for await event in worker.inbound {
            guard case .message(.blobChunk) = event else { continue }
            taken += 1
            if taken == offsets.count { break }
            await ask()
        }
        return Double(taken * chunk) / 1e6 / seconds(since: start)
    }

    /// Sends a path each millisecond and waits for the word that it is on the disk.
    private static func acknowledge(
        _ count: Int, _ rig: CostRig, _ worker: ZeroMQWorkerEndpoint
    ) async throws -> (milliseconds: [Double], seconds: Double) {
        let (work, toDo) = AsyncStream.makeStream(of: (LeaseID, SlotID).self)
        let sentAt = Locked<[SlotID: ContinuousClock.Instant]>([:])
        await worker.send(.ready(credits: Limits.credits))
        let start = ContinuousClock.now
        let sender = Task {
            var sent = 0
            for await (lease, slot) in work {
                let due = start + .microseconds(1_000_000 / pathsPerSecond * sent)
                if ContinuousClock.now < due { try await Task.sleep(until: due, clock: .continuous) }
                let path = CostRig.path(slot)
                sentAt.withLock { $0[slot] = .now }
                await worker.send(.trajectories(lease, [path]))
                await worker.send(.ready(credits: 1))
                sent += 1
            }
        }
        defer { sender.cancel() }
        var latencies: [Double] = []
        for await event in worker.inbound {
            switch event {
            case .message(.rollout(let lease)):
                for question in lease.questions { for slot in question.slots { toDo.yield((lease.lease, slot)) } }
            case .message(.trajectoriesRecorded(_, let slots)):
                for slot in slots {
                    guard let at = sentAt.withLock({ $0.removeValue(forKey: slot) }) else { continue }
                    latencies.append(seconds(since: at) * 1_000)
                }
            default: continue
            }
            if latencies.count == count { break }
        }
        return (latencies.sorted(), seconds(since: start))
    }
}
