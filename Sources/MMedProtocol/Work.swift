public import MMedCore

/// The name of one path to sample. It is the key of its random stream, of dedup and of every ordered sum; policy version and fence are attributes.
public struct SlotID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Index of the stage in the run's plan.
    public var stage: Int32
    /// Index of the track (the adapter) in the stage.
    public var track: Int32
    /// Step of the track, from 0.
    public var step: Int32
    /// Index of the question in the step.
    public var question: Int32
    /// Index of the prompt among the question's suffixes.
    public var guideline: Int32
    /// Index of the path below the prompt.
    public var sample: Int32

    /// All six indices.
    public init(stage: Int32, track: Int32, step: Int32, question: Int32, guideline: Int32, sample: Int32) {
        self.stage = stage
        self.track = track
        self.step = step
        self.question = question
        self.guideline = guideline
        self.sample = sample
    }

    private var parts: [Int32] { [stage, track, step, question, guideline, sample] }

    /// The order of every sum.
    public static func < (left: SlotID, right: SlotID) -> Bool {
        (left.stage, left.track, left.step, left.question, left.guideline, left.sample)
            < (right.stage, right.track, right.step, right.question, right.guideline, right.sample)
    }

    /// `stage/track/step/question/guideline/sample`.
    public var description: String { parts.map(String.init).joined(separator: "/") }

    /// The 64-bit key of the slot's random stream in a run with this seed.
    public func randomKey(seed: UInt64) -> UInt64 {
        var bytes: [UInt8] = []
        for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: seed >> UInt64(shift))) }
        for part in parts {
            for shift in stride(from: 0, to: 32, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: part >> Int32(shift)))
            }
        }
        return stableHash(bytes)
    }
}

/// One immutable version of an adapter.
public struct AdapterReference: Hashable, Sendable {
    /// The specialty, or `merged`.
    public var name: Name
    /// Version, from 0; it counts committed updates.
    public var version: Int
    /// SHA-256 of the adapter's content bytes: proof of which weights were used.
    public var digest: Digest

    /// A version and its proof.
    public init(name: Name, version: Int, digest: Digest) {
        self.name = name
        self.version = version
        self.digest = digest
    }
}

/// How paths are drawn.
public struct SamplingSettings: Hashable, Sendable {
    /// 0 draws the most likely token.
    public var temperature: Double
    /// 0 keeps all tokens.
    public var topK: Int
    /// 1 keeps all tokens.
    public var topP: Double
    /// Tokens of a completion at most, the end token included.
    public var maxTokens: Int

    /// The settings of one stage.
    public init(temperature: Double, topK: Int, topP: Double, maxTokens: Int) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.maxTokens = maxTokens
    }
}

/// What a worker must know to score a path by the built-in reward, and to probe the letters.
public struct RewardTask: Hashable, Sendable {
    /// Index of the right option.
    public var answerIndex: Int
    /// The options' texts, in the order of their letters.
    public var options: [String]
    /// Pay for a well-formed answer; at most 0.2.
    public var formatBonus: Double
    /// Also return the log-prob of each option letter after `<answer>`.
    public var probeChoices: Bool

    /// The task of one question.
    public init(answerIndex: Int, options: [String], formatBonus: Double, probeChoices: Bool) {
        self.answerIndex = answerIndex
        self.options = options
        self.formatBonus = formatBonus
        self.probeChoices = probeChoices
    }
}

/// One question of a rollout lease with the slots below it.
public struct QuestionWork: Hashable, Sendable {
    /// The adapter that must sample it; nil is the bare base model.
    public var adapter: AdapterReference?
    /// Tokens shared by all prompts of the question.
    public var prefixIds: [Int32]
    /// Tokens after the prefix, for each prompt.
    public var suffixIds: [[Int32]]
    /// How paths are drawn.
    public var sampling: SamplingSettings
    /// How paths are scored.
    public var reward: RewardTask
    /// The paths asked for; `guideline` indexes `suffixIds`.
    public var slots: [SlotID]

    /// A question and its open slots.
    public init(
        adapter: AdapterReference?, prefixIds: [Int32], suffixIds: [[Int32]], sampling: SamplingSettings,
        reward: RewardTask, slots: [SlotID]
    ) {
        self.adapter = adapter
        self.prefixIds = prefixIds
        self.suffixIds = suffixIds
        self.sampling = sampling
        self.reward = reward
        self.slots = slots
    }
}

/// Why a path ended.
public enum StopReason: Int32, Hashable, Sendable {
    /// The end token was drawn.
    case endToken = 0
    /// The token budget was spent.
    case budget = 1
}

/// One sampled path, with the proof of its policy.
public struct Trajectory: Hashable, Sendable {
    /// Which path.
    public var slot: SlotID
    /// Version of the adapter that sampled it; -1 for the base model.
    public var version: Int
    /// Digest of that adapter's bytes as the worker loaded them; nil for the base model.
    public var adapterDigest: Digest?
    /// Tokens through the end token where there is one.
    public var completionIds: [Int32]
    /// Log-prob of each token under the policy at the sampling temperature.
    public var logprobs: [Float]
    /// Why it ended.
    public var stop: StopReason
    /// Log-prob of each option letter after `<answer>`; empty when not asked for.
    public var choiceLogprobs: [Float]
    /// The worker's own score; the coordinator recomputes it.
    public var reward: Double

    /// A finished path.
    public init(
        slot: SlotID, version: Int, adapterDigest: Digest?, completionIds: [Int32], logprobs: [Float],
        stop: StopReason, choiceLogprobs: [Float], reward: Double
    ) {
        self.slot = slot
        self.version = version
        self.adapterDigest = adapterDigest
        self.completionIds = completionIds
        self.logprobs = logprobs
        self.stop = stop
        self.choiceLogprobs = choiceLogprobs
        self.reward = reward
    }
}
