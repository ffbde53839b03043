import MMedCoordinator
import MMedCore
import MMedLocks
import MMedProtocol
import MMedScheduling

/// The state folder: journal, checkpoint and blobs. What is in it survives every death.
final class SimulatedDisk: StorePort {
    /// Why a write was refused.
    enum Refusal: Error { case full, olderEpoch }

    private struct Content {
        var checkpoint: RunState
        var records: [JournalRecord] = []
        var blobs: [Digest: [UInt8]] = [:]
        /// Digests put since the last start, newest last: some may not be in a checkpoint yet.
        var recent: [Digest] = []
        var isFull = false
    }

    private let content: Locked<Content>
    private let recentKept = 32

    init(_ plan: RunPlan) {
        var blobs: [Digest: [UInt8]] = [:]
        let heads = plan.adapters.map { adapter in
            let bytes = SimulatedEngine.initialContent(adapter.name)
            let digest = Hashing.digest(of: bytes)
            blobs[digest] = bytes
            return AdapterHead(
                reference: AdapterReference(name: adapter.name, version: 0, digest: digest), momentsDigest: nil,
                optimizerSteps: 0)
        }
        content = Locked(Content(checkpoint: RunState(heads: heads), blobs: blobs))
    }

    var checkpoint: RunState { content.withLock { $0.checkpoint } }
    var records: [JournalRecord] { content.withLock { $0.records } }
    var isFull: Bool {
        get { content.withLock { $0.isFull } }
        set { content.withLock { $0.isFull = newValue } }
    }

    /// Writes a group whole or not at all. A process of an older epoch writes nothing any more.
    func append(_ records: [JournalRecord], epoch: UInt64) throws(Refusal) {
        let refusal = content.withLock { content -> Refusal? in
            if content.isFull { return .full }
            if content.checkpoint.epoch != epoch { return .olderEpoch }
            content.records += records
            return nil
        }
        if let refusal { throw refusal }
    }

    /// Writes a checkpoint; a start, which raises the epoch, may do so over any older one.
    func write(_ state: RunState) throws(Refusal) {
        let refusal = content.withLock { content -> Refusal? in
            if content.isFull { return .full }
            if content.checkpoint.epoch > state.epoch { return .olderEpoch }
            content.checkpoint = state
            let kept = SimulatedDisk.digests(of: state).union(content.recent)
            content.blobs = content.blobs.filter { kept.contains($0.key) }
            return nil
        }
        if let refusal { throw refusal }
    }

    /// Takes away what no checkpoint names, as a start does.
    func clean() {
        content.withLock { content in
            content.recent = []
            let kept = SimulatedDisk.digests(of: content.checkpoint)
            content.blobs = content.blobs.filter { kept.contains($0.key) }
        }
    }

    func put(_ bytes: [UInt8]) -> Digest {
        let digest = Hashing.digest(of: bytes)
        content.withLock { content in
            content.blobs[digest] = bytes
            content.recent.append(digest)
            if content.recent.count > recentKept { content.recent.removeFirst() }
        }
        return digest
    }

    /// Every blob that a run needs to go on from a state.
    static func digests(of state: RunState) -> Set<Digest> {
        var kept = Set(state.heads.map(\.reference.digest))
        kept.formUnion(state.heads.compactMap(\.momentsDigest))
        kept.formUnion(state.stageHeads.map(\.reference.digest))
        if let merged = state.merged { kept.insert(merged.digest) }
        for track in state.tracks { kept.formUnion((track.recent + [track.start].compactMap { $0 }).map(\.digest)) }
        return kept
    }

    // MARK: StorePort

    func blob(_ digest: Digest) -> [UInt8]? { content.withLock { $0.blobs[digest] } }
    func digest(of bytes: [UInt8]) -> Digest { Hashing.digest(of: bytes) }
    func save(_ state: RunState) throws { try write(state) }
}
