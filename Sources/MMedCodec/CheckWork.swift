import MMedAlgorithms
import MMedCore
import MMedProtocol

/// The meaning of every field, checked by the sender before it writes and by the receiver after it read.
enum Check {
    static func range(_ value: Int, _ range: ClosedRange<Int>, _ field: String) throws(CodecError) {
        try require(range.contains(value), "\(field): \(value) is not in \(range.lowerBound)...\(range.upperBound)")
    }

    static func finite(_ value: Double, _ field: String) throws(CodecError) {
        try require(value.isFinite, "\(field): \(value) is not finite")
    }

    static func notNegative(_ value: Double, _ field: String) throws(CodecError) {
        try require(value.isFinite && value >= 0, "\(field): \(value) is not a finite number of at least 0")
    }

    static func finite(_ values: [Float], _ field: String) throws(CodecError) {
        for value in values { try require(value.isFinite, "\(field): \(value) is not finite") }
    }

    static func logprobs(_ values: [Float], _ field: String) throws(CodecError) {
        let highest = Limits.logprobExcess
        // All at once and by their bits, so that the compiler takes many in one instruction: nearly always none is wrong. The
        // bits of numbers from 0 on are in the order of the numbers, and those of all others are below zero.
        var (largest, magnitude) = (Int32.min, UInt32(0))
        for value in values {
            largest = max(largest, Int32(bitPattern: value.bitPattern))
            magnitude = max(magnitude, value.bitPattern & 0x7FFF_FFFF)
        }
        let isWrong = largest > Int32(bitPattern: highest.bitPattern) || magnitude >= Float.infinity.bitPattern
        guard isWrong, let value = values.first(where: { !$0.isFinite || $0 > highest }) else { return }
        throw .malformed(reason: "\(field): \(value) is not the log of a probability")
    }

    static func tokens(_ ids: [Int32], _ field: String) throws(CodecError) {
        try require(ids.count <= Limits.sequenceTokens, "\(field): \(ids.count) tokens are above the limit")
        let end = UInt32(Limits.vocabulary)
        // As above; below zero is far above the vocabulary.
        var highest: UInt32 = 0
        for id in ids { highest = max(highest, UInt32(bitPattern: id)) }
        guard highest >= end, let id = ids.first(where: { UInt32(bitPattern: $0) >= end }) else { return }
        throw .malformed(reason: "\(field): \(id) is no token id")
    }

    static func indices(_ values: [Int32], _ field: String) throws(CodecError) {
        for value in values {
            try require(value >= 0 && value < Limits.index, "\(field): the index \(value) is out of range")
        }
    }

    static func slot(_ slot: SlotID) throws(CodecError) {
        try indices([slot.stage, slot.track, slot.step, slot.question, slot.guideline, slot.sample], "slot")
    }

    static func shard(_ shard: ShardID) throws(CodecError) {
        try indices([shard.stage, shard.track, shard.step, shard.update, shard.shard], "shard")
    }

    static func reference(_ adapter: AdapterReference, _ field: String) throws(CodecError) {
        try range(adapter.version, 0...(Limits.version - 1), "\(field).version")
    }

    static func adapter(_ adapter: AdapterDescription) throws(CodecError) {
        try range(adapter.settings.rank, 1...Limits.rank, "rank")
        try require(
            adapter.settings.alpha.isFinite && adapter.settings.alpha > 0,
            "alpha: \(adapter.settings.alpha) is not above 0")
        try require(!adapter.settings.targets.isEmpty, "targets: no projection is adapted")
    }

    static func prompts(prefix: [Int32], suffixes: [[Int32]]) throws(CodecError) {
        try tokens(prefix, "prefixIds")
        try range(suffixes.count, 1...Limits.suffixesPerQuestion, "suffixIds")
        for suffix in suffixes {
            try tokens(suffix, "suffixIds")
            try require(!(prefix.isEmpty && suffix.isEmpty), "a prompt has no tokens")
        }
    }

    static func question(_ question: QuestionWork) throws(CodecError) {
        if let adapter = question.adapter { try reference(adapter, "adapter") }
        try prompts(prefix: question.prefixIds, suffixes: question.suffixIds)
        let sampling = question.sampling
        try notNegative(sampling.temperature, "temperature")
        try range(sampling.topK, 0...Int(Limits.vocabulary), "topK")
        try require(sampling.topP > 0 && sampling.topP <= 1, "topP: \(sampling.topP) is not in (0, 1]")
        try range(sampling.maxTokens, 1...Limits.sequenceTokens, "maxTokens")
        let task = question.reward
        try range(task.options.count, 1...Limits.options, "options")
        for option in task.options { try range(option.utf8.count, 0...Limits.optionBytes, "options") }
        try range(task.answerIndex, 0...(task.options.count - 1), "answerIndex")
        try require(
            task.formatBonus >= 0 && task.formatBonus <= Limits.formatBonus,
            "formatBonus: \(task.formatBonus) is not in 0...\(Limits.formatBonus)")
        try range(question.slots.count, 1...Limits.paths, "slots")
        for slot in question.slots {
            try self.slot(slot)
            try range(Int(slot.guideline), 0...(question.suffixIds.count - 1), "slot.guideline")
        }
    }

    static func trajectory(_ path: Trajectory) throws(CodecError) {
        try slot(path.slot)
        try range(path.version, -1...(Limits.version - 1), "version")
        try require((path.version == -1) == (path.adapterDigest == nil), "version and adapterDigest contradict")
        try require(!path.completionIds.isEmpty, "completionIds: a path has no token")
        try tokens(path.completionIds, "completionIds")
        try require(
            path.logprobs.count == path.completionIds.count,
            "\(path.logprobs.count) logprobs for \(path.completionIds.count) tokens")
        try logprobs(path.logprobs, "logprobs")
        try range(path.choiceLogprobs.count, 0...Limits.options, "choiceLogprobs")
        try logprobs(path.choiceLogprobs, "choiceLogprobs")
        try finite(path.reward, "reward")
    }

    static func tree(_ learning: LearningTree) throws(CodecError) {
        let tree = learning.tree
        try prompts(prefix: tree.prefixIds, suffixes: tree.suffixIds)
        try range(tree.paths.count, 1...Limits.paths, "paths")
        try require(
            learning.targets.count == tree.paths.count,
            "\(learning.targets.count) targets for \(tree.paths.count) paths")
        for (path, target) in zip(tree.paths, learning.targets) {
            try range(path.suffix, 0...(tree.suffixIds.count - 1), "suffix")
            try require(!path.completionIds.isEmpty, "completionIds: a path has no token")
            try tokens(path.completionIds, "completionIds")
            try finite(target.weight, "weight")
            try finite(target.advantage, "advantage")
            for (values, field) in [(target.rollLogprobs, "rollLogprobs"), (target.proxLogprobs, "proxLogprobs")] {
                let count = path.completionIds.count
                try require(values.isEmpty || values.count == count, "\(values.count) \(field) for \(count) tokens")
                try logprobs(values, field)
            }
        }
    }

    static func statistics(_ statistics: ShardStatistics) throws(CodecError) {
        try finite(statistics.loss, "loss")
        try finite(statistics.klSum, "klSum")
        try notNegative(statistics.logprobGapMax, "logprobGapMax")
        try range(statistics.computedTokens, 0...Limits.shardFigure, "computedTokens")
        try range(statistics.lossTokens, 0...Limits.shardFigure, "lossTokens")
        try range(statistics.clippedTokens, 0...Limits.shardFigure, "clippedTokens")
        try range(statistics.computeMilliseconds, 0...Limits.shardFigure, "computeMilliseconds")
    }
}
