import MMedCoordinator
import MMedCore
import MMedFormats
import MMedLocks
import MMedProtocol
import MMedScheduling
import MMedStore

/// The run folder behind the coordinator's port: blobs with a small cache, checkpoints, and the adapters that users take away.
final class RunStore: StorePort {
    let folder: RunFolder
    private let journal: Journal
    private let planDigest: Digest
    private let baseModel: String

    private struct Cache {
        /// Newest last; workers pull the newest versions in chunks.
        var blobs: [(digest: Digest, bytes: [UInt8])] = []
        /// Digests put since the start, newest last: some may not be in a checkpoint yet.
        var recent: [Digest] = []
        /// The newest digests of each adapter: in the middle of a step they are in no checkpoint, however long it takes and
        /// whatever the other adapters do meanwhile.
        var newest: [Name: [Digest]] = [:]
        /// Digests put since the start and not removed.
        var stored = Set<Digest>()
        /// The newest states on the disk, newest first: a start may go back to each.
        var held: [RunState] = []
        /// What updates beyond the state made that a start found, until all of these states have it behind them.
        var awaited: [AdapterHead] = []
        var exported = Set<String>()

        mutating func note(_ digests: [Digest], of adapter: Name, kept: Int) {
            newest[adapter] = ((newest[adapter] ?? []) + digests).suffix(kept)
        }
    }
    private let cache = Locked(Cache())
    private let blobsCached = 12
    private let recentKept = 32
    /// Weights and moments of all updates of so many steps as a run may go back.
    private let newestKept: Int

    init(
        folder: RunFolder, journal: Journal, planDigest: Digest, baseModel: String, updatesPerStep: Int
    ) {
        newestKept = 2 * updatesPerStep * RunFolder.statesKept
        self.folder = folder
        self.journal = journal
        self.planDigest = planDigest
        self.baseModel = baseModel
    }

    /// Writes bytes durably under their digest; `adapter` names whose newest weights or moments they are.
    func put(_ bytes: [UInt8], of adapter: Name? = nil) throws -> Digest {
        // It is known before it is written: a checkpoint saved on another thread meanwhile must not take it for garbage.
        let digest = ContentDigest.of(bytes)
        if let adapter {
            cache.withLock { cache in
                cache.note([digest], of: adapter, kept: newestKept)
            }
        }
        remember(digest, bytes, isNew: true)
        return try folder.putBlob(bytes)
    }

    func requireBlob(_ digest: Digest) throws -> [UInt8] {
        if let bytes = cached(digest) { return bytes }
        let bytes = try folder.blob(digest)
        remember(digest, bytes, isNew: false)
        return bytes
    }

    func blob(_ digest: Digest) throws -> [UInt8]? {
        // Anybody may ask for anything; what was put and not removed must be there, and what is there must be whole.
        let isKnown = cache.withLock { $0.stored.contains(digest) }
        return try isKnown || folder.holdsBlob(digest) ? requireBlob(digest) : nil
    }

    func digest(of bytes: [UInt8]) -> Digest { ContentDigest.of(bytes) }

    func save(_ state: RunState) throws {
        try export(state)
        // A run that is stopped between two steps saves once more: two copies would push an older state out.
        if cache.withLock({ $0.held.first == state }) { return }
        // Everything that the state rests on is in the journal by now, and nothing is being written to it.
        try folder.saveCheckpoint(state, planDigest: planDigest, journal: try journal.head())
        let garbage = cache.withLock { cache in
            let held = Array(([state] + cache.held).prefix(RunFolder.statesKept))
            cache.held = held
            cache.awaited.removeAll { head in held.allSatisfy { $0.hasReached(head) } }
            let named = Array(cache.newest.values) + cache.awaited.map(\.digests) + held.map { Array($0.blobDigests) }
            let open = named.reduce(into: Set(cache.recent)) { $0.formUnion($1) }
            let garbage = cache.stored.subtracting(open)
            cache.stored.subtract(garbage)
            return garbage
        }
        folder.remove(garbage)
    }

    /// The states that the disk has as the process begins, newest first.
    func hold(_ states: [RunState]) { cache.withLock { $0.held = states } }

    /// Takes away what a former process left behind: blobs that neither the checkpoint nor an older one that is kept nor one of
    /// these updates beyond it names, and what was unfinished. Returns the updates' blobs that are there and whole.
    func clean(_ state: RunState, _ older: [RunState], keeping updates: [RecordedUpdate]) -> Set<Digest> {
        var kept = Set<Digest>()
        for update in updates {
            // They can be made again, so one that is damaged is no reason to stop.
            let whole = update.result.head.digests.filter { (try? folder.blob($0)) != nil }
            kept.formUnion(whole)
        }
        let held = [state] + older
        let named = held.reduce(into: kept) { $0.formUnion($1.blobDigests) }
        hold(held)
        cache.withLock { cache in
            cache.awaited = updates.map(\.result.head)
            cache.stored.formUnion(named)
        }
        folder.keepOnly(named)
        folder.removeUnfinishedFolders()
        return kept
    }

    /// What the state's finished stages left, as PEFT folders: each once, before the checkpoint that promises it. A process
    /// that goes on looks at all of them again, since users may have lost one.
    /// Returns those that it had to write.
    @discardableResult
    func export(_ state: RunState) throws -> [String] {
        try ExportedAdapter.all(in: state).filter { adapter in
            guard cache.withLock({ $0.exported.insert(adapter.relativePath).inserted }) else { return false }
            return try adapter.ensure(
                below: folder.path, content: try requireBlob(adapter.digest), baseModel: baseModel)
        }.map(\.relativePath)
    }

    private func cached(_ digest: Digest) -> [UInt8]? {
        cache.withLock { cache in cache.blobs.last { $0.digest == digest }?.bytes }
    }

    private func remember(_ digest: Digest, _ bytes: [UInt8], isNew: Bool) {
        cache.withLock { cache in
            cache.blobs.removeAll { $0.digest == digest }
            cache.blobs.append((digest, bytes))
            if cache.blobs.count > blobsCached { cache.blobs.removeFirst() }
            guard isNew else { return }
            cache.recent.append(digest)
            cache.stored.insert(digest)
            if cache.recent.count > recentKept { cache.recent.removeFirst() }
        }
    }
}
