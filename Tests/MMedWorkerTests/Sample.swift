import MMedAlgorithms
import MMedCore
import MMedProtocol

@testable import MMedWorker

/// Values that several tests need.
enum Sample {
    static let adapterName = Name("adult")!
    static let run = Name("run")!

    static func noise(_ count: Int, key: UInt64) -> [UInt8] {
        var state = key &* 0x9E37_79B9_7F4A_7C15 | 1
        return (0..<count).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 56)
        }
    }

    /// 32 bytes spread from a 64-bit hash: what stands for SHA-256 here.
    static func digest(of bytes: [UInt8]) -> Digest {
        let hash = stableHash(bytes)
        return Digest(bytes: (0..<32).map { UInt8(truncatingIfNeeded: hash >> UInt64($0 % 8 * 8)) })!
    }

    static func hello(_ role: WorkerRole = .rollout) -> Hello {
        Hello(
            role: role, name: Name("worker-1")!, instance: 7, modelDigest: digest(of: []), threads: 1, adapters: [],
            host: "here", processID: 1)
    }

    static func welcome(beat: Int = 60_000, run: Name = Sample.run) -> CoordinatorMessage {
        .welcome(Welcome(run: run, seed: 3, beatMilliseconds: beat, adapters: []))
    }

    /// A version whose content is this many bytes of noise.
    static func adapter(_ version: Int, bytes: Int = 100) -> (reference: AdapterReference, content: [UInt8]) {
        let content = noise(bytes, key: UInt64(version))
        return (AdapterReference(name: adapterName, version: version, digest: digest(of: content)), content)
    }

    static func slot(_ sample: Int) -> SlotID {
        SlotID(stage: 0, track: 0, step: 0, question: 0, guideline: 0, sample: Int32(sample))
    }

    static func path(_ slot: SlotID, _ adapter: AdapterReference?) -> Trajectory {
        Trajectory(
            slot: slot, version: adapter?.version ?? -1, adapterDigest: adapter?.digest, completionIds: [slot.sample],
            logprobs: [-1], stop: .endToken, choiceLogprobs: [], reward: 1)
    }

    static func rollout(
        _ fence: UInt64, paths: Int, adapter: AdapterReference? = nil, milliseconds: Int = 60_000
    ) -> CoordinatorMessage {
        .rollout(
            RolloutLease(
                lease: LeaseID(fence: fence), durationMilliseconds: milliseconds,
                questions: [
                    QuestionWork(
                        adapter: adapter, prefixIds: [1], suffixIds: [[2]],
                        sampling: SamplingSettings(temperature: 1, topK: 0, topP: 1, maxTokens: 4),
                        reward: RewardTask(answerIndex: 0, options: ["a", "b"], formatBonus: 0, probeChoices: false),
                        slots: (0..<paths).map(slot))
                ]))
    }

    static func gradient(_ fence: UInt64, adapter: AdapterReference) -> CoordinatorMessage {
        .gradient(
            GradientLease(
                lease: LeaseID(fence: fence), durationMilliseconds: 60_000,
                shard: ShardID(stage: 0, track: 0, step: 0, update: 0, shard: Int32(fence)), adapter: adapter,
                reference: nil, prox: nil, objective: .supervised, temperature: 1, microbatches: []))
    }

    static func update(
        from base: AdapterReference, to result: AdapterReference, gradient: [UInt8], moments: [UInt8]
    ) -> CoordinatorMessage {
        .update(
            UpdateAnnouncement(
                base: base, result: result,
                numbers: UpdateNumbers(
                    learningRate: 1, beta1: 0.9, beta2: 0.9, epsilon: 1, weightDecay: 0, biasCorrection1: 1,
                    biasCorrection2: 1, clipFactor: 1),
                gradientDigest: digest(of: gradient), momentsDigest: digest(of: moments)))
    }

    static func kind(_ message: WorkerMessage) -> String? {
        switch message {
        case .hello: "hello"
        case .gradientChunk: "chunk"
        default: nil
        }
    }

    static let shortWaits = Worker.Timing(
        introduction: .milliseconds(1), farewell: .milliseconds(50), engineStop: .milliseconds(50), patience: 3)
}

/// A worker at work, its wire and its engine.
struct Bench: Sendable {
    let wire = FakeWire()
    let engine = FakeEngine()
    let log = LogLines()
    let worker: Worker
    let running: Task<Void, any Error>

    init(_ role: WorkerRole = .rollout, timing: Worker.Timing = Worker.Timing()) {
        worker = Worker(
            hello: Sample.hello(role), address: "tcp://127.0.0.1:7450", endpoint: wire, engine: engine, log: log,
            timing: timing,
            digestOf: { Sample.digest(of: $0) })
        running = Task { [worker] in try await worker.run() }
    }

    /// Past its welcome and its first credits.
    static func joined(_ role: WorkerRole = .rollout, beat: Int = 60_000, timing: Worker.Timing = Worker.Timing())
        async throws -> Bench
    {
        let bench = Bench(role, timing: timing)
        _ = try await bench.wire.hello()
        bench.wire.say(Sample.welcome(beat: beat))
        _ = try await bench.wire.ready()
        return bench
    }

    /// Answers requests until the blob is there.
    func serve(_ content: [UInt8]) async throws {
        var served = 0
        while served < content.count {
            let request = try await wire.request()
            let end = min(content.count, request.offset + Limits.blobChunkBytes)
            wire.say(
                .blobChunk(
                    request.digest, offset: request.offset, totalBytes: content.count,
                    bytes: Array(content[request.offset..<end])))
            served += end - request.offset
        }
    }

    /// Waits until a condition holds that no message tells.
    func until(_ what: String, _ condition: () async -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(30)
        while await !condition() {
            if ContinuousClock.now > deadline { throw TookTooLong(description: "no \(what)") }
            await Task.yield()
        }
    }

    /// Ends the worker and waits for it.
    func end() async throws {
        wire.say(.end(reason: "the test is over"))
        try await running.value
    }

    func error() async -> MMedError? {
        do {
            try await running.value
            return nil
        } catch { return error as? MMedError }
    }
}
