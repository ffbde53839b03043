public import MMedCoordinator
import MMedCore
import MMedFormats
import MMedLocks
import MMedProtocol
import MMedScheduling
public import MMedStore

extension ScratchFile: ScratchBytes {}

/// The run folder behind the coordinator's port: blobs, checkpoints, and the adapters that users take away. No content of a blob
/// stays in memory: an adapter may be as large as what is left of it, and the system keeps what is read again and again.
final class RunStore: StorePort {
    let folder: RunFolder
    private let journal: Journal
    private let planDigest: Digest
    private let baseModel: String

    private struct Cache {
        /// Newest last; workers pull the newest versions in chunks.
        var opened: [(digest: Digest, file: BlobFile)] = []
        /// Digests put since the start, newest last: some may not be in a checkpoint yet.
        var recent: [Digest] = []
        /// The newest digests of each adapter: in the middle of a step they are in no checkpoint, however long it takes and
        /// whatever the other adapters do meanwhile.
        var newest: [Name: [Digest]] = [:]
        /// Digests that are on the disk and not removed.
        var stored = Set<Digest>()
        /// The newest states on the disk, newest first: a start may go back to each.
        var held: [RunState] = []
        /// What updates beyond the state made that a start found, until all of these states have it behind them.
        var awaited: [AdapterHead] = []
        var exported = Set<String>()

        mutating func keep(_ digest: Digest, _ file: BlobFile) {
            opened.removeAll { $0.digest == digest }
            opened.append((digest, file))
            if opened.count > RunStore.filesOpened { opened.removeFirst() }
        }

        /// Forgets what is stored and none of these, and returns it.
        mutating func takeGarbage(beside kept: Set<Digest>) -> Set<Digest> {
            let garbage = stored.subtracting(kept)
            stored.subtract(garbage)
            opened.removeAll { garbage.contains($0.digest) }
            return garbage
        }
    }
    private let cache = Locked(Cache())
    private static let filesOpened = 64
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
    func put(_ bytes: [UInt8], of adapter: Name? = nil) throws -> Digest { try put([.bytes(bytes)], of: adapter) }

    /// The same of what the parts are one behind the other.
    func put(_ parts: [BlobPart], of adapter: Name? = nil) throws -> Digest {
        // It is known before it is written: a checkpoint saved on another thread meanwhile must not take it for garbage.
        let digest = try folder.putBlob(parts) { digest in
            cache.withLock { cache in
                if let adapter {
                    cache.newest[adapter] = ((cache.newest[adapter] ?? []) + [digest]).suffix(newestKept)
                }
                cache.recent.append(digest)
                if cache.recent.count > recentKept { cache.recent.removeFirst() }
            }
        }
        // Its bytes have just been hashed.
        let file = try folder.openBlob(digest, isChecked: true)
        cache.withLock { cache in
            cache.stored.insert(digest)
            cache.keep(digest, file)
        }
        return digest
    }

    /// A blob that must be there, its digest checked now: what the run computes rests on it.
    func requireFile(_ digest: Digest) throws -> BlobFile { try folder.openBlob(digest) }

    /// A blob for who checks its digest himself. Checked when it was put or first asked for, and whenever many others have
    /// been asked for since.
    private func servedFile(_ digest: Digest) throws -> BlobFile {
        let opened = cache.withLock { $0.opened.last { $0.digest == digest }?.file }
        let file = try opened ?? folder.openBlob(digest)
        cache.withLock { $0.keep(digest, file) }
        return file
    }

    func piece(of digest: Digest, at offset: Int, bytesMax: Int) throws -> BlobPiece? {
        // Anybody may ask for anything; what was put and not removed must be there, and what is there must be whole.
        let isKnown = cache.withLock { $0.stored.contains(digest) }
        guard isKnown || folder.holdsBlob(digest) else { return nil }
        let file = try servedFile(digest)
        guard (0..<file.count).contains(offset) else { return nil }
        let bytes = try file.bytes(at: offset, count: min(bytesMax, file.count - offset))
        return BlobPiece(totalBytes: file.count, bytes: bytes)
    }

    func scratch() throws -> any ScratchBytes { try folder.scratch() }

    func digest(of scratch: any ScratchBytes) throws -> Digest {
        try ContentDigest.of(count: scratch.count) { try scratch.bytes(at: $0, count: $1) }
    }

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
            return cache.takeGarbage(beside: named.reduce(into: Set(cache.recent)) { $0.formUnion($1) })
        }
        folder.remove(garbage)
    }

    /// Takes away what only a run that goes on would need: versions between the states that are kept.
    func finish() {
        let garbage = cache.withLock { cache in
            cache.takeGarbage(beside: cache.held.reduce(into: []) { $0.formUnion($1.blobDigests) })
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
            let whole = update.result.head.digests.filter { (try? folder.openBlob($0)) != nil }
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
                below: folder.path, blob: try requireFile(adapter.digest), baseModel: baseModel)
        }.map(\.relativePath)
    }
}
