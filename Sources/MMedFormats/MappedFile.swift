import Glibc
import MMedCore

/// A file read through a read-only memory map. It must not be shortened while it is open: the system ends a process that touches pages past the end.
/// Proof of `@unchecked Sendable`: every stored property is a `let`, and once `init` returns the bytes are only read, until deinit gives them back.
public final class MappedFile: @unchecked Sendable {
    /// The path it was opened by.
    public let path: String
    /// Length in bytes.
    public let count: Int
    private let base: UnsafeRawPointer?
    private let isMapped: Bool

    /// Maps a regular file; throws `badData` when there is none or it cannot be read, `tryAgain` when the system lacks
    /// descriptors or memory or its disk fails.
    public init(path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if [EMFILE, ENFILE, ENOMEM, EIO].contains(errno) {
                throw MMedError(.tryAgain, at: path, "cannot be opened (\(systemMessage()))")
            }
            throw MMedError(
                .badData, at: path, "cannot be opened (\(systemMessage()))", mend: "give the path of a file")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw MMedError(.badData, at: path, "is not a regular file", mend: "give the path of a file")
        }
        self.path = path
        self.count = Int(status.st_size)
        isMapped = true
        guard count > 0 else {
            base = nil
            return
        }
        guard let mapped = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), mapped != MAP_FAILED else {
            throw MMedError(.tryAgain, at: path, "cannot be mapped into memory (\(systemMessage()))")
        }
        base = UnsafeRawPointer(mapped)
    }

    /// The same over a private copy of bytes, for content that is not on the disk; `path` names it in errors. The copy is a
    /// block of exactly that size, so that AddressSanitizer sees the first byte that is read past its end.
    init(copying bytes: [UInt8], path: String) {
        self.path = path
        count = bytes.count
        isMapped = false
        guard count > 0 else {
            base = nil
            return
        }
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
        copy.copyBytes(from: bytes)
        base = UnsafeRawPointer(copy.baseAddress)
    }

    deinit {
        guard let base else { return }
        let block = UnsafeMutableRawPointer(mutating: base)
        if isMapped { munmap(block, count) } else { block.deallocate() }
    }

    /// A copy of so many bytes from `offset` on; throws `badData` when they are not all inside the file.
    public func bytes(at offset: Int, count length: Int) throws -> [UInt8] {
        try withBytes(at: offset, count: length) { Array($0) }
    }

    /// Gives pages back that will hardly be read again, so that they do not count as this process's memory; `offset` and
    /// `length` lie inside the file. Reading them again reads the file again.
    public func release(at offset: Int, count length: Int) {
        guard isMapped, let base else { return }
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let start = offset / page * page
        madvise(UnsafeMutableRawPointer(mutating: base + start), offset + length - start, MADV_DONTNEED)
    }

    /// Lends the mapped bytes for the time of the call.
    func withBytes<Result>(
        at offset: Int, count length: Int, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        guard offset >= 0, length >= 0, offset <= count, length <= count - offset else {
            throw MMedError(
                .badData, at: "\(path): byte \(offset)", "ends before the \(length) bytes expected there",
                mend: "fetch the file again")
        }
        guard let base else { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        return try body(UnsafeRawBufferPointer(start: base + offset, count: length))
    }

    func withAllBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        try withBytes(at: 0, count: count, body)
    }
}

/// What the system says about its last error.
func systemMessage() -> String { String(cString: strerror(errno)) }

enum Paths {
    enum Kind { case file, folder, other, none }

    static func kind(_ path: String) -> Kind {
        var status = stat()
        guard stat(path, &status) == 0 else { return .none }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return .file
        case S_IFDIR: return .folder
        default: return .other
        }
    }

    static func join(_ folder: String, _ name: String) -> String {
        folder.hasSuffix("/") ? folder + name : folder + "/" + name
    }

    static func lastComponent(_ path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }

    /// The folder that holds the path, `.` when the path names none.
    static func parent(_ path: String) -> String {
        var bytes = Array(path.utf8)
        while bytes.count > 1, bytes.last == 0x2F { bytes.removeLast() }
        guard let slash = bytes.lastIndex(of: 0x2F) else { return "." }
        return slash == 0 ? "/" : String(decoding: bytes[..<slash], as: UTF8.self)
    }
}
