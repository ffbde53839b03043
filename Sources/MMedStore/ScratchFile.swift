import Crypto
import Glibc
import MMedCore
import MMedLocks

/// Room on a disk for what is needed for a while: a file without a name, gone with the object and with the process. The system
/// keeps it in memory while there is some. Nothing is synchronised, so nobody is told of a block that the disk did not take:
/// what is read is held against what was written.
/// Proof of Sendable: what is written lies behind `state`, which a lock guards; the descriptor is used with given offsets alone.
public final class ScratchFile: Sendable {
    private struct State: Sendable {
        var count = 0
        /// Digests of the whole blocks.
        var blocks: [SHA256.Digest] = []
        /// What the last block has so far.
        var last = SHA256()

        mutating func add(_ bytes: [UInt8]) {
            var rest = bytes[...]
            while !rest.isEmpty {
                let piece = rest.prefix(ScratchFile.blockBytes - count % ScratchFile.blockBytes)
                last.update(data: piece)
                count += piece.count
                rest = rest.dropFirst(piece.count)
                if count % ScratchFile.blockBytes == 0 {
                    blocks.append(last.finalize())
                    last = SHA256()
                }
            }
        }

        func digest(of block: Int) -> SHA256.Digest { block < blocks.count ? blocks[block] : last.finalize() }
    }

    private let folder: String
    let descriptor: Int32
    private let state = Locked(State())
    /// What is checked together; what a worker pulls at a time.
    static let blockBytes = 256 << 10
    /// `O_TMPFILE`, which Swift's view of the C library leaves out (open(2)).
    private static let nameless = 0o20_000_000 | O_DIRECTORY

    /// A file on the disk of this folder. Throws `tryAgain` when the system lacks descriptors or the disk refuses.
    init(in folder: String) throws(MMedError) {
        self.folder = folder
        var file = open(folder, ScratchFile.nameless | O_RDWR | O_CLOEXEC, 0o600)
        if file < 0, [EOPNOTSUPP, EISDIR, ENOENT, EINVAL].contains(errno) {
            file = ScratchFile.unlinked(in: folder)
        }
        guard file >= 0 else { throw refused(folder, "room for a gradient or a merge cannot be made") }
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
    public var count: Int { state.withLock { $0.count } }

    /// Appends; one thread at a time. Throws `tryAgain` when there is no room.
    public func append(_ bytes: [UInt8]) throws {
        var state = state.withLock { $0 }
        try bytes.withUnsafeBytes { source in
            guard let base = source.baseAddress else { return }
            var done = 0
            while done < source.count {
                let written = pwrite(descriptor, base + done, source.count - done, off_t(state.count + done))
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { throw refused(folder, "there is no room for a gradient or a merge") }
                done += written
            }
        }
        state.add(bytes)
        let next = state
        self.state.withLock { $0 = next }
    }

    /// So many bytes from `offset` on. Throws `tryAgain` when the disk refuses or gives back other bytes, `internalError` when
    /// they were not appended.
    public func bytes(at offset: Int, count length: Int) throws -> [UInt8] {
        let state = state.withLock { $0 }
        guard offset >= 0, length >= 0, offset <= state.count - length else {
            throw MMedError(.internalError, at: folder, "\(length) bytes at \(offset) of \(state.count) put by")
        }
        if length == 0 { return [] }
        let size = ScratchFile.blockBytes
        var result: [UInt8] = []
        result.reserveCapacity(length)
        for block in offset / size...(offset + length - 1) / size {
            let start = block * size
            let whole = try self.block(start, count: min(size, state.count - start))
            guard SHA256.hash(data: whole) == state.digest(of: block) else {
                throw MMedError(
                    .tryAgain, at: folder, "the disk gives back other bytes than were put by for a while",
                    mend: "look after the disk, then resume")
            }
            result += whole[max(0, offset - start)..<min(whole.count, offset + length - start)]
        }
        return result
    }

    private func block(_ offset: Int, count: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            let target = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
            try readWhole(descriptor, into: target, at: offset, path: folder)
            filled = count
        }
    }
}
