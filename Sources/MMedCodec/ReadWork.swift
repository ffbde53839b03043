import CWire
import MMedAlgorithms
import MMedCore
import MMedProtocol

extension Field {
    static func reference(
        _ message: UnsafeMutablePointer<Mmed__AdapterReference>?, _ field: String
    ) throws(CodecError) -> AdapterReference {
        let read = try present(message, field)
        return AdapterReference(
            name: try name(read.name, "\(field).name"), version: try count(read.version, "\(field).version"),
            digest: try digest(read.digest, "\(field).digest"))
    }

    static func optionalReference(
        _ message: UnsafeMutablePointer<Mmed__AdapterReference>?, _ field: String
    ) throws(CodecError) -> AdapterReference? {
        message == nil ? nil : try reference(message, field)
    }

    static func tokenLists(
        _ base: UnsafeMutablePointer<ProtobufCBinaryData>?, _ count: Int
    ) throws(CodecError) -> [[Int32]] {
        var lists: [[Int32]] = []
        for data in try list(base, count, limit: Limits.suffixesPerQuestion, "suffixIds") {
            lists.append(try words(data, "suffixIds"))
        }
        return lists
    }

    static func sampling(_ message: UnsafeMutablePointer<Mmed__Sampling>?) throws(CodecError) -> SamplingSettings {
        let read = try present(message, "sampling")
        return SamplingSettings(
            temperature: read.temperature, topK: try count(read.top_k, "topK"), topP: read.top_p,
            maxTokens: try count(read.max_tokens, "maxTokens"))
    }

    static func reward(_ message: UnsafeMutablePointer<Mmed__RewardTask>?) throws(CodecError) -> RewardTask {
        let read = try present(message, "reward")
        var options: [String] = []
        for data in try list(read.options, read.n_options, limit: Limits.options, "options") {
            options.append(try text(data, limit: Limits.optionBytes, "options"))
        }
        return RewardTask(
            answerIndex: try count(read.answer_index, "answerIndex"), options: options,
            formatBonus: read.format_bonus, probeChoices: read.probe_choices != 0)
    }

    static func question(_ read: Mmed__QuestionWork) throws(CodecError) -> QuestionWork {
        QuestionWork(
            adapter: try optionalReference(read.adapter, "adapter"), prefixIds: try words(read.prefix_ids, "prefixIds"),
            suffixIds: try tokenLists(read.suffix_ids, read.n_suffix_ids), sampling: try sampling(read.sampling),
            reward: try reward(read.reward), slots: try slots(read.slots, "slots"))
    }

    static func trajectory(_ read: Mmed__Trajectory) throws(CodecError) -> Trajectory {
        let slot = try slots(read.slot, "slot")
        try require(slot.count == 1, "slot: \(slot.count) slots are not one")
        guard let raw = Int32(exactly: read.stop), let stop = StopReason(rawValue: raw) else {
            throw .malformed(reason: "stop: \(read.stop) is no choice")
        }
        return Trajectory(
            slot: slot[0], version: try count(read.version, "version"),
            adapterDigest: read.adapter_digest.len == 0 ? nil : try digest(read.adapter_digest, "adapterDigest"),
            completionIds: try words(read.completion_ids, "completionIds"),
            logprobs: try floats(read.logprobs, "logprobs"), stop: stop,
            choiceLogprobs: try floats(read.choice_logprobs, "choiceLogprobs"), reward: read.reward)
    }

    static func objective(_ message: UnsafeMutablePointer<Mmed__PolicyLoss>?) throws(CodecError) -> Objective {
        guard let read = message?.pointee else { return .supervised }
        return .policy(
            LossSettings(
                target: try .read(read.target, "target"),
                strippedWeights: try .read(read.stripped_weights, "strippedWeights"),
                importance: try .read(read.importance, "importance"),
                aggregation: try .read(read.aggregation, "aggregation"), prox: try .read(read.prox, "prox"),
                updatesPerStep: try count(read.updates_per_step, "updatesPerStep"),
                clip: read.has_clip == 0 ? nil : ClipRange(low: read.clip_low, high: read.clip_high),
                klCoefficient: read.kl_coefficient, klEstimator: try .read(read.kl_estimator, "klEstimator"),
                truncation: read.truncation, maskTruncated: read.mask_truncated != 0))
    }

    static func tree(_ read: Mmed__LearningTree) throws(CodecError) -> LearningTree {
        var paths: [TreePath] = []
        var targets: [PathTarget] = []
        for path in try list(read.paths, read.n_paths, limit: Limits.paths, "paths") {
            paths.append(
                TreePath(
                    suffix: try count(path.suffix, "suffix"),
                    completionIds: try words(path.completion_ids, "completionIds")))
            targets.append(
                PathTarget(
                    weight: path.weight, advantage: path.advantage,
                    rollLogprobs: try floats(path.roll_logprobs, "rollLogprobs"),
                    proxLogprobs: try floats(path.prox_logprobs, "proxLogprobs"), counts: path.counts != 0))
        }
        let suffixes = try tokenLists(read.suffix_ids, read.n_suffix_ids)
        let tree = PromptTree(prefixIds: try words(read.prefix_ids, "prefixIds"), suffixIds: suffixes, paths: paths)
        return LearningTree(tree: tree, targets: targets)
    }

    static func microbatch(_ read: Mmed__Microbatch) throws(CodecError) -> [LearningTree] {
        var trees: [LearningTree] = []
        for tree in try list(read.trees, read.n_trees, limit: Limits.treesPerMicrobatch, "trees") {
            trees.append(try self.tree(tree))
        }
        return trees
    }

    static func statistics(
        _ message: UnsafeMutablePointer<Mmed__ShardStatistics>?
    ) throws(CodecError) -> ShardStatistics {
        let read = try present(message, "statistics")
        var statistics = ShardStatistics()
        statistics.loss = read.loss
        statistics.computedTokens = try count(read.computed_tokens, "computedTokens")
        statistics.lossTokens = try count(read.loss_tokens, "lossTokens")
        statistics.clippedTokens = try count(read.clipped_tokens, "clippedTokens")
        statistics.klSum = read.kl_sum
        statistics.logprobGapMax = read.logprob_gap_max
        statistics.computeMilliseconds = try count(read.compute_milliseconds, "computeMilliseconds")
        return statistics
    }

    static func adapter(_ read: Mmed__AdapterDescription) throws(CodecError) -> AdapterDescription {
        try require(read.targets >> 7 == 0, "targets: \(read.targets) names an eighth projection")
        let targets = Projection.allCases.filter { read.targets >> UInt32($0.index) & 1 == 1 }
        let settings = AdapterSettings(
            rank: try count(read.rank, "rank"), alpha: read.alpha, rankStabilised: read.rank_stabilised != 0,
            targets: targets)
        return AdapterDescription(name: try name(read.name, "adapter.name"), settings: settings)
    }
}
