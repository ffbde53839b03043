import Glibc
import MMedCore
import MMedLocks

/// Room on a disk for what is needed for a while: a file without a name, gone with the object and with the process. The system
/// keeps it in memory while there is some, and nothing is synchronised.
/// Proof of Sendable: what is written lies behind `length`, which a lock guards; the descriptor is used with given offsets alone.
public final class ScratchFile: Sendable {
    private let folder: String
    private let descriptor: Int32
    private let length = Locked(0)
    /// `O_TMPFILE`, which Swift's view of the C library leaves out (open(2)).
    private static let nameless = 0o20_000_000 | O_DIRECTORY

    /// A file on the disk of this folder. Throws `tryAgain` when the system lacks descriptors or the disk refuses.
    init(in folder: String) throws(MMedError) {
        self.folder = folder
        var file = open(folder, ScratchFile.nameless | O_RDWR | O_CLOEXEC, 0o600)
        if file < 0, [EOPNOTSUPP, EISDIR, ENOENT, EINVAL].contains(errno) {
            file = ScratchFile.unlinked(in: folder)
        }
        guard file >= 0 else { throw refused(folder, "room for a gradient cannot be made") }
        descriptor = file
    }

    /// The same on a file system without nameless files; the name is another thread's for a moment, then the next is free.
    static func unlinked(in folder: String) -> Int32 {
        for number in 0..<1_000 {
            let path = "\(folder)/scratch.\(number).new"
            let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            if file >= 0 { unlink(path) }
            if file >= 0 || errno != EEXIST { return file }
        }
        return -1
    }

    deinit { close(descriptor) }

    /// Bytes appended so far.
    public var count: Int { length.withLock { $0 } }

    /// Appends; one thread at a time. Throws `tryAgain` when there is no room.
    public func append(_ bytes: [UInt8]) throws {
        let start = count
        try bytes.withUnsafeBytes { source in
            guard let base = source.baseAddress else { return }
            var done = 0
            while done < source.count {
                let written = pwrite(descriptor, base + done, source.count - done, off_t(start + done))
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { throw refused(folder, "there is no room for a gradient") }
                done += written
            }
        }
        length.withLock { $0 = start + bytes.count }
    }

    /// So many bytes from `offset` on. Throws `badData` when they were not appended, `tryAgain` when the disk refuses.
    public func bytes(at offset: Int, count: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            let target = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
            try readWhole(descriptor, into: target, at: offset, path: folder)
            filled = count
        }
    }
}
