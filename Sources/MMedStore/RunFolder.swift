import Foundation
public import MMedCore
import MMedFormats

/// One run's folder: the lock, the blobs, the checkpoints. One process at a time owns it.
public final class RunFolder: Sendable {
    /// The folder.
    public let path: String
    private let lockDescriptor: Int32

    /// Creates the folder where it is missing and takes its lock. Throws `tryAgain` when another process holds it.
    public init(path: String) throws {
        self.path = path
        do {
            try FileManager.default.createDirectory(atPath: path + "/blobs", withIntermediateDirectories: true)
            try FileManager.default.createDirectory(atPath: path + "/checkpoints", withIntermediateDirectories: true)
        } catch {
            throw MMedError(
                .tryAgain, at: path, "the run folder cannot be created (\(error.localizedDescription))",
                mend: "choose another with --run-dir, or mend its permissions")
        }
        // O_CLOEXEC: a worker started from here must not keep the lock alive after this process has died.
        lockDescriptor = open(path + "/run.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard lockDescriptor >= 0, flock(lockDescriptor, LOCK_EX | LOCK_NB) == 0 else {
            if lockDescriptor >= 0 { close(lockDescriptor) }
            throw MMedError(
                .tryAgain, at: path, "another coordinator works in this run folder",
                mend: "wait for it to end, stop it, or choose another folder with --run-dir")
        }
    }

    deinit { close(lockDescriptor) }

    /// Names this folder among its copies: the lock file's number in the file system. It stays when the folder is moved
    /// within a disk, and is another in every copy. Nil when the system does not say.
    public var instance: UInt64? {
        var status = stat()
        return fstat(lockDescriptor, &status) == 0 ? UInt64(status.st_ino) : nil
    }

    /// True while a process holds the folder's lock.
    public static func isOwned(path: String) -> Bool {
        let descriptor = open(path + "/run.lock", O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_EX | LOCK_NB) != 0
    }

    /// True when the folder holds a checkpoint to go on from.
    public var hasCheckpoint: Bool { FileManager.default.fileExists(atPath: manifestPath) }

    var manifestPath: String { RunFolder.manifestPath(in: path) }
    static func manifestPath(in path: String) -> String { path + "/checkpoint.json" }

    // MARK: Blobs

    /// Puts bytes on the disk under their digest; they are synchronised when the call returns.
    public func putBlob(_ bytes: [UInt8]) throws -> Digest { try putBlob([.bytes(bytes)]) { _ in } }

    /// Puts what the parts are one behind the other on the disk; `before` is told the digest ahead of the first byte.
    public func putBlob(_ parts: [BlobPart], before: (Digest) -> Void) throws -> Digest {
        let digest = try ContentDigest.ofParts(parts)
        before(digest)
        let target = blobPath(digest)
        try Failpoint.pass(.blobPut)
        // One that is there is looked at: what is put is whole when the call returns.
        if !holdsBlob(digest) || (try? openBlob(digest)) == nil { try writeWhole(parts, to: target) }
        try Failpoint.pass(.blobIsPut)
        return digest
    }

    /// The bytes of a blob, their digest checked. Throws `badData` when it is missing or damaged.
    public func blob(_ digest: Digest) throws -> [UInt8] { try RunFolder.readBlob(digest, path: path) }

    /// Whether a file has the name of this blob, readable or not.
    public func holdsBlob(_ digest: Digest) -> Bool { FileManager.default.fileExists(atPath: blobPath(digest)) }

    /// A blob of a folder that another process may own. Throws `badData` when it is missing or damaged.
    public static func readBlob(_ digest: Digest, path: String) throws -> [UInt8] {
        let file = try BlobFile(path: path + "/blobs/" + digest.hex)
        let bytes = try file.bytes(at: 0, count: file.count)
        guard ContentDigest.of(bytes) == digest else { throw file.damaged() }
        return bytes
    }

    /// A blob to be read piece by piece; its digest is checked unless it `isChecked`. Throws `badData` when it is missing or
    /// damaged.
    public func openBlob(_ digest: Digest, isChecked: Bool = false) throws -> BlobFile {
        try RunFolder.openBlob(digest, path: path, isChecked: isChecked)
    }

    /// The same of a folder that another process may own.
    public static func openBlob(_ digest: Digest, path: String, isChecked: Bool = false) throws -> BlobFile {
        let file = try BlobFile(path: path + "/blobs/" + digest.hex)
        if !isChecked { try file.require(digest) }
        return file
    }

    /// Room for what the process needs for a while.
    public func scratch() throws -> ScratchFile { try ScratchFile(in: path + "/blobs") }

    /// Removes blobs; one that is not there is no error.
    public func remove(_ digests: Set<Digest>) {
        // A blob that cannot be removed costs space, not correctness.
        for digest in digests { try? FileManager.default.removeItem(atPath: blobPath(digest)) }
    }

    /// Removes every file that is not a named blob, unfinished ones too. Only for a folder into which nothing is being written.
    public func keepOnly(_ digests: Set<Digest>) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path + "/blobs")) ?? []
        for name in names {
            if let digest = Digest(hex: name), digests.contains(digest) { continue }
            // A blob that cannot be removed costs space, not correctness.
            try? FileManager.default.removeItem(atPath: path + "/blobs/" + name)
        }
    }

    /// Removes what a process that died while it replaced a folder left beside it (`DurableFile.replaceFolder`): the new
    /// one that was not ready, the former one that had done. Only for a folder into which nothing is being written.
    public func removeUnfinishedFolders() {
        let files = FileManager.default
        let adapters = path + "/adapters"
        let parents = [path] + ((try? files.contentsOfDirectory(atPath: adapters)) ?? []).map { adapters + "/" + $0 }
        for parent in parents {
            for name in (try? files.contentsOfDirectory(atPath: parent)) ?? []
            where name.hasPrefix(".") && (name.hasSuffix(".new") || name.hasSuffix(".old")) {
                // What cannot be removed costs space, not correctness.
                try? files.removeItem(atPath: parent + "/" + name)
            }
        }
    }

    private func blobPath(_ digest: Digest) -> String { path + "/blobs/" + digest.hex }

    // MARK: Files

    /// Writes a file so that a crash leaves the old one or the new one, never a part: temp, fsync, rename, fsync of the folder.
    public func writeWhole(_ bytes: [UInt8], to target: String) throws { try writeWhole([.bytes(bytes)], to: target) }

    private func writeWhole(_ parts: [BlobPart], to target: String) throws {
        let temporary = target + ".new"
        try DurableFile.write(temporary) { append in
            for part in parts { try part.forEachPiece(append) }
        }
        guard rename(temporary, target) == 0 else {
            throw MMedError(
                .tryAgain, at: target, "cannot be put in place (\(String(cString: strerror(errno))))",
                mend: "check the disk's space and permissions")
        }
        try Failpoint.pass(.fileRenamed)
        let folder = open((target as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { return }
        defer { close(folder) }
        guard fsync(folder) == 0 else {
            throw MMedError(.tryAgain, at: target, "its folder cannot be synchronised", mend: "check the disk")
        }
        try Failpoint.pass(.filePlaced)
    }
}
