import Glibc
import MMedCore

/// A blob read piece by piece: an adapter may be as large as what memory is left. Not mapped: a page that the disk refuses would
/// end the process, where a read that fails is an error.
/// Proof of Sendable: the descriptor is read at given offsets alone, and closed when nobody has the object any more.
public final class BlobFile: Sendable {
    private let path: String
    private let descriptor: Int32
    /// Length in bytes.
    public let count: Int

    fileprivate static let mend =
        "restore it from a backup; without one `mmed-coord start --resume` goes on from the newest state that is whole, "
        + "and where none is, begin the run anew"

    /// Throws `badData` when the file is missing, `tryAgain` when the system lacks descriptors or its disk fails.
    init(path: String) throws(MMedError) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT {
                throw MMedError(
                    .badData, at: path, "the run rests on this file, and it is missing", mend: BlobFile.mend)
            }
            throw refused(path, "cannot be opened")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw MMedError(.badData, at: path, "is not a regular file", mend: BlobFile.mend)
        }
        count = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// Throws `badData` when the content is not what its name says.
    func require(_ digest: Digest) throws {
        guard try ContentDigest.of(count: count, bytes) == digest else { throw damaged() }
    }

    func damaged() -> MMedError {
        MMedError(.badData, at: path, "the content does not have the digest of its name", mend: BlobFile.mend)
    }

    /// So many bytes from `offset` on. Throws `badData` when the file ends before, `tryAgain` when the disk refuses.
    public func bytes(at offset: Int, count length: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: length) { buffer, filled in
            try fill(UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: length), at: offset)
            filled = length
        }
    }

    /// So many little-endian fp32 from the byte `offset` on. Throws as `bytes(at:count:)`.
    public func floats(at offset: Int, count length: Int) throws -> [Float] {
        try [Float](unsafeUninitializedCapacity: length) { buffer, filled in
            try fill(UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: 4 * length), at: offset)
            filled = length
        }
    }

    private func fill(_ target: UnsafeMutableRawBufferPointer, at offset: Int) throws {
        try readWhole(descriptor, into: target, at: offset, path: path)
    }
}

/// Fills the target from a file. Throws `badData` when the file ends before, `tryAgain` when the disk refuses.
func readWhole(
    _ descriptor: Int32, into target: UnsafeMutableRawBufferPointer, at offset: Int, path: String
) throws(MMedError) {
    guard let base = target.baseAddress else { return }
    var done = 0
    while done < target.count {
        let got = pread(descriptor, base + done, target.count - done, off_t(offset + done))
        if got < 0, errno == EINTR { continue }
        guard got >= 0 else { throw refused(path, "cannot be read") }
        guard got > 0 else {
            throw MMedError(.badData, at: path, "it ends before byte \(offset + target.count)", mend: BlobFile.mend)
        }
        done += got
    }
}

/// What the system said just now of a file, as an error that goes away with its cause.
func refused(_ path: String, _ what: String) -> MMedError {
    let code = errno
    let mend =
        switch code {
        case EMFILE, ENFILE: "raise the limit of open files (ulimit -n), then resume"
        case ENOSPC, EDQUOT, EFBIG: "make room, then resume"
        default: "look after the disk, then resume"
        }
    return MMedError(.tryAgain, at: path, "\(what) (\(String(cString: strerror(code))))", mend: mend)
}

/// What a blob is made of, in order. Large vectors are written a piece at a time, without a copy of the whole.
public enum BlobPart: Sendable {
    /// Bytes.
    case bytes([UInt8])
    /// Written as little-endian fp32.
    case floats([Float])
    /// What was appended to it.
    case scratch(ScratchFile)

    func forEachPiece(_ body: ([UInt8]) throws -> Void) throws {
        let bytesMax = ContentDigest.pieceBytes
        switch self {
        case .bytes(let bytes): try body(bytes)
        case .floats(let values):
            for start in stride(from: 0, to: values.count, by: bytesMax / 4) {
                try values[start..<min(values.count, start + bytesMax / 4)].withUnsafeBytes { try body(Array($0)) }
            }
        case .scratch(let file):
            for offset in stride(from: 0, to: file.count, by: bytesMax) {
                try body(try file.bytes(at: offset, count: min(bytesMax, file.count - offset)))
            }
        }
    }
}
