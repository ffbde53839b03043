import MMedAlgorithms
import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling
import MMedStore
import MMedTransport

/// A real coordinator over real sockets whose work costs nothing: one specialty's questions, no model behind them.
struct CostRig {
    let endpoint: ZeroMQCoordinatorEndpoint
    let coordinator: Coordinator
    /// A blob that workers may pull.
    let blob: Digest
    static let blobBytes = 16 << 20
    static let tokens = 64
    static let model = ContentDigest.of(Array("no model".utf8))
    private static let pathsPerQuestion = 10

    /// Serves so many slots; acknowledges nothing before the journal has it on the disk.
    init(slots: Int, journal: Journal, keys: CoordinatorKeys? = nil) throws {
        guard let run = Name("bench"), let specialty = Name("specialty") else {
            preconditionFailure("both are names")
        }
        let questions = (0..<max(1, slots / CostRig.pathsPerQuestion)).map { index in
            QuestionPlan(
                id: "question-\(index)", prefixIds: [1, 2, 3], suffixIds: [[4]], promptNames: ["prompt"],
                plainSuffixIds: [4], pathsPerPrompt: CostRig.pathsPerQuestion,
                reward: RewardTask(answerIndex: 0, options: ["a", "b"], formatBonus: 0, probeChoices: false))
        }
        let stage = StagePlan(
            name: "bench", kind: .evaluate,
            sampling: SamplingSettings(temperature: 1, topK: 0, topP: 1, maxTokens: CostRig.tokens),
            tracks: [TrackPlan(specialty: specialty, adapter: .base, steps: [StepPlan(questions: questions)])])
        let settings = AdapterSettings(rank: 16, alpha: 32)
        let plan = RunPlan(
            run: run, seed: 1, adapters: [AdapterDescription(name: specialty, settings: settings)],
            advantages: AdvantageSettings(), loss: LossSettings(), stages: [stage], settings: SchedulingSettings())
        let store = CostStore()
        blob = store.digest
        let head = AdapterHead(
            reference: AdapterReference(name: specialty, version: 0, digest: blob), momentsDigest: nil,
            optimizerSteps: 0)
        endpoint = try ZeroMQCoordinatorEndpoint(listeningAt: "tcp://127.0.0.1:0", keys: keys)
        coordinator = Coordinator(
            plan: plan, state: RunState(heads: [head]), modelDigest: CostRig.model, endpoint: endpoint,
            ports: CoordinatorPorts(
                optimizer: NothingToLearn(), reward: NothingToJudge(), store: store, journal: RunJournal(journal),
                merge: NothingToMerge(), telemetry: NothingToTell()))
    }

    static func hello(_ name: Name, instance: UInt64) -> Hello {
        Hello(
            role: .rollout, name: name, instance: instance, modelDigest: model, threads: 1, adapters: [], host: "bench",
            processID: 1)
    }

    /// A path that does not compress, as real log-probs do not.
    static func path(_ slot: SlotID, tokens: Int = CostRig.tokens) -> Trajectory {
        let random = CounterRandom(key: slot.randomKey(seed: 1))
        return Trajectory(
            slot: slot, version: -1, adapterDigest: nil,
            completionIds: (0..<tokens).map { Int32(random.uniform(UInt64($0)) * 16_000_000) },
            logprobs: (0..<tokens).map { -Float(random.uniform(UInt64(tokens + $0))) }, stop: .budget,
            choiceLogprobs: [], reward: 0)
    }
}

/// One blob of noise, and checkpoints that nobody needs.
private final class CostStore: StorePort {
    let digest: Digest
    private let bytes: [UInt8]

    init() {
        let random = CounterRandom(key: 7)
        bytes = (0..<CostRig.blobBytes).map { UInt8(truncatingIfNeeded: random.block(UInt64($0)).0) }
        digest = ContentDigest.of(bytes)
    }

    func piece(of digest: Digest, at offset: Int, bytesMax: Int) -> BlobPiece? {
        digest == self.digest ? BlobPiece(of: bytes, at: offset, bytesMax: bytesMax) : nil
    }
    func scratch() throws -> any ScratchBytes { throw MMedError(.internalError, "the measured run has no gradients") }
    func digest(of scratch: any ScratchBytes) throws -> Digest { ContentDigest.of(try scratch.allBytes()) }
    func save(_ state: RunState) {}
}

private struct NothingToLearn: OptimizerPort {
    func apply(_ order: UpdateOrder, gradients: [any ScratchBytes]) async throws -> AppliedUpdate {
        throw MMedError(.internalError, "the measured run learns nothing")
    }
    func gradientBytes(of adapter: Name) -> Int? { nil }
    func isFinite(_ gradient: any ScratchBytes) -> Bool { true }
}

private struct NothingToJudge: RewardPort {
    func judge(_ trajectory: Trajectory, task: RewardTask) -> RewardParts { .lateArrival }
}

struct NothingToMerge: MergePort {
    func merge(_ order: MergeOrder) async throws -> AdapterReference {
        throw MMedError(.internalError, "the measured run merges nothing")
    }
}

private struct NothingToTell: TelemetryPort {
    func log(_ entry: LogEntry) {}
    func metric(_ entry: LogEntry) {}
}
