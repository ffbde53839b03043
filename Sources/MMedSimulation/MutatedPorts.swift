import MMedCore
import MMedLocks
import MMedProtocol
import MMedScheduling
import MMedCoordinator

/// The digest that came with the last gradient, for a store that believes it.
final class Claims: Sendable {
    private let last = Locked<Digest?>(nil)

    func note(_ digest: Digest) { last.withLock { $0 = digest } }
    var digest: Digest? { last.withLock { $0 } }
}

/// A store that says of all bytes that they have the digest that came with them.
struct TrustingStore: StorePort {
    let disk: SimulatedDisk
    let claims: Claims

    func piece(of digest: Digest, at offset: Int, bytesMax: Int) -> BlobPiece? {
        disk.piece(of: digest, at: offset, bytesMax: bytesMax)
    }
    func scratch() -> any ScratchBytes { disk.scratch() }
    func digest(of scratch: any ScratchBytes) throws -> Digest { try claims.digest ?? disk.digest(of: scratch) }
    func save(_ state: RunState) throws { try disk.save(state) }
}

// What a coordinator with a planted bug begins with.
extension Mutant {
    /// A plan whose settings are not what the run's plan says.
    func twisted(_ plan: RunPlan) -> RunPlan {
        var plan = plan
        switch self {
        case .leasesNeverEnd: plan.settings.leaseMilliseconds = 3_600_000
        case .keepsSilentWorkers: plan.settings.silentBeats = 1_000_000
        case .retriesForEver: plan.settings.retries = 100_000
        case .givesUpAtOnce: plan.settings.retries = 0
        case .ignoresLag: plan.settings.maxLag += 1
        case .batchesStale: plan.settings.maxStaleness = 1_000
        case .checksNothing: plan.settings.spotCheck = 0
        default: break
        }
        return plan
    }

    /// The records that a start takes over.
    func twisted(_ records: [JournalRecord], _ state: RunState, _ plan: RunPlan) -> [JournalRecord] {
        if self == .resumesPathsAsNew { return records.map { renewed($0, state, plan) } }
        let caught = records.compactMap { if case .quarantine(let worker) = $0 { worker.worker } else { nil } }
        if self == .keepsQuarantinedWork { return records.compactMap { kept($0, caught) } }
        return records.filter { record in
            switch (self, record) {
            case (.forgetsStalenessOnResume, .drop(let drop)): drop.reason != DroppedPath.stale
            case (.quarantineForgottenOnResume, .quarantine): false
            case (.resumesWithoutPaths, .path), (.resumesWithoutGroups, .groups), (.resumesWithoutDrops, .drop),
                (.resumesWithoutUpdates, .update), (.resumesWithoutMerge, .merge):
                false
            default: true
            }
        }
    }

    /// A path that names the version that its adapter had in the checkpoint.
    private func renewed(_ record: JournalRecord, _ state: RunState, _ plan: RunPlan) -> JournalRecord {
        guard case .path(var path) = record else { return record }
        let place = StepPlace(of: path.path.trajectory.slot)
        guard place.stage == state.stage, plan.stages[place.stage].kind == .reinforce,
            let newest = state.heads.first(where: { $0.reference.name == path.specialty })?.reference
        else { return record }
        (path.path.trajectory.version, path.path.trajectory.adapterDigest) = (newest.version, newest.digest)
        return .path(path)
    }

    private func kept(_ record: JournalRecord, _ caught: [Name]) -> JournalRecord? {
        switch record {
        case .drop(let drop) where drop.isVoided && drop.reason != DroppedPath.stale: return nil
        case .path(var path) where caught.contains(path.worker):
            path.worker = path.specialty
            return .path(path)
        default: return record
        }
    }

    /// The order of a sum.
    func twisted(_ order: UpdateOrder, _ gradients: [[UInt8]], _ ledger: Ledger) -> (UpdateOrder, [[UInt8]]) {
        var (order, gradients) = (order, gradients)
        guard let first = order.shards.first, let firstBytes = gradients.first else { return (order, gradients) }
        switch self {
        case .sumsInArrivalOrder:
            func arrival(_ shard: ShardID) -> Int {
                ledger.shards[shard].flatMap { ledger.gradientArrival[$0.lease.lease] } ?? .max
            }
            let places = order.shards.indices.sorted { arrival(order.shards[$0]) < arrival(order.shards[$1]) }
            (order.shards, gradients) = (places.map { order.shards[$0] }, places.map { gradients[$0] })
        case .sumsShardTwice:
            order.shards.append(first)
            gradients.append(firstBytes)
        case .leavesShardOut where order.shards.count > 1:
            order.shards.removeLast()
            gradients.removeLast()
        default: break
        }
        return (order, gradients)
    }
}
