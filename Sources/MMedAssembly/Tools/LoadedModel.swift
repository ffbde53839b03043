import MMedConfig
import MMedCore
import MMedEngine
import MMedFormats
import MMedTensor

/// A model with an optional adapter, loaded for the comparing commands.
public final class LoadedModel {
    let host: ModelHost
    let model: LanguageModel
    let adapter: Adapter?
    let pool: ComputePool

    /// `model` is a file, a folder or a pinned name; `adapter` a PEFT folder.
    public init(model path: String, adapter adapterPath: String?, threads: Int) throws {
        let host = try ModelHost(cluster: MMedConfig.ModelConfig(), override: path)
        self.host = host
        let loaded = try adapterPath.map { try AdapterFolder.read($0, shape: host.shape) }
        model = try LanguageModel(source: host.source)
        adapter = try loaded.map { try Adapter(layout: $0.layout, weights: $0.values) }
        pool = ComputePool(threads: threads)
    }
}

/// The `score` command: log-probs of given completions.
public struct ScoreTool {
    /// A line of input.
    public struct Request: Decodable {
        /// Tokens of the prompt.
        public var promptIds: [Int32]
        /// Tokens to score.
        public var completionIds: [Int32]

        enum CodingKeys: String, CodingKey {
            case promptIds = "prompt_ids"
            case completionIds = "completion_ids"
        }
    }

    /// A line of output.
    public struct Reply: Encodable {
        /// Natural log-prob of each completion token.
        public var logprobs: [Float]
    }

    private let loaded: LoadedModel
    private let learner: Learner

    /// Scores with a loaded model.
    public init(_ loaded: LoadedModel) {
        self.loaded = loaded
        learner = Learner(model: loaded.model, pool: loaded.pool)
    }

    /// Scores one line. Throws `badData` for ids outside the vocabulary or an empty list.
    public func score(_ request: Request, temperature: Float) throws -> Reply {
        guard !request.promptIds.isEmpty, !request.completionIds.isEmpty else {
            throw MMedError(.badData, "prompt_ids and completion_ids need at least one token each")
        }
        let tree = PromptTree(
            prefixIds: request.promptIds, suffixIds: [[]],
            paths: [TreePath(suffix: 0, completionIds: request.completionIds)])
        let scores = try learner.score([tree], adapter: loaded.adapter, temperature: temperature)
        return Reply(logprobs: scores[0][0])
    }
}

/// The `sample` command: completions of a prompt.
public struct SampleTool {
    /// A line of output.
    public struct Reply: Encodable {
        /// The text without the end token.
        public var text: String
        /// Tokens of the prompt.
        public var promptIds: [Int32]
        /// Tokens drawn.
        public var completionIds: [Int32]
        /// Natural log-prob of each.
        public var logprobs: [Float]
        /// `end` or `budget`.
        public var stop: String

        enum CodingKeys: String, CodingKey {
            case text
            case promptIds = "prompt_ids"
            case completionIds = "completion_ids"
            case logprobs
            case stop
        }
    }

    /// How to draw.
    public struct Settings {
        /// Completions.
        public var count: Int
        /// Tokens of each at most.
        public var maxTokens: Int
        /// 0 is greedy.
        public var temperature: Double
        /// Seed of the streams.
        public var seed: UInt64
        /// Write the prompt as a user's turn.
        public var isChat: Bool

        /// All of them.
        public init(count: Int, maxTokens: Int, temperature: Double, seed: UInt64, isChat: Bool) {
            self.count = count
            self.maxTokens = maxTokens
            self.temperature = temperature
            self.seed = seed
            self.isChat = isChat
        }
    }

    /// Draws completions of a prompt.
    public static func sample(_ loaded: LoadedModel, prompt: String, _ settings: Settings) throws -> [Reply] {
        var text = prompt
        if settings.isChat { text = try ChatTemplate(source: loaded.host.source).turn(user: prompt) }
        let ids = loaded.host.tokenizer.encode(text)
        guard !ids.isEmpty else { throw MMedError(.usage, at: "--prompt", "the prompt has no token") }
        let stops = try loaded.host.stopTokenIds()
        let requests = (0..<settings.count).map { index in
            SampleRequest(
                slotKey: stableHash(Array("\(settings.seed)/\(index)".utf8)), prefixIds: ids, suffixIds: [],
                adapter: loaded.adapter == nil ? nil : 0, temperature: Float(settings.temperature),
                maxTokens: settings.maxTokens, stopTokenIds: stops)
        }
        let sampler = Sampler(
            model: loaded.model, adapters: loaded.adapter.map { [$0] } ?? [], pool: loaded.pool)
        return try sampler.sample(requests).map { result in
            Reply(
                text: loaded.host.tokenizer.decode(result.completionIds, skipSpecial: true), promptIds: ids,
                completionIds: result.completionIds, logprobs: result.logprobs,
                stop: result.stopReason == .endToken ? "end" : "budget")
        }
    }
}
