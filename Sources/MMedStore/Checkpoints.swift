import Foundation
public import MMedCore
import MMedFormats
public import MMedScheduling

/// A checkpoint that was read back and verified.
public struct LoadedCheckpoint: Sendable {
    /// The run's state.
    public let state: RunState
    /// Digest of the plan it belongs to.
    public let planDigest: Digest
    /// Its number.
    public let number: Int
    /// The journal's head when it was written: every record up to there is part of the state or of an open step.
    public let journal: JournalHead
}

/// What a run goes on from.
public struct WholeCheckpoint: Sendable {
    /// A state that cannot be gone back to.
    public struct Damage: Sendable {
        /// Its number.
        public let number: Int
        /// What is wrong with it, or with a blob that it rests on.
        public let error: MMedError
    }

    /// The newest state that is whole with all that it rests on.
    public let checkpoint: LoadedCheckpoint
    /// Those before it that are, newest first.
    public let older: [LoadedCheckpoint]
    /// The furthest that a run may go back.
    public var oldest: RunState { (older.last ?? checkpoint).state }
    /// The others, newest first.
    public let damaged: [Damage]
}

private struct ManifestFormat: Codable {
    var format: Int
}

/// A state on the disk, and the journal's head when it was written.
private struct StateEntry: Codable {
    var number: Int
    var bytes: Int
    var sha256: String
    var journalSequence: Int64
    var journalChain: String

    static func file(_ number: Int) -> String { "checkpoints/\(number).json" }
}

private struct ManifestRecord: Codable {
    var format: Int
    var number: Int
    var file: String
    var bytes: Int
    var sha256: String
    var plan: String
    var epoch: UInt64
    var journalSequence: Int64
    var journalChain: String
    /// The states before it that the folder still has all blobs of, newest first; nil in the folders of older releases, which
    /// have none.
    var former: [StateEntry]?
    /// SHA-256 of the record without this field; nil in the folders of older releases.
    var sha256OfThis: String?

    var newest: StateEntry {
        StateEntry(
            number: number, bytes: bytes, sha256: sha256, journalSequence: journalSequence, journalChain: journalChain)
    }

    /// The digest that belongs to the other fields.
    func check() throws -> String {
        var rest = self
        rest.sha256OfThis = nil
        return ContentDigest.of(try SortedJSON.bytes(rest)).hex
    }
}

extension RunFolder {
    private static var format: Int { 3 }
    /// Format 2 has the same fields but the states before the newest.
    private static var formatsRead: ClosedRange<Int> { 2...format }
    /// States that a folder keeps, with all that they rest on.
    public static var statesKept: Int { 3 }

    private static let mendOfState =
        "restore it from a backup of this run (any copy of the file does); without one `mmed-coord start --resume` goes "
        + "on from the newest state that is whole, and where none is, begin the run in another folder and keep this one: "
        + "its adapters, blobs and journal are whole"

    /// What helps where a file is missing that every run has once it goes on.
    public static let mendOfMissingRun =
        "give the folder that `mmed-coord start` printed, or restore the file from a backup; a run that ended before it did "
        + "anything is begun again by the command that began it"

    /// Throws `usage` when a run has worked in this folder, so that a new one would take the place of what it did.
    public func requireFresh() throws {
        guard try RunFolder.holdsWork(path: path) else { return }
        throw MMedError(
            .usage, at: path,
            "the folder holds a run already" + (hasCheckpoint ? "" : ", and its checkpoint.json is missing"),
            mend: hasCheckpoint
                ? "go on with `mmed-coord start --resume \(path)`, or choose another --run-dir"
                : "restore that file from a backup and resume the run, or choose another --run-dir")
    }

    /// True when a run has worked in a folder: it has a checkpoint to go on from, or had one.
    public static func holdsWork(path: String) throws -> Bool {
        try FileManager.default.fileExists(atPath: manifestPath(in: path)) || holdsLaterState(path: path)
            || Journal.holdsWork(in: path)
    }

    /// True when there is a state beyond the first, which is that of a run that has done nothing yet.
    private static func holdsLaterState(path: String) -> Bool {
        let states = (try? FileManager.default.contentsOfDirectory(atPath: path + "/checkpoints")) ?? []
        return states.contains { $0.hasSuffix(".json") && $0 != "1.json" }
    }

    /// Writes the state, then the manifest that names it; both are on the disk when the call returns. The states before it are
    /// kept, or in the place of what a start found it is a copy of that with what was whole before.
    public func saveCheckpoint(
        _ state: RunState, planDigest: Digest, journal: JournalHead, inPlaceOf found: WholeCheckpoint? = nil
    ) throws {
        let last = try? readManifest()
        let number = (last?.number ?? 0) + 1
        let bytes = try SortedJSON.bytes(StateRecord(state))
        let file = StateEntry.file(number)
        try writeWhole(bytes, to: path + "/" + file)
        try Failpoint.pass(.checkpointStateWritten)
        var manifest = ManifestRecord(
            format: RunFolder.format, number: number, file: file, bytes: bytes.count,
            sha256: ContentDigest.of(bytes).hex, plan: planDigest.hex, epoch: state.epoch,
            journalSequence: journal.sequence, journalChain: journal.chain.hex)
        let former = last.map { [$0.newest] + ($0.former ?? []) } ?? []
        let kept = found.map { found in former.filter { entry in found.older.contains { $0.number == entry.number } } }
        manifest.former = Array((kept ?? former).prefix(RunFolder.statesKept - 1))
        manifest.sha256OfThis = try manifest.check()
        try writeWhole(try SortedJSON.bytes(manifest) + [0x0A], to: manifestPath)
        try Failpoint.pass(.checkpointManifestWritten)
        removeStates(except: [manifest.newest] + (manifest.former ?? []))
    }

    /// Old states are removed only after the new one is in place; a death between the two leaves one that nobody names.
    private func removeStates(except entries: [StateEntry]) {
        let named = Set(entries.map { StateEntry.file($0.number) })
        for name in (try? FileManager.default.contentsOfDirectory(atPath: path + "/checkpoints")) ?? [] {
            let file = "checkpoints/" + name
            // A file that cannot be removed costs space, not correctness.
            if name.hasSuffix(".json"), !named.contains(file) {
                try? FileManager.default.removeItem(atPath: path + "/" + file)
            }
        }
    }

    /// The newest checkpoint, verified. Throws `badData` naming the file that is missing or damaged.
    public func loadCheckpoint() throws -> LoadedCheckpoint {
        try RunFolder.loadCheckpoint(path: path)
    }

    /// The newest checkpoint of a folder that another process may own.
    public static func loadCheckpoint(path: String) throws -> LoadedCheckpoint {
        let manifest = try readManifest(path: path)
        do { return try load(manifest.newest, of: manifest, path: path) } catch {
            // A coordinator that has just started has put another in its place.
            let again = try readManifest(path: path)
            if again.number == manifest.number { throw error }
            return try load(again.newest, of: again, path: path)
        }
    }

    /// The states that a folder keeps, newest first: each verified, or what is wrong with it. Throws `badData` where there is no
    /// manifest.
    public static func loadCheckpoints(
        path: String
    ) throws -> [(number: Int, state: Result<LoadedCheckpoint, any Error>)] {
        let manifest = try readManifest(path: path)
        return ([manifest.newest] + (manifest.former ?? [])).map { entry in
            (entry.number, Result { try load(entry, of: manifest, path: path) })
        }
    }

    /// What a run goes on from. Throws what is wrong with the newest state where none is whole.
    public func loadNewestWhole() throws -> WholeCheckpoint {
        var whole: [LoadedCheckpoint] = []
        var damaged: [WholeCheckpoint.Damage] = []
        // Most of them rest on the same.
        var verified = Set<Digest>()
        for (number, state) in try RunFolder.loadCheckpoints(path: path) {
            do {
                let loaded = try state.get()
                for digest in loaded.state.blobDigests.subtracting(verified).sorted() {
                    _ = try blob(digest)
                    verified.insert(digest)
                }
                whole.append(loaded)
            } catch let error as MMedError where error.kind == .badData {
                // Another error says nothing of what the disk has: the start ends with it, and nothing is given up.
                damaged.append(WholeCheckpoint.Damage(number: number, error: error))
            }
        }
        guard let newest = whole.first else { throw damaged[0].error }
        return WholeCheckpoint(checkpoint: newest, older: Array(whole.dropFirst()), damaged: damaged)
    }

    private static func load(_ entry: StateEntry, of manifest: ManifestRecord, path: String) throws -> LoadedCheckpoint
    {
        let statePath = path + "/" + StateEntry.file(entry.number)
        guard let data = FileManager.default.contents(atPath: statePath) else {
            throw MMedError(.badData, at: statePath, "the checkpoint is missing", mend: mendOfState)
        }
        let bytes = [UInt8](data)
        guard bytes.count == entry.bytes, ContentDigest.of(bytes).hex == entry.sha256,
            let plan = Digest(hex: manifest.plan), let chain = Digest(hex: entry.journalChain)
        else {
            throw MMedError(
                .badData, at: statePath, "the checkpoint does not match its manifest",
                mend: mendOfState)
        }
        do {
            var state = try JSONDecoder().decode(StateRecord.self, from: data).value(statePath)
            state.epoch = max(state.epoch, manifest.epoch)
            return LoadedCheckpoint(
                state: state, planDigest: plan, number: entry.number,
                journal: JournalHead(sequence: entry.journalSequence, chain: chain))
        } catch let error as DecodingError {
            throw MMedError(.badData, at: statePath, "not a checkpoint (\(error))", mend: mendOfState)
        }
    }

    private func readManifest() throws -> ManifestRecord { try RunFolder.readManifest(path: path) }

    private static func readManifest(path: String) throws -> ManifestRecord {
        let file = manifestPath(in: path)
        guard let data = FileManager.default.contents(atPath: file) else {
            throw MMedError(
                .badData, at: file, "there is no checkpoint",
                mend: holdsLaterState(path: path)
                    ? "restore it from a backup; the states that it could name are whole in checkpoints/"
                    : mendOfMissingRun)
        }
        do {
            // Another format may have other fields.
            let found = try JSONDecoder().decode(ManifestFormat.self, from: data).format
            guard formatsRead.contains(found) else {
                throw MMedError(
                    .badData, at: file, "format \(found), this program reads \(formatsRead.lowerBound) and \(format)",
                    mend: "resume with the program that wrote it")
            }
            let manifest = try JSONDecoder().decode(ManifestRecord.self, from: data)
            guard try manifest.sha256OfThis.map({ try $0 == manifest.check() }) ?? true else {
                throw MMedError(
                    .badData, at: file, "it is not what was written",
                    mend: "restore it from a backup; the checkpoints that it could name are whole in checkpoints/")
            }
            return manifest
        } catch let error as MMedError {
            throw error
        } catch {
            throw MMedError(
                .badData, at: file, "it is no manifest of a checkpoint, or is damaged",
                mend: "restore it from a backup; the checkpoints that it could name are whole in checkpoints/")
        }
    }
}
