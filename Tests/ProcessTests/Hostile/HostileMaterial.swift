import MMedCore
import MMedProtocol

/// What an adversary has learned from leases that it asked for and gave back: true slots, shards, digests and fences.
struct HostileMaterial {
    private(set) var slots: [SlotID] = []
    private(set) var shards: [ShardID] = []
    private(set) var adapters: [AdapterReference] = []
    /// Of leases that it does not hold any more.
    private(set) var fences: [UInt64] = []
    /// Of those that it may hold: what it brings under one of these is not refused for its lease.
    private var held: [UInt64] = []

    func mayHold(_ fence: UInt64) -> Bool { held.contains(fence) }

    /// It has left, and holds nothing.
    mutating func release() {
        for fence in held { remember(fence, in: &fences) }
        held = []
    }

    mutating func take(_ lease: RolloutLease) {
        held.append(lease.lease.fence)
        for question in lease.questions {
            if let adapter = question.adapter { remember(adapter, in: &adapters) }
            for slot in question.slots { remember(slot, in: &slots) }
        }
    }

    mutating func take(_ lease: GradientLease) {
        held.append(lease.lease.fence)
        remember(lease.adapter, in: &adapters)
        remember(lease.shard, in: &shards)
    }

    private func remember<Value: Equatable>(_ value: Value, in values: inout [Value]) {
        if values.last == value { return }
        if values.count == 64 { values.removeFirst() }
        values.append(value)
    }
}

/// Messages of a worker that lies, as values.
struct HostileWords {
    var random: ChaosRandom
    var material = HostileMaterial()
    /// Fences of the first epoch begin here.
    private static let firstEpoch: UInt64 = 1 << LeaseID.grantBits

    init(seed: UInt64) { random = ChaosRandom(seed) }

    // MARK: Names of things

    mutating func digest() -> Digest {
        let words = (0..<4).map { _ in random.next() }
        let bytes = words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) } }
        return Digest(bytes: bytes).unsafelyUnwrapped
    }

    mutating func anyIndex() -> Int32 { Int32(random.below(Int(Limits.index))) }

    mutating func anySlot() -> SlotID {
        SlotID(
            stage: anyIndex(), track: anyIndex(), step: anyIndex(), question: anyIndex(), guideline: anyIndex(),
            sample: anyIndex())
    }

    /// One that the run has, or may have soon.
    mutating func realSlot() -> SlotID {
        if !material.slots.isEmpty, random.below(4) > 0 { return random.pick(material.slots) }
        return SlotID(
            stage: Int32(random.below(6)), track: Int32(random.below(2)), step: Int32(random.below(6)),
            question: Int32(random.below(4)), guideline: Int32(random.below(2)), sample: Int32(random.below(4)))
    }

    mutating func realShard() -> ShardID {
        if !material.shards.isEmpty, random.below(2) > 0 { return random.pick(material.shards) }
        return ShardID(
            stage: Int32(random.below(6)), track: Int32(random.below(2)), step: Int32(random.below(12)), update: 0,
            shard: Int32(random.below(4)))
    }

    mutating func anyShard() -> ShardID {
        ShardID(stage: anyIndex(), track: anyIndex(), step: anyIndex(), update: anyIndex(), shard: anyIndex())
    }

    /// Whatever number the sender likes.
    mutating func anyLease() -> LeaseID { LeaseID(fence: random.next()) }

    /// Near the newest one that it has seen, so that others hold many of them now.
    mutating func neighbour() -> LeaseID {
        let newest = material.fences.last ?? HostileWords.firstEpoch
        let fence = newest &+ UInt64(1 + random.below(64))
        return LeaseID(fence: material.mayHold(fence) ? newest : fence)
    }

    /// A lease of its own that it gave back, or a fence of no epoch that ever was.
    mutating func staleLease() -> LeaseID {
        if !material.fences.isEmpty, random.below(4) > 0 { return LeaseID(fence: random.pick(material.fences)) }
        return LeaseID(fence: HostileWords.firstEpoch &- UInt64(1 + random.below(1_000)))
    }

    // MARK: Messages

    mutating func path(_ slot: SlotID, isOld: Bool = false) -> Trajectory {
        let adapter = isOld ? material.adapters.first : material.adapters.last
        let count = 1 + random.below(24)
        return Trajectory(
            slot: slot, version: adapter?.version ?? -1, adapterDigest: adapter?.digest,
            completionIds: (0..<count).map { _ in Int32(random.below(256)) },
            logprobs: (0..<count).map { _ in -Float(random.unit()) }, stop: .budget, choiceLogprobs: [], reward: 1)
    }

    mutating func paths(_ lease: LeaseID, _ slots: [SlotID], isOld: Bool = false) -> WorkerMessage {
        .trajectories(lease, slots.map { path($0, isOld: isOld) })
    }

    mutating func chunk(_ lease: LeaseID, _ shard: ShardID) -> WorkerMessage {
        let bytes = (0..<(4 * (1 + random.below(64)))).map { _ in UInt8(random.below(64)) }
        return .gradientChunk(
            GradientChunk(
                lease: lease, shard: shard, offset: 0, totalBytes: random.below(2) == 0 ? bytes.count : 1 << 20,
                digest: digest(), bytes: bytes, statistics: ShardStatistics()))
    }

    mutating func claimedReplica() -> WorkerMessage {
        let known = material.adapters.last
        let name = known?.name ?? Name("pediatrics").unsafelyUnwrapped
        return .updateApplied(AdapterReference(name: name, version: known?.version ?? 1, digest: digest()))
    }

    /// Work of the role, under a lease of the caller's choice.
    mutating func work(_ role: WorkerRole, _ lease: LeaseID, isReal: Bool, isOld: Bool = false) -> WorkerMessage {
        switch role {
        case .rollout:
            let slots = (0...random.below(4)).map { _ in isReal ? realSlot() : anySlot() }
            return paths(lease, slots, isOld: isOld)
        case .learner: return chunk(lease, isReal ? realShard() : anyShard())
        }
    }

    mutating func forged(_ role: WorkerRole) -> WorkerMessage {
        switch random.below(8) {
        case 0: return .leaseFailed(anyLease(), reason: "no")
        case 1:
            let leases = (0..<random.below(100)).map { _ in anyLease() }
            return .beat(Beat(phase: .sampling, progress: random.next() >> 1, leases: leases))
        case 2: return .blobRequest(digest(), offset: random.below(1 << 30))
        case 3: return .canary(CanaryReport(adapter: nil, logprob: -1_000 * random.unit()))
        case 4 where role == .learner: return claimedReplica()
        default: return work(role, anyLease(), isReal: false)
        }
    }

    mutating func wrongLease(_ role: WorkerRole) -> WorkerMessage {
        switch random.below(6) {
        case 0: .leaseFailed(neighbour(), reason: "I say so")
        case 1: .beat(Beat(phase: .sampling, progress: random.next() >> 1, leases: (0..<8).map { _ in neighbour() }))
        default: work(role, neighbour(), isReal: true)
        }
    }

    mutating func stale(_ role: WorkerRole) -> WorkerMessage {
        work(role, staleLease(), isReal: true, isOld: random.below(2) == 0)
    }

    mutating func wrongRole(_ role: WorkerRole) -> WorkerMessage {
        switch role {
        case .rollout: random.below(3) == 0 ? claimedReplica() : chunk(neighbour(), realShard())
        case .learner: paths(neighbour(), [realSlot()])
        }
    }

    /// Numbers that are none, under the sender's own lease where it holds one.
    mutating func nonFinite(_ role: WorkerRole, held: LeaseID?) -> WorkerMessage {
        let lease = held ?? staleLease()
        let bad = random.pick([Double.nan, .infinity, -.infinity])
        switch role {
        case .rollout:
            if random.below(8) == 0 { return .canary(CanaryReport(adapter: nil, logprob: bad)) }
            var path = path(realSlot())
            switch random.below(3) {
            case 0: path.reward = bad
            case 1: path.choiceLogprobs = [Float(bad), -1]
            default: path.logprobs[random.below(path.logprobs.count)] = Float(bad)
            }
            return .trajectories(lease, [path])
        case .learner:
            var statistics = ShardStatistics()
            if random.below(2) == 0 { statistics.loss = bad } else { statistics.logprobGapMax = bad }
            return .gradientChunk(
                GradientChunk(
                    lease: lease, shard: realShard(), offset: 0, totalBytes: 4, digest: digest(),
                    bytes: [0, 0, 0x80, 0x7F], statistics: statistics))
        }
    }
}
