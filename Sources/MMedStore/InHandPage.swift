import Foundation
import MMedCore
import MMedProtocol

/// The 8 KiB of the file `in-hand`, this machine's byte order: a head, a mark for each place, and a table of what was in hand at
/// crashes.
struct InHandPage {
    /// What was in hand, and at how many crashes.
    struct Entry {
        var mark: FrameMark
        var crashes: Int
    }

    private static let magic: UInt64 = 0x444E_4148_4445_4D4D
    private static let byteCount = 8192
    private static let markBytes = 128
    private static let tableStart = 4096
    private static let entryBytes = 128
    static let entriesMost = (byteCount - tableStart - 8) / entryBytes

    let base: UnsafeMutableRawPointer

    // MARK: The file

    /// Maps the file, made anew where it is missing or damaged.
    static func map(_ path: String) throws -> (page: InHandPage, isNew: Bool, wasDamaged: Bool) {
        func refused(_ what: String) -> MMedError {
            MMedError(
                .tryAgain, at: path, "\(what) (\(String(cString: strerror(errno))))",
                mend: "check the disk, or remove it, then go on with --resume")
        }
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw refused("cannot be opened") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw refused("cannot be looked at") }
        let found = Int(status.st_size)
        if found != byteCount {
            // Its blocks are taken now: a full disk must not end the process at a store into the page.
            guard ftruncate(descriptor, 0) == 0, ftruncate(descriptor, off_t(byteCount)) == 0 else {
                throw refused("cannot be made")
            }
            let code = posix_fallocate(descriptor, 0, off_t(byteCount))
            guard code == 0 else {
                errno = code
                throw refused("cannot be made")
            }
        }
        guard let mapped = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
            mapped != MAP_FAILED
        else { throw refused("cannot be mapped") }
        let page = InHandPage(base: mapped)
        if found == byteCount, page.load(0) == magic { return (page, false, false) }
        memset(mapped, 0, byteCount)
        var random = SystemRandomNumberGenerator()
        page.store(random.next(), 16)
        page.store(random.next(), 24)
        page.store(magic, 0)
        try page.synchronise(path)
        return (page, true, found != 0)
    }

    func synchronise(_ path: String) throws {
        guard msync(base, InHandPage.byteCount, MS_SYNC) == 0 else {
            throw MMedError(
                .tryAgain, at: path, "cannot be synchronised (\(String(cString: strerror(errno))))",
                mend: "check the disk, then resume")
        }
    }

    // MARK: The head

    /// The secret of the hashes.
    var keys: (UInt64, UInt64) { (load(16), load(24)) }
    /// Set by the handler of a crash.
    var crashFlag: UnsafeMutablePointer<UInt32> { (base + 8).assumingMemoryBound(to: UInt32.self) }
    var crashed: Bool { load(8) != 0 }

    /// Nothing is in hand, and nothing has crashed.
    func clear() {
        for place in InHandPlace.allCases { hold(nil, at: place) }
        store(0, 8)
    }

    // MARK: The places

    private func start(_ place: InHandPlace) -> Int { 64 + place.rawValue * InHandPage.markBytes }

    func hold(_ mark: FrameMark?, at place: InHandPlace) {
        let start = start(place)
        // Not half of it: a crash while it is written blames nobody.
        store(0, start)
        guard let mark else { return }
        write(mark, start + 8)
        store(1, start)
    }

    func mark(at place: InHandPlace) -> FrameMark? {
        let start = start(place)
        return load(start) == 1 ? mark(start + 8) : nil
    }

    // MARK: The table

    /// Oldest first.
    var entries: [Entry] {
        let count = min(Int(clamping: load(InHandPage.tableStart)), InHandPage.entriesMost)
        return (0..<count).map { index in
            let start = entryStart(index)
            return Entry(mark: mark(start + 8), crashes: Int(clamping: load(start)))
        }
    }

    /// One more crash with this in hand. The table is full at some time: then what crashed least goes, the oldest of those first.
    func count(_ mark: FrameMark) {
        var entries = entries
        if let index = entries.firstIndex(where: { $0.mark == mark }) {
            entries[index].crashes += 1
        } else {
            if entries.count == InHandPage.entriesMost,
                let least = entries.indices.min(by: { entries[$0].crashes < entries[$1].crashes })
            {
                entries.remove(at: least)
            }
            entries.append(Entry(mark: mark, crashes: 1))
        }
        for (index, entry) in entries.enumerated() {
            store(UInt64(entry.crashes), entryStart(index))
            write(entry.mark, entryStart(index) + 8)
        }
        store(UInt64(entries.count), InHandPage.tableStart)
    }

    private func entryStart(_ index: Int) -> Int { InHandPage.tableStart + 8 + index * InHandPage.entryBytes }

    // MARK: Words

    /// A mark's 64 bytes: hash, length, length of the key's text (0 or 40), the text.
    private func write(_ mark: FrameMark, _ start: Int) {
        store(mark.hash, start)
        store(UInt64(mark.byteCount), start + 8)
        guard var text = mark.sender?.text else { return store(0, start + 16) }
        store(40, start + 16)
        text.withUTF8 { (base + start + 24).copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: 40) }
    }

    private func mark(_ start: Int) -> FrameMark {
        let text = String(decoding: UnsafeRawBufferPointer(start: base + start + 24, count: 40), as: UTF8.self)
        return FrameMark(
            hash: load(start), byteCount: Int(clamping: load(start + 8)),
            sender: load(start + 16) == 40 ? PublicKey(text) : nil)
    }

    private func load(_ offset: Int) -> UInt64 { base.load(fromByteOffset: offset, as: UInt64.self) }
    private func store(_ value: UInt64, _ offset: Int) {
        base.storeBytes(of: value, toByteOffset: offset, as: UInt64.self)
    }
}
