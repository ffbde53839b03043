import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling

/// Lies that have the shape of the truth: only who computes it again can find them. No two workers lie alike.
struct Cheat {
    /// Whose it is.
    let key: UInt64
    /// It lies about so many of a thousand, from this stage on.
    let perMille: UInt64
    let fromStage: Int32
    /// It says something else each time that it is asked.
    let isFickle: Bool

    init(of name: Name, _ chance: inout Chance) {
        key = stableHash(name.text.utf8)
        perMille = [20, 100, 400, 1_000][chance.below(4)]
        fromStage = Int32([0, 0, 1, 2, 3, 3, 4, 6][chance.below(8)])
        isFickle = chance.below(4) == 0
    }

    private func fold(_ parts: [Int32]) -> UInt64 {
        var fold = Fold()
        fold.add(key)
        fold.add(parts)
        return fold.value
    }

    /// Which lie, if any: the subject decides, so that it is told again in the same way.
    func lie(about slot: SlotID) -> UInt64? {
        let word = fold([slot.stage, slot.track, slot.step, slot.question, slot.guideline, slot.sample])
        return slot.stage >= fromStage && word % 1_000 < perMille ? word : nil
    }

    /// The same for a gradient.
    func lie(about shard: ShardID) -> UInt64? {
        let word = fold([shard.stage, shard.track, shard.step, shard.update, shard.shard])
        return shard.stage >= fromStage && word % 1_000 < perMille ? word : nil
    }
}

extension SimulatedWorker {
    /// A path as the worker tells of it.
    func lied(_ truth: Trajectory, _ task: RewardTask) -> Trajectory {
        guard let cheat, var word = cheat.lie(about: truth.slot) else { return truth }
        if cheat.isFickle { word ^= chance.word() }
        var path = truth
        let place = Int(word >> 40) % path.completionIds.count
        let step = 1 + Int32((word >> 50) % 500)
        switch (word >> 10) % 3 {
        case 0:
            lies.append(.lieToken)
            path.completionIds[place] = (path.completionIds[place] + step) % SimulatedPorts.vocabulary
            path.reward = SimulatedEngine.judge(path, task).total
        case 1 where !path.choiceLogprobs.isEmpty:
            lies.append(.lieLetter)
            path.choiceLogprobs[0] -= Float(step) / 256
        default:
            lies.append(.lieLogprob)
            path.logprobs[place] -= Float(step) / 256
        }
        return path
    }

    /// A gradient as the worker tells of it, with a digest that fits.
    func lied(_ truth: [UInt8], _ shard: ShardID) -> [UInt8] {
        guard let cheat, var word = cheat.lie(about: shard) else { return truth }
        if cheat.isFickle { word ^= chance.word() }
        lies.append(.lieGradient)
        var bytes = truth
        // The mantissa of one number.
        let place = 4 * (Int(word >> 40) % (bytes.count / 4))
        bytes[place] ^= 1 | UInt8(truncatingIfNeeded: word >> 20)
        return bytes
    }
}

/// What spot checks draw, told apart from the coordinator: by the slot, the seed and the salt.
struct SpotDraw {
    private let random: CounterRandom
    private let seed: UInt64
    let fraction: Double

    init(_ plan: RunPlan) {
        random = CounterRandom(key: plan.settings.spotSalt)
        (seed, fraction) = (plan.seed, plan.settings.spotCheck)
    }

    func takes(_ slot: SlotID) -> Bool { fraction > 0 && random.uniform(slot.randomKey(seed: seed), 1) < fraction }

    func takes(_ shard: ShardID) -> Bool {
        let slot = SlotID(
            stage: shard.stage, track: shard.track, step: shard.step, question: shard.update, guideline: shard.shard,
            sample: 0)
        return fraction > 0 && random.uniform(slot.randomKey(seed: seed), 2) < fraction
    }
}
