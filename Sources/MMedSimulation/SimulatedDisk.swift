import MMedCoordinator
import MMedCore
import MMedLocks
import MMedProtocol
import MMedScheduling

/// The state folder: journal, checkpoint and blobs. What is in it survives every death. A group whose write was cut off
/// leaves its beginning behind the journal, and a torn checkpoint is a file that no manifest names: a start leaves both out.
final class SimulatedDisk: StorePort {
    /// Why a write was refused.
    enum Refusal: Error { case full, olderEpoch }

    private struct Content {
        var checkpoint: RunState
        /// The states before it, newest first: what they rest on is kept as well.
        var formers: [RunState] = []
        /// A checkpoint that was cut off while it was written.
        var torn: RunState?
        var records: [JournalRecord] = []
        /// The beginning of a group that was cut off while it was written.
        var tail: [JournalRecord] = []
        var blobs: [Digest: [UInt8]] = [:]
        /// Digests put since the last start, newest last: some may not be in a checkpoint yet.
        var recent: [Digest] = []
        /// The newest digests of each adapter: in the middle of a step they are in no checkpoint.
        var newest: [Name: [Digest]] = [:]

        /// What updates beyond the state made that a start found, until all states have it behind them.
        var awaited: [AdapterHead] = []

        var open: Set<Digest> {
            (newest.values + awaited.map(\.digests)).reduce(into: Set(recent)) { $0.formUnion($1) }
        }
        /// What this state and those before it rest on.
        var held: Set<Digest> { formers.reduce(into: checkpoint.blobDigests) { $0.formUnion($1.blobDigests) } }
        var isFull = false
        /// Blobs that are in the disk's cache alone, by the looks that they have been there for.
        var unsynced: [Digest: Int] = [:]
    }

    private let content: Locked<Content>
    private let mutant: Mutant?
    private let recentKept = 4
    private let newestKept: Int
    private let formersKept = 2

    init(_ plan: RunPlan, mutant: Mutant? = nil) {
        self.mutant = mutant
        newestKept = 2 * plan.updatesPerStep * (formersKept + 1)
        var blobs: [Digest: [UInt8]] = [:]
        let heads = plan.adapters.map { adapter in
            let bytes = SimulatedEngine.initialContent(adapter.name)
            let digest = Hashing.digest(of: bytes)
            blobs[digest] = bytes
            return AdapterHead(
                reference: AdapterReference(name: adapter.name, version: 0, digest: digest), momentsDigest: nil,
                optimizerSteps: 0)
        }
        let state = RunState(heads: heads)
        content = Locked(Content(checkpoint: state, blobs: blobs))
    }

    /// A journal is there before any run.
    func begin(with records: [JournalRecord]) { content.withLock { $0.records = records } }

    var checkpoint: RunState { content.withLock { $0.checkpoint } }
    var records: [JournalRecord] { content.withLock { $0.records } }
    var isFull: Bool {
        get { content.withLock { $0.isFull } }
        set { content.withLock { $0.isFull = newValue } }
    }

    /// Writes a group whole or not at all. A process of an older epoch writes nothing any more.
    func append(_ records: [JournalRecord], epoch: UInt64) throws(Refusal) {
        let isFenced = mutant != .letsOldEpochWrite
        let refusal = content.withLock { content -> Refusal? in
            if content.isFull { return .full }
            if content.checkpoint.epoch != epoch && isFenced { return .olderEpoch }
            content.records += records
            content.tail = []
            return nil
        }
        if let refusal { throw refusal }
    }

    /// The write of a group is cut off after some of its records.
    func tear(_ records: [JournalRecord], after count: Int, epoch: UInt64) {
        content.withLock { content in
            if content.checkpoint.epoch == epoch { content.tail = Array(records.prefix(count)) }
        }
    }

    /// The write of a checkpoint is cut off: some of it is new, the rest as it was before.
    func tear(_ state: RunState) {
        content.withLock { content in
            var torn = content.checkpoint
            (torn.stage, torn.tracks) = (state.stage, state.tracks)
            content.torn = torn
        }
    }

    /// Writes a checkpoint. A start, which raises the epoch, may do so over any older one, and in the place of what it read.
    func write(_ state: RunState, isStart: Bool = false) throws(Refusal) {
        let isFenced = mutant != .letsOldEpochWrite
        let refusal = content.withLock { content -> Refusal? in
            if content.isFull { return .full }
            if content.checkpoint.epoch > state.epoch && isFenced { return .olderEpoch }
            if !isStart, content.checkpoint != state {
                content.formers = Array(([content.checkpoint] + content.formers).prefix(formersKept))
            }
            content.checkpoint = state
            content.torn = nil
            let states = [state] + content.formers
            content.awaited.removeAll { head in states.allSatisfy { $0.hasReached(head) } }
            let kept = content.held.union(content.open)
            content.blobs = content.blobs.filter { kept.contains($0.key) }
            return nil
        }
        if let refusal { throw refusal }
    }

    /// The newest states cannot be read any more, so many of them. Returns the one that a start goes on from; nil where there is
    /// none.
    func damage(_ count: Int) -> RunState? {
        content.withLock { content in
            guard content.formers.count >= count else { return nil }
            // Epochs never go back: the manifest names the newest one.
            let epoch = content.checkpoint.epoch
            content.checkpoint = content.formers[count - 1]
            content.checkpoint.epoch = epoch
            content.formers.removeFirst(count)
            return content.checkpoint
        }
    }

    /// What a start reads: the checkpoint that the manifest names, and the journal up to its last whole group.
    func read() -> (state: RunState, records: [JournalRecord]) {
        content.withLock { content in
            var (state, records) = (content.checkpoint, content.records)
            switch mutant {
            case .acceptsTornTail: records += content.tail
            case .acceptsTornCheckpoint: state = content.torn ?? state
            case .readsOldCheckpoint: state = content.formers.first ?? state
            default: break
            }
            state.epoch = content.checkpoint.epoch
            return (state, records)
        }
    }

    /// Raises the epoch, and takes away what neither a state nor an update beyond the oldest of them names, as a start does.
    /// Returns the updates' blobs. Where there is no room nothing is changed.
    func begin(_ state: RunState, knowing records: [JournalRecord]) throws(Refusal) -> Set<Digest> {
        if isFull { throw .full }
        let oldest = content.withLock { $0.formers.last ?? $0.checkpoint }
        let kept = clean(keeping: oldest.openUpdates(in: records))
        try write(state, isStart: true)
        return kept
    }

    private func clean(keeping updates: [RecordedUpdate]) -> Set<Digest> {
        content.withLock { content in
            (content.recent, content.newest, content.tail) = ([], [:], [])
            for digest in content.unsynced.keys { content.blobs[digest] = nil }
            content.unsynced = [:]
            var kept = content.held
            if mutant == .collectsLiveBlobs { kept = Set(content.checkpoint.heads.map(\.reference.digest)) }
            let made = Set(updates.flatMap(\.result.head.digests)).filter { content.blobs[$0] != nil }
            content.awaited = mutant == .forgetsOpenUpdates ? [] : updates.map(\.result.head)
            kept.formUnion(made)
            content.blobs = content.blobs.filter { kept.contains($0.key) }
            return made
        }
    }

    /// Holds bytes; `adapter` names whose newest weights or moments they are.
    func put(_ bytes: [UInt8], of adapter: Name? = nil) -> Digest {
        let digest = Hashing.digest(of: bytes)
        content.withLock { content in
            if mutant == .namesBlobsTooEarly && content.blobs[digest] == nil { content.unsynced[digest] = 0 }
            content.blobs[digest] = bytes
            content.recent.append(digest)
            if content.recent.count > recentKept { content.recent.removeFirst() }
            guard let adapter, mutant != .forgetsOpenBase else { return }
            content.newest[adapter] = ((content.newest[adapter] ?? []) + [digest]).suffix(newestKept)
        }
        return digest
    }

    /// Time passes, and what has been in the cache for a while comes to the disk by itself.
    func settle() {
        guard mutant == .namesBlobsTooEarly else { return }
        content.withLock { content in
            content.unsynced = content.unsynced.mapValues { $0 + 1 }.filter { $0.value < 20 }
        }
    }

    /// True when a blob would be there after a power cut.
    func isDurable(_ digest: Digest) -> Bool {
        content.withLock { $0.blobs[digest] != nil && $0.unsynced[digest] == nil }
    }

    func blob(_ digest: Digest) -> [UInt8]? { content.withLock { $0.blobs[digest] } }

    // MARK: StorePort

    func piece(of digest: Digest, at offset: Int, bytesMax: Int) -> BlobPiece? {
        blob(digest).flatMap { BlobPiece(of: $0, at: offset, bytesMax: bytesMax) }
    }
    func scratch() -> any ScratchBytes {
        MemoryScratch { [weak self] in self.map { $0.isFull && $0.mutant != .ignoresFullDisk } ?? false }
    }

    func digest(of scratch: any ScratchBytes) throws -> Digest { Hashing.digest(of: try scratch.allBytes()) }
    func save(_ state: RunState) throws { try write(state) }
}
