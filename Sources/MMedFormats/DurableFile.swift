import Glibc
import MMedCore

/// Files and folders that are on the disk, whole, once a call returns; a crash leaves the old state or the new one.
public enum DurableFile {
    /// Creates the file, or empties it, and lets `body` append bytes; it is synchronised before the call returns.
    /// A file that must appear whole is written into a folder by `replaceFolder`. Throws `tryAgain` when the disk refuses.
    public static func write(_ path: String, _ body: (_ append: ([UInt8]) throws -> Void) throws -> Void) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw refused(path, "cannot be created") }
        defer { close(descriptor) }
        try body { bytes in
            try bytes.withUnsafeBytes { source in
                var done = 0
                while done < source.count {
                    guard let base = source.baseAddress else { return }
                    let written = Glibc.write(descriptor, base + done, source.count - done)
                    if written < 0 && errno == EINTR { continue }
                    guard written > 0 else { throw refused(path, "cannot be written") }
                    done += written
                }
            }
        }
        try Failpoint.pass(.fileWritten)
        guard fsync(descriptor) == 0 else { throw refused(path, "cannot be synchronised") }
        try Failpoint.pass(.fileSynced)
    }

    /// Lets `body` fill a new folder beside `path`, then puts it in the place of `path`; a folder that was there is removed.
    /// When `body` throws, `path` is as it was. Throws `tryAgain` when the disk refuses.
    public static func replaceFolder(_ path: String, _ body: (_ folder: String) throws -> Void) throws {
        let parent = Paths.parent(path)
        try makeFolders(parent)
        let name = Paths.lastComponent(path)
        let fresh = Paths.join(parent, ".\(name).\(getpid()).new")
        let former = Paths.join(parent, ".\(name).\(getpid()).old")
        try remove(fresh)
        try remove(former)
        guard mkdir(fresh, 0o755) == 0 else { throw refused(fresh, "cannot be created") }
        do {
            try body(fresh)
            try synchroniseFolder(fresh)
            try Failpoint.pass(.folderFilled)
            if Paths.kind(path) != .none {
                guard rename(path, former) == 0 else { throw refused(path, "cannot be replaced") }
                Failpoint.note(.folderSetAside)
            }
            guard rename(fresh, path) == 0 else {
                let reason = refused(path, "cannot be put in place")
                // Best effort: the folder that was there goes back, and the error says why.
                _ = rename(former, path)
                throw reason
            }
        } catch {
            try remove(fresh)
            throw error
        }
        Failpoint.note(.folderRenamed)
        try synchroniseFolder(parent)
        try Failpoint.pass(.folderPlaced)
        try remove(former)
    }

    /// Creates a folder and those above it where they are missing; throws `tryAgain` when the disk refuses.
    public static func makeFolders(_ path: String) throws {
        switch Paths.kind(path) {
        case .folder: return
        case .file, .other: throw refused(path, "is not a folder")
        case .none: break
        }
        let parent = Paths.parent(path)
        if parent != path { try makeFolders(parent) }
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw refused(path, "cannot be created") }
        try synchroniseFolder(parent)
    }

    /// Removes a file or a folder with all that is in it; nothing happens when there is none.
    static func remove(_ path: String) throws {
        if Paths.kind(path) == .folder, let folder = opendir(path) {
            var names: [String] = []
            while let entry = readdir(folder) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name != "." && name != ".." { names.append(name) }
            }
            closedir(folder)
            for name in names { try remove(Paths.join(path, name)) }
            guard rmdir(path) == 0 || errno == ENOENT else { throw refused(path, "cannot be removed") }
        } else {
            guard unlink(path) == 0 || errno == ENOENT else { throw refused(path, "cannot be removed") }
        }
    }

    private static func synchroniseFolder(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw refused(path, "cannot be opened") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw refused(path, "cannot be synchronised") }
    }

    private static func refused(_ path: String, _ what: String) -> MMedError {
        MMedError(.tryAgain, at: path, "\(what) (\(systemMessage()))", mend: "check the disk's space and permissions")
    }
}

extension FailpointSite {
    /// A file's bytes are handed to the kernel, not yet on the disk.
    static let fileWritten = FailpointSite("file-written")
    /// A file is on the disk, under its temporary name where it has one.
    static let fileSynced = FailpointSite("file-synced")
    /// A new folder is on the disk, beside the one that it will replace.
    static let folderFilled = FailpointSite("folder-filled")
    /// The former folder has left its place, the new one is not there yet.
    static let folderSetAside = FailpointSite("folder-set-aside", canThrow: false)
    /// The new folder is in its place; its parent is not yet on the disk.
    static let folderRenamed = FailpointSite("folder-renamed", canThrow: false)
    /// The new folder is in its place for good; the former one is still there.
    static let folderPlaced = FailpointSite("folder-placed")
}

extension DurableFile {
    /// The steps of writing files and folders that a test can hit.
    public static let failpoints: [FailpointSite] = [
        .fileWritten, .fileSynced, .folderFilled, .folderSetAside, .folderRenamed, .folderPlaced,
    ]
}
