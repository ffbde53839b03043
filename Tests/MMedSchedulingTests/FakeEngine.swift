import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling

/// Bytes that name a value, for hashing.
struct Bytes {
    var all: [UInt8] = []

    mutating func add(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: Int64(truncatingIfNeeded: value).littleEndian) { all.append(contentsOf: $0) }
    }

    mutating func add(_ value: Double) { add(value.bitPattern) }
    mutating func add(_ text: String) {
        add(text.utf8.count)
        all.append(contentsOf: text.utf8)
    }

    mutating func add(_ ids: [Int32]) {
        add(ids.count)
        for id in ids { add(id) }
    }

    mutating func add(_ reference: AdapterReference?) {
        add(reference?.name.text ?? "none")
        add(reference?.version ?? -1)
        all.append(contentsOf: reference?.digest.bytes ?? [])
    }

    /// 32 bytes spread from a 64-bit hash.
    var digest: Digest {
        var out: [UInt8] = []
        for part in 0..<4 {
            let hash = stableHash(all + [UInt8(part)])
            for shift in stride(from: 0, to: 64, by: 8) { out.append(UInt8(truncatingIfNeeded: hash >> UInt64(shift))) }
        }
        return Digest(bytes: out)!
    }
}

/// What a worker would compute, as pure functions of what it was asked: a run's result can depend on nothing else.
enum FakeEngine {
    /// A path that depends on slot, adapter and seed alone.
    static func path(_ slot: SlotID, _ work: QuestionWork, seed: UInt64) -> Trajectory {
        var key = Bytes()
        key.add(slot.randomKey(seed: seed))
        key.add(work.adapter)
        key.add(work.prefixIds)
        key.add(work.suffixIds[Int(slot.guideline)])
        let random = CounterRandom(key: stableHash(key.all))
        let count = 1 + Int(random.block(0).0) % work.sampling.maxTokens
        let ids = (0..<count).map { Int32(random.block(UInt64($0 + 1)).0 % 1_000) }
        return Trajectory(
            slot: slot, version: work.adapter?.version ?? -1, adapterDigest: work.adapter?.digest, completionIds: ids,
            logprobs: (0..<count).map { -Float(random.uniform(UInt64($0), 1)) - 0.01 },
            stop: random.block(0, 2).0 % 5 == 0 ? .budget : .endToken,
            choiceLogprobs: work.reward.probeChoices
                ? work.reward.options.indices.map { -Float(random.uniform(UInt64($0), 3)) } : [],
            reward: 0)
    }

    /// The judge. A question whose first option is `tied` is always right, so that resampling has something to do.
    static func judge(_ path: Trajectory, _ task: RewardTask) -> RewardParts {
        var bytes = Bytes()
        bytes.add(path.completionIds)
        let hash = stableHash(bytes.all)
        let option = task.options.first == "tied" ? task.answerIndex : Int(hash % UInt64(task.options.count + 1))
        let strict = option < task.options.count ? option : nil
        let isRight = strict == task.answerIndex
        return RewardParts(
            strictOption: strict, lenientOption: strict ?? 0, isStrictCorrect: isRight,
            isLenientCorrect: (strict ?? 0) == task.answerIndex,
            total: (isRight ? 1 : 0) + (strict == nil ? 0 : task.formatBonus))
    }

    /// What stands for a shard's gradient: it depends on all that the learner was given but the lease.
    static func gradient(_ lease: GradientLease) -> Digest {
        var bytes = Bytes()
        for reference in [lease.adapter, lease.reference, lease.prox] { bytes.add(reference) }
        bytes.add(lease.temperature)
        bytes.add(lease.objective == .supervised ? 0 : 1)
        for microbatch in lease.microbatches {
            bytes.add(microbatch.count)
            for tree in microbatch {
                bytes.add(tree.tree.prefixIds)
                for suffix in tree.tree.suffixIds { bytes.add(suffix) }
                for (path, target) in zip(tree.tree.paths, tree.targets) {
                    bytes.add(path.suffix)
                    bytes.add(path.completionIds)
                    bytes.add(target.weight)
                    bytes.add(target.advantage)
                    for logprob in target.rollLogprobs + target.proxLogprobs { bytes.add(Double(logprob)) }
                }
            }
        }
        return bytes.digest
    }

    static func statistics(_ lease: GradientLease) -> ShardStatistics {
        var sum = ShardStatistics()
        for tree in lease.microbatches.joined() {
            sum.computedTokens += tree.tree.tokenCount
            sum.lossTokens += tree.tree.paths.reduce(0) { $0 + $1.completionIds.count }
        }
        sum.loss = Double(sum.lossTokens) / 1_000
        return sum
    }

    /// The reference copy's step; nil stands for a result that is not finite, which depends on the content alone.
    static func apply(_ order: UpdateOrder, gradients: [Digest], refusesOneIn: UInt64) -> UpdateResult? {
        var bytes = Bytes()
        bytes.add(order.base.reference)
        bytes.add(order.learningRate)
        bytes.add(order.base.optimizerSteps)
        bytes.all += order.base.momentsDigest?.bytes ?? []
        for gradient in gradients { bytes.all += gradient.bytes }
        if refusesOneIn > 0 && stableHash(bytes.all) % refusesOneIn == 0 { return nil }
        var moments = bytes
        moments.add("moments")
        return UpdateResult(
            head: AdapterHead(
                reference: AdapterReference(
                    name: order.base.reference.name, version: order.base.reference.version + 1, digest: bytes.digest),
                momentsDigest: moments.digest, optimizerSteps: order.base.optimizerSteps + 1),
            numbers: UpdateNumbers(
                learningRate: order.learningRate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0,
                biasCorrection1: 1, biasCorrection2: 1, clipFactor: 1),
            gradientDigest: moments.digest, gradientNorm: 0.5)
    }

    static func merge(_ order: MergeOrder) -> AdapterReference {
        var bytes = Bytes()
        for input in order.inputs {
            bytes.add(input.specialty.text)
            bytes.add(input.supervised)
            bytes.add(input.reinforced)
        }
        return AdapterReference(name: Name("merged")!, version: 0, digest: bytes.digest)
    }
}
