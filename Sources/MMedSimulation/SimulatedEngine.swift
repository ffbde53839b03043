import MMedAlgorithms
import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

/// What workers and the reference copy compute, as pure functions of what they were asked: a run's result can depend on
/// nothing else.
enum SimulatedEngine {
    static let gradientBytes = 160
    private static let contentBytes = 64

    /// A path that depends on slot, adapter and prompt alone.
    static func path(_ slot: SlotID, _ work: QuestionWork, seed: UInt64) -> Trajectory {
        var key = Fold()
        for part in [slot.stage, slot.track, slot.step, slot.question, slot.guideline, slot.sample] {
            key.add(Int(part))
        }
        key.add(seed)
        key.add(Fold.AdapterVersion(digest: work.adapter?.digest, version: work.adapter?.version ?? -1))
        key.add(work.prefixIds)
        key.add(work.suffixIds[Int(slot.guideline)])
        var chance = Chance(seed: key.value)
        let count = chance.within(1...work.sampling.maxTokens)
        let ids = (0..<count).map { _ in Int32(chance.below(1_000)) }
        var path = Trajectory(
            slot: slot, version: work.adapter?.version ?? -1, adapterDigest: work.adapter?.digest, completionIds: ids,
            logprobs: (0..<count).map { _ in -Float(chance.within(1...900)) / 256 },
            stop: chance.below(5) == 0 ? .budget : .endToken,
            choiceLogprobs: work.reward.probeChoices
                ? work.reward.options.indices.map { _ in -Float(chance.within(1...900)) / 256 } : [],
            reward: 0)
        path.reward = judge(path, work.reward).total
        return path
    }

    /// The judge. A question whose first option is `tied` is always right, so that resampling has something to do.
    static func judge(_ path: Trajectory, _ task: RewardTask) -> RewardParts {
        var hash = Fold()
        hash.add(path.completionIds)
        let option =
            task.options.first == "tied" ? task.answerIndex : Int(hash.value % UInt64(task.options.count + 1))
        let strict = option < task.options.count ? option : nil
        let isRight = strict == task.answerIndex
        return RewardParts(
            strictOption: strict, lenientOption: strict ?? 0, isStrictCorrect: isRight,
            isLenientCorrect: (strict ?? 0) == task.answerIndex,
            total: (isRight ? 1 : 0) + (strict == nil ? 0 : task.formatBonus))
    }

    /// A shard's gradient: it depends on all that the learner was given but the lease. Its values differ by many powers
    /// of two, so that a sum tells the order of its parts.
    static func gradient(_ lease: GradientLease) -> [UInt8] {
        var key = Fold()
        for reference in [lease.adapter, lease.reference, lease.prox] {
            key.add(Fold.AdapterVersion(digest: reference?.digest, version: reference?.version ?? -1))
        }
        key.add(lease.temperature)
        key.add(lease.objective == .supervised ? 0 : 1)
        for microbatch in lease.microbatches {
            key.add(microbatch.count)
            for tree in microbatch { fold(tree, into: &key) }
        }
        var chance = Chance(seed: key.value)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(gradientBytes)
        for _ in 0..<(gradientBytes / 4) {
            let word = UInt32(truncatingIfNeeded: chance.word())
            // Sign and mantissa of the draw, an exponent from 2^-12 to 2^3.
            let bits = (word & 0x807F_FFFF) | (UInt32(115 + (word >> 23) % 16) << 23)
            for shift in stride(from: 0, to: 32, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(shift)))
            }
        }
        return bytes
    }

    private static func fold(_ tree: LearningTree, into key: inout Fold) {
        key.add(tree.tree.prefixIds)
        for suffix in tree.tree.suffixIds { key.add(suffix) }
        for (path, target) in zip(tree.tree.paths, tree.targets) {
            key.add(path.suffix)
            key.add(path.completionIds)
            key.add(target.weight)
            key.add(target.advantage)
            for logprob in target.rollLogprobs { key.add(Double(logprob)) }
            for logprob in target.proxLogprobs { key.add(Double(logprob)) }
        }
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

    // MARK: Updates

    static func initialContent(_ adapter: Name) -> [UInt8] { spread(stableHash(adapter.text.utf8)) }

    private static func spread(_ seed: UInt64) -> [UInt8] {
        var chance = Chance(seed: seed)
        return (0..<(contentBytes / 8)).flatMap { _ in
            let word = chance.word()
            return (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) }
        }
    }

    /// The sum in the order given.
    static func sum(_ gradients: [[UInt8]]) -> [UInt8] {
        var total = [Float](repeating: 0, count: gradientBytes / 4)
        for gradient in gradients {
            for place in total.indices { total[place] += value(gradient, place) }
        }
        return total.flatMap { value in
            (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> UInt32($0 * 8)) }
        }
    }

    private static func value(_ bytes: [UInt8], _ place: Int) -> Float {
        guard bytes.count >= 4 * place + 4 else { return .nan }
        var bits: UInt32 = 0
        for offset in (0..<4).reversed() { bits = bits << 8 | UInt32(bytes[4 * place + offset]) }
        return Float(bitPattern: bits)
    }

    static func isFinite(_ gradient: [UInt8]) -> Bool {
        (0..<(gradient.count / 4)).allSatisfy { value(gradient, $0).isFinite }
    }

    /// What an update makes of a replica.
    static func advance(
        content: [UInt8], moments: [UInt8]?, sum: [UInt8], learningRate: Double
    ) -> (content: [UInt8], moments: [UInt8]) {
        var key = Fold()
        key.add(Hashing.digest(of: content))
        key.add(moments.map { Hashing.digest(of: $0) })
        key.add(Hashing.digest(of: sum))
        key.add(learningRate)
        return (spread(key.value), spread(key.value ^ 1))
    }

    /// The first step after fresh moments has a bias correction below this.
    static let freshBelow = 0.2

    static func numbers(_ learningRate: Double, steps: Int) -> UpdateNumbers {
        UpdateNumbers(
            learningRate: learningRate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0,
            biasCorrection1: steps == 0 ? 0.1 : 1, biasCorrection2: 1, clipFactor: 1)
    }

    static func merge(_ order: MergeOrder) -> [UInt8] {
        var key = Fold()
        for input in order.inputs {
            key.add(stableHash(input.specialty.text.utf8))
            key.add(input.supervised?.digest)
            key.add(input.reinforced?.digest)
        }
        return spread(key.value)
    }
}

/// The parts of the coordinator's ports that answer at once.
struct SimulatedPorts: OptimizerPort, RewardPort {
    /// A judge cannot read tokens beyond the vocabulary.
    static let vocabulary: Int32 = 1_000
    /// A bug that is planted in the judge or the optimizer.
    var mutant: Mutant?

    func apply(_ order: UpdateOrder, gradients: [any ScratchBytes]) async throws -> AppliedUpdate {
        throw MMedError(.internalError, "the simulation performs updates by itself")
    }

    func gradientBytes(of adapter: Name) -> Int? { SimulatedEngine.gradientBytes }
    func isFinite(_ gradient: any ScratchBytes) throws -> Bool {
        try mutant == .takesInfiniteGradient || SimulatedEngine.isFinite(gradient.allBytes())
    }

    func judge(_ trajectory: Trajectory, task: RewardTask) throws -> RewardParts {
        let foreign = trajectory.completionIds.first { $0 >= SimulatedPorts.vocabulary }
        if let foreign, mutant != .takesUnreadablePath {
            throw MMedError(.badData, at: "slot \(trajectory.slot)", "token \(foreign) is not in the vocabulary")
        }
        let verdict = SimulatedEngine.judge(trajectory, task)
        switch mutant {
        case .believesReward: return verdict.paying(trajectory.reward)
        case .letsNaNRewardThrough: return trajectory.completionIds[0] % 16 == 0 ? verdict.paying(.nan) : verdict
        default: return verdict
        }
    }
}

extension RewardParts {
    /// The same verdict with another reward.
    fileprivate func paying(_ total: Double) -> RewardParts {
        RewardParts(
            strictOption: strictOption, lenientOption: lenientOption, isStrictCorrect: isStrictCorrect,
            isLenientCorrect: isLenientCorrect, total: total)
    }
}
