import Foundation
import MMedAlgorithms
import MMedConfig
import MMedCore
import MMedFormats
import MMedLocks
import MMedProtocol
import MMedScheduling
import MMedStore

/// The `eval` command: one adapter (or the base model) on the test questions of a configuration, in this process.
public enum EvalTool {
    /// The result table; it asks the same questions in the same way as the stages of a run.
    public static func run(
        config path: String, overrides: [String], model: String?, adapter: String?, threads: Int
    ) async throws -> String {
        let config = try RunConfig.load(path: path, overrides: overrides)
        let data = try RunData(config)
        let host = try ModelHost(cluster: MMedConfig.ModelConfig(), override: model)
        let name = try adapterName(adapter)
        guard let run = Name("eval") else { preconditionFailure("\"eval\" is a name") }
        let builder = PlanBuilder(config: config, data: data, prompts: try host.prompts(config.prompt), run: run)
        let stage = try builder.evaluation("eval-\(name)", adapter == nil ? .base : .merged)
        try ContextCheck.require(
            [stage], contextLength: host.source.config.contextLength, lineOf: builder.line(of:))
        let engine = try NativeWorkerEngine(host: host, threads: threads, concurrentPaths: 32)
        let reference = try load(adapter, name, host, engine)
        var records: [EvaluationRecord] = []
        for (index, track) in stage.tracks.enumerated() {
            records.append(
                EvaluationRecord(
                    stage: stage.name, specialty: track.specialty,
                    paths: try await sample(track, index, stage.sampling, reference, engine, seed: config.seed)))
        }
        var state = RunState(heads: [])
        state.evaluations = records
        return try RunReport(config: config, data: data).text(of: state)
    }

    private static func adapterName(_ folder: String?) throws -> Name {
        let text = folder.map { URL(fileURLWithPath: $0).lastPathComponent.lowercased() } ?? "base"
        guard let name = Name(text) else {
            throw MMedError(
                .usage, at: "--adapter", "the folder's name \"\(text)\" is no adapter's name",
                mend: "use letters, digits, dots, hyphens and underscores")
        }
        return name
    }

    private static func load(
        _ folder: String?, _ name: Name, _ host: ModelHost, _ engine: NativeWorkerEngine
    ) throws -> AdapterReference? {
        guard let folder else { return nil }
        let loaded = try AdapterFolder.read(folder, shape: host.shape)
        let content = AdapterContent.bytes(loaded.layout, loaded.values)
        let reference = AdapterReference(name: name, version: 0, digest: ContentDigest.of(content))
        try engine.load(reference, content: content)
        return reference
    }

    private static func sample(
        _ track: TrackPlan, _ index: Int, _ sampling: SamplingSettings, _ adapter: AdapterReference?,
        _ engine: NativeWorkerEngine, seed: UInt64
    ) async throws -> [EvaluatedPath] {
        let questions = track.steps.flatMap(\.questions)
        let work = questions.enumerated().map { place, question in
            QuestionWork(
                adapter: adapter, prefixIds: question.prefixIds, suffixIds: question.suffixIds, sampling: sampling,
                reward: question.reward, slots: slots(of: question, track: index, question: place))
        }
        let lease = RolloutLease(lease: LeaseID(fence: 1), durationMilliseconds: 60_000, questions: work)
        let finished = Locked<[Trajectory]>([])
        try await engine.sample(
            lease, seed: seed, isCancelled: { false }, onFinished: { path in finished.withLock { $0.append(path) } })
        let judge = RewardJudge(tokenizer: engine.host.tokenizer)
        return try finished.withLock { $0.sorted { $0.slot < $1.slot } }.map { path in
            let question = questions[Int(path.slot.question)]
            let parts = try judge.judge(path, task: question.reward)
            return EvaluatedPath(judged: JudgedTrajectory(trajectory: path, parts: parts), question: question)
        }
    }

    private static func slots(of question: QuestionPlan, track: Int, question place: Int) -> [SlotID] {
        question.suffixIds.indices.flatMap { prompt in
            (0..<question.pathsPerPrompt).map { sample in
                SlotID(
                    stage: 0, track: Int32(track), step: 0, question: Int32(place), guideline: Int32(prompt),
                    sample: Int32(sample))
            }
        }
    }
}
