import MMedAlgorithms
import MMedCore
import MMedProtocol

extension Check {
    static func message(_ message: WorkerMessage) throws(CodecError) {
        switch message {
        case .hello(let hello):
            try range(hello.threads, 1...Limits.threads, "threads")
            try range(hello.adapters.count, 0...Limits.adapters, "adapters")
        case .ready(let credits): try range(credits, 0...Limits.credits, "credits")
        case .trajectories(_, let trajectories):
            try range(trajectories.count, 0...Limits.paths, "trajectories")
            for trajectory in trajectories { try self.trajectory(trajectory) }
        case .gradientChunk(let chunk):
            try shard(chunk.shard)
            try piece(
                chunk.bytes.count, offset: chunk.offset, total: chunk.totalBytes, limit: Limits.gradientChunkBytes)
            try require(
                chunk.bytes.count % 4 == 0 && chunk.offset % 4 == 0 && chunk.totalBytes % 4 == 0,
                "a gradient chunk holds no whole fp32 numbers")
            try statistics(chunk.statistics)
        case .updateApplied(let adapter): try reference(adapter, "adapter")
        case .canary(let canary):
            if let adapter = canary.adapter { try reference(adapter, "adapter") }
            try require(canary.logprob.isFinite, "logprob: \(canary.logprob) is not finite")
        case .blobRequest(_, let offset): try range(offset, 0...(Limits.blobBytes - 1), "offset")
        case .beat(let beat): try range(beat.leases.count, 0...Limits.leasesPerBeat, "leases")
        case .leaseFailed, .goodbye: return
        }
    }

    static func message(_ message: CoordinatorMessage) throws(CodecError) {
        switch message {
        case .welcome(let welcome):
            try range(welcome.beatMilliseconds, Limits.beatMilliseconds, "beatMilliseconds")
            try range(welcome.adapters.count, 0...Limits.adapters, "adapters")
            for adapter in welcome.adapters { try self.adapter(adapter) }
            try require(Set(welcome.adapters.map(\.name)).count == welcome.adapters.count, "adapters: a name twice")
            try range(welcome.canaryIds.count, 0...Limits.canaryTokens, "canaryIds")
            try tokens(welcome.canaryIds, "canaryIds")
        case .rollout(let lease): try rollout(lease)
        case .gradient(let lease): try gradient(lease)
        case .trajectoriesRecorded(_, let slots):
            try range(slots.count, 0...Limits.paths, "slots")
            for slot in slots { try self.slot(slot) }
        case .gradientReceived(_, let bytes): try range(bytes, 0...Limits.blobBytes, "bytes")
        case .update(let update): try self.update(update)
        case .blobChunk(_, let offset, let totalBytes, let bytes):
            try piece(bytes.count, offset: offset, total: totalBytes, limit: Limits.blobChunkBytes)
        case .refused, .introduceYourself, .leaseRevoked, .blobMissing, .drain, .end: return
        }
    }

    /// A piece of something larger lies within it and is not empty.
    private static func piece(_ count: Int, offset: Int, total: Int, limit: Int) throws(CodecError) {
        try range(count, 1...limit, "bytes")
        try range(total, 1...Limits.blobBytes, "totalBytes")
        try range(offset, 0...(Limits.blobBytes - 1), "offset")
        try require(offset + count <= total, "offset \(offset) and \(count) bytes pass the end at \(total)")
    }

    private static func rollout(_ lease: RolloutLease) throws(CodecError) {
        try range(lease.durationMilliseconds, Limits.leaseMilliseconds, "durationMilliseconds")
        try range(lease.questions.count, 1...Limits.questionsPerLease, "questions")
        var slots = 0
        for question in lease.questions {
            try self.question(question)
            slots += question.slots.count
        }
        try range(slots, 1...Limits.paths, "slots")
    }

    private static func gradient(_ lease: GradientLease) throws(CodecError) {
        try range(lease.durationMilliseconds, Limits.leaseMilliseconds, "durationMilliseconds")
        try shard(lease.shard)
        try reference(lease.adapter, "adapter")
        if let frozen = lease.reference { try reference(frozen, "reference") }
        if let start = lease.prox { try reference(start, "prox") }
        if case .policy(let settings) = lease.objective {
            do { try settings.validate() } catch { throw .malformed(reason: error.description) }
        }
        try require(
            lease.temperature.isFinite && lease.temperature > 0, "temperature: \(lease.temperature) is not above 0")
        try range(lease.microbatches.count, 1...Limits.microbatches, "microbatches")
        for microbatch in lease.microbatches {
            try range(microbatch.count, 1...Limits.treesPerMicrobatch, "trees")
            for tree in microbatch { try self.tree(tree) }
        }
    }

    private static func update(_ update: UpdateAnnouncement) throws(CodecError) {
        try reference(update.base, "base")
        try reference(update.result, "result")
        try require(
            update.base.name == update.result.name && update.base.version < update.result.version,
            "an update leads from \(update.base.name) \(update.base.version) to \(update.result.version)")
        let numbers = update.numbers
        try notNegative(numbers.learningRate, "learningRate")
        try require(numbers.beta1 >= 0 && numbers.beta1 < 1, "beta1: \(numbers.beta1) is not in [0, 1)")
        try require(numbers.beta2 >= 0 && numbers.beta2 < 1, "beta2: \(numbers.beta2) is not in [0, 1)")
        try notNegative(numbers.epsilon, "epsilon")
        try notNegative(numbers.weightDecay, "weightDecay")
        try require(
            numbers.biasCorrection1 > 0 && numbers.biasCorrection1 <= 1, "biasCorrection1 is not in (0, 1]")
        try require(
            numbers.biasCorrection2 > 0 && numbers.biasCorrection2 <= 1, "biasCorrection2 is not in (0, 1]")
        try notNegative(numbers.clipFactor, "clipFactor")
    }
}
