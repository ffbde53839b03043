import Glibc
import MMedCore

/// Files that decide whom to trust: read only when nobody but their owner could have read or written them, never overwritten.
enum GuardedFile {
    /// Bytes of a key file or of a list of keys at most.
    static let bytesMax = 1 << 20

    /// The text of a file that belongs to this user, is closed to all others, and is no link.
    /// - Throws: `badConfig` naming the file, what is wrong with it, and the mend.
    static func read(_ path: String, _ what: String, ifMissing: String) throws(MMedError) -> String {
        let file = try opened(path, what, ifMissing)
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw refuse(path, "this is no ordinary file", "give the \(what) itself")
        }
        guard status.st_uid == geteuid() else {
            throw refuse(
                path, "the \(what) belongs to user \(status.st_uid), expected \(geteuid()), who runs this",
                "make it your own: sudo chown $(id -u) \(path)")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw refuse(
                path, "others may use the \(what) (mode \(octal(status.st_mode)), expected 600)",
                "chmod 600 \(path); if others could read a secret in it, make a new key")
        }
        guard status.st_size <= bytesMax else {
            throw refuse(path, "the \(what) has \(status.st_size) bytes, expected at most \(bytesMax)", "give another")
        }
        guard let text = String(validating: try bytes(of: file, path), as: UTF8.self) else {
            throw refuse(path, "the \(what) is no text in UTF-8", "restore it, or make a new one")
        }
        return text
    }

    private static func opened(_ path: String, _ what: String, _ ifMissing: String) throws(MMedError) -> Int32 {
        // Not blocking: a named pipe in the place of the file must not hold the program up.
        let file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        if file >= 0 { return file }
        switch errno {
        case ELOOP: throw refuse(path, "the \(what) is a symbolic link", "give the file that it leads to")
        case ENOENT, ENOTDIR: throw refuse(path, "there is no \(what)", ifMissing)
        default: throw refuse(path, "the \(what) cannot be read: \(describe(errno))", "mend its permissions")
        }
    }

    private static func bytes(of file: Int32, _ path: String) throws(MMedError) -> [UInt8] {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 14)
        while true {
            let count = Glibc.read(file, &piece, piece.count)
            if count == 0 { return bytes }
            if count < 0, errno == EINTR { continue }
            guard count > 0, bytes.count + count <= bytesMax else {
                throw refuse(path, "it cannot be read to its end: \(describe(errno))", "check the disk")
            }
            bytes += piece[..<count]
        }
    }

    /// Writes a file of mode 600 that was not there before, and synchronises it.
    /// - Throws: `usage` when there is one, `tryAgain` when the disk refuses.
    static func create(_ path: String, _ text: String) throws(MMedError) {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            if errno == EEXIST {
                throw MMedError(
                    .usage, at: path, "it is there already, and keys are never overwritten",
                    mend: "choose another name or folder")
            }
            throw failed(path, "cannot be created")
        }
        defer { close(file) }
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failed(path, "cannot be written") }
            done += count
        }
        guard fchmod(file, 0o600) == 0, fsync(file) == 0 else { throw failed(path, "cannot be synchronised") }
    }

    /// Makes a folder of mode 700, or takes one that is this user's alone.
    /// - Throws: `badConfig` when it is another's or open to others, `tryAgain` when the disk refuses.
    static func makeFolder(_ path: String) throws(MMedError) {
        if mkdir(path, 0o700) == 0 {
            guard chmod(path, 0o700) == 0 else { throw failed(path, "cannot be closed to others") }
            return
        }
        guard errno == EEXIST else { throw failed(path, "cannot be created") }
        try checkFolder(path)
    }

    /// Refuses a folder that others may enter: they could put another file in a key's place.
    static func checkFolder(_ path: String) throws(MMedError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            throw refuse(
                path, "there is no folder of keys",
                "make it: mmed-coord keygen --output \(path) --worker NAME --role learner")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw refuse(path, "this is no folder of keys", "give the folder that mmed-coord keygen made")
        }
        guard status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw refuse(
                path, "others may enter the folder of keys (mode \(octal(status.st_mode)), user \(status.st_uid))",
                "make it your own alone: chmod 700 \(path)")
        }
    }

    /// Puts what a new name holds under the old one, and synchronises their folder.
    static func rename(_ path: String, to target: String) throws(MMedError) {
        guard Glibc.rename(path, target) == 0 else { throw failed(target, "cannot be put in place") }
        let end = target.lastIndex(of: "/") ?? target.startIndex
        try synchroniseFolder(end == target.startIndex ? "." : String(target[..<end]))
    }

    /// Makes the names in a folder outlive a crash.
    static func synchroniseFolder(_ path: String) throws(MMedError) {
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw failed(path, "cannot be opened") }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw failed(path, "cannot be synchronised") }
    }

    /// Takes a folder for one process. Throws `tryAgain` when another has it.
    static func lock(_ path: String) throws(MMedError) -> Int32 {
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw failed(path, "cannot be opened") }
        guard flock(folder, LOCK_EX | LOCK_NB) == 0 else {
            close(folder)
            throw MMedError(
                .tryAgain, at: path, "another mmed-coord keygen works in this folder", mend: "wait for it to end")
        }
        return folder
    }

    static func unlock(_ folder: Int32) { close(folder) }

    /// True when the name is taken, whatever by.
    static func isThere(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    static func remove(_ path: String) { unlink(path) }

    /// Removes a folder with its `.key` files; anything else in it stays, and the folder with it.
    static func removeKeys(in path: String) {
        guard let folder = opendir(path) else { return }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".key") { names.append(name) }
        }
        closedir(folder)
        for name in names { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    private static func octal(_ mode: mode_t) -> String { String(mode & 0o7777, radix: 8) }

    private static func refuse(_ path: String, _ problem: String, _ mend: String) -> MMedError {
        MMedError(.badConfig, at: path, problem, mend: mend)
    }

    private static func failed(_ path: String, _ what: String) -> MMedError {
        MMedError(.tryAgain, at: path, "it \(what): \(describe(errno))", mend: "check the disk and its permissions")
    }
}
