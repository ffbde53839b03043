import CWire
import MMedAlgorithms
import MMedCore
import MMedProtocol

extension WireWriter {
    typealias Pointer<T> = UnsafeMutablePointer<T>

    func reference(_ value: AdapterReference) throws(CodecError) -> Pointer<Mmed__AdapterReference> {
        let made = try make(mmed__adapter_reference__init)
        made.pointee.name = try name(value.name)
        made.pointee.version = Int64(value.version)
        made.pointee.digest = try digest(value.digest)
        return made
    }

    func reference(_ value: AdapterReference?) throws(CodecError) -> Pointer<Mmed__AdapterReference>? {
        guard let value else { return nil }
        return try reference(value)
    }

    func sampling(_ value: SamplingSettings) throws(CodecError) -> Pointer<Mmed__Sampling> {
        let made = try make(mmed__sampling__init)
        made.pointee.temperature = value.temperature
        made.pointee.top_k = UInt32(value.topK)
        made.pointee.top_p = value.topP
        made.pointee.max_tokens = UInt32(value.maxTokens)
        return made
    }

    func reward(_ value: RewardTask) throws(CodecError) -> Pointer<Mmed__RewardTask> {
        let made = try make(mmed__reward_task__init)
        made.pointee.answer_index = UInt32(value.answerIndex)
        var options: [[UInt8]] = []
        for option in value.options { options.append(Array(option.utf8)) }
        (made.pointee.options, made.pointee.n_options) = try byteList(options)
        made.pointee.format_bonus = value.formatBonus
        made.pointee.probe_choices = value.probeChoices ? 1 : 0
        return made
    }

    func question(_ value: QuestionWork) throws(CodecError) -> Pointer<Mmed__QuestionWork> {
        let made = try make(mmed__question_work__init)
        made.pointee.adapter = try reference(value.adapter)
        made.pointee.prefix_ids = try words(value.prefixIds)
        (made.pointee.suffix_ids, made.pointee.n_suffix_ids) = try wordLists(value.suffixIds)
        made.pointee.sampling = try sampling(value.sampling)
        made.pointee.reward = try reward(value.reward)
        made.pointee.slots = try slots(value.slots)
        return made
    }

    func trajectory(_ value: Trajectory) throws(CodecError) -> Pointer<Mmed__Trajectory> {
        let made = try make(mmed__trajectory__init)
        made.pointee.slot = try slots([value.slot])
        made.pointee.version = Int64(value.version)
        if let digest = value.adapterDigest { made.pointee.adapter_digest = try self.digest(digest) }
        made.pointee.completion_ids = try words(value.completionIds)
        made.pointee.logprobs = try floats(value.logprobs)
        made.pointee.stop = UInt32(bitPattern: value.stop.rawValue)
        made.pointee.choice_logprobs = try floats(value.choiceLogprobs)
        made.pointee.reward = value.reward
        return made
    }

    func policy(_ value: LossSettings) throws(CodecError) -> Pointer<Mmed__PolicyLoss> {
        let made = try make(mmed__policy_loss__init)
        made.pointee.target = value.target.wireCode
        made.pointee.stripped_weights = value.strippedWeights.wireCode
        made.pointee.importance = value.importance.wireCode
        made.pointee.aggregation = value.aggregation.wireCode
        made.pointee.prox = value.prox.wireCode
        made.pointee.updates_per_step = UInt32(value.updatesPerStep)
        if let clip = value.clip {
            made.pointee.has_clip = 1
            made.pointee.clip_low = clip.low
            made.pointee.clip_high = clip.high
        }
        made.pointee.kl_coefficient = value.klCoefficient
        made.pointee.kl_estimator = value.klEstimator.wireCode
        made.pointee.truncation = value.truncation
        made.pointee.mask_truncated = value.maskTruncated ? 1 : 0
        return made
    }

    func path(_ path: TreePath, _ target: PathTarget) throws(CodecError) -> Pointer<Mmed__LearningPath> {
        let made = try make(mmed__learning_path__init)
        made.pointee.suffix = UInt32(path.suffix)
        made.pointee.completion_ids = try words(path.completionIds)
        made.pointee.weight = target.weight
        made.pointee.advantage = target.advantage
        made.pointee.roll_logprobs = try floats(target.rollLogprobs)
        made.pointee.prox_logprobs = try floats(target.proxLogprobs)
        made.pointee.counts = target.counts ? 1 : 0
        return made
    }

    func tree(_ value: LearningTree) throws(CodecError) -> Pointer<Mmed__LearningTree> {
        let made = try make(mmed__learning_tree__init)
        made.pointee.prefix_ids = try words(value.tree.prefixIds)
        (made.pointee.suffix_ids, made.pointee.n_suffix_ids) = try wordLists(value.tree.suffixIds)
        var paths: [Pointer<Mmed__LearningPath>] = []
        for (path, target) in zip(value.tree.paths, value.targets) { paths.append(try self.path(path, target)) }
        (made.pointee.paths, made.pointee.n_paths) = try list(paths)
        return made
    }

    func microbatch(_ trees: [LearningTree]) throws(CodecError) -> Pointer<Mmed__Microbatch> {
        let made = try make(mmed__microbatch__init)
        var written: [Pointer<Mmed__LearningTree>] = []
        for tree in trees { written.append(try self.tree(tree)) }
        (made.pointee.trees, made.pointee.n_trees) = try list(written)
        return made
    }

    func statistics(_ value: ShardStatistics) throws(CodecError) -> Pointer<Mmed__ShardStatistics> {
        let made = try make(mmed__shard_statistics__init)
        made.pointee.loss = value.loss
        made.pointee.computed_tokens = UInt64(value.computedTokens)
        made.pointee.loss_tokens = UInt64(value.lossTokens)
        made.pointee.clipped_tokens = UInt64(value.clippedTokens)
        made.pointee.kl_sum = value.klSum
        made.pointee.logprob_gap_max = value.logprobGapMax
        made.pointee.compute_milliseconds = UInt64(value.computeMilliseconds)
        return made
    }

    func adapter(_ value: AdapterDescription) throws(CodecError) -> Pointer<Mmed__AdapterDescription> {
        let made = try make(mmed__adapter_description__init)
        made.pointee.name = try name(value.name)
        made.pointee.rank = UInt32(value.settings.rank)
        made.pointee.alpha = value.settings.alpha
        made.pointee.rank_stabilised = value.settings.rankStabilised ? 1 : 0
        for target in value.settings.targets { made.pointee.targets |= 1 << UInt32(target.index) }
        return made
    }

    /// A repeated field of messages.
    func list<T>(
        _ messages: [Pointer<T>]
    ) throws(CodecError) -> (base: UnsafeMutablePointer<UnsafeMutablePointer<T>?>?, count: Int) {
        let base = try array(of: UnsafeMutablePointer<T>?.self, count: messages.count)
        for (index, message) in messages.enumerated() { base?[index] = message }
        return (base, messages.count)
    }

    /// A repeated field of byte strings.
    func byteList(
        _ strings: [[UInt8]]
    ) throws(CodecError) -> (base: UnsafeMutablePointer<ProtobufCBinaryData>?, count: Int) {
        let base = try array(of: ProtobufCBinaryData.self, count: strings.count)
        for (index, string) in strings.enumerated() { base?[index] = try bytes(string) }
        return (base, strings.count)
    }

    /// A repeated field of token lists.
    func wordLists(
        _ lists: [[Int32]]
    ) throws(CodecError) -> (base: UnsafeMutablePointer<ProtobufCBinaryData>?, count: Int) {
        let base = try array(of: ProtobufCBinaryData.self, count: lists.count)
        for (index, list) in lists.enumerated() { base?[index] = try words(list) }
        return (base, lists.count)
    }
}
