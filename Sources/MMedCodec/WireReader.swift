import CWire
import MMedCore
import MMedProtocol

/// Steps 5 and 6 of reading: an unpacked message, its memory, and fields taken from it with their checks.
final class WireReader {
    private let arena: OpaquePointer

    /// The budget grows with the payload and ends at a fixed bound.
    init(rawBytes: Int) throws(CodecError) {
        let budget = min(16 * rawBytes + (256 << 10), Limits.decodeArenaBytes)
        guard let arena = mmed_arena_new(budget, Limits.decodeArenaBlocks) else {
            throw .malformed(reason: "out of memory")
        }
        self.arena = arena
    }

    deinit { mmed_arena_free(arena) }

    /// The message of a payload; it lives as long as the reader.
    func unpack<T>(
        _ payload: UnsafeBufferPointer<UInt8>,
        _ unpack: (UnsafeMutablePointer<ProtobufCAllocator>?, Int, UnsafePointer<UInt8>?) -> UnsafeMutablePointer<T>?
    ) throws(CodecError) -> UnsafeMutablePointer<T> {
        guard let message = unpack(mmed_arena_allocator(arena), payload.count, payload.baseAddress) else {
            throw .malformed(reason: "the payload is no protobuf message of its type within the budget")
        }
        return message
    }
}

/// Fields of C structs as values.
enum Field {
    static func bytes(_ data: ProtobufCBinaryData) -> [UInt8] {
        guard data.len > 0, let base = data.data else { return [] }
        return Array(UnsafeBufferPointer(start: base, count: data.len))
    }

    /// Little-endian words, one after the other.
    static func words<Word: FixedWidthInteger>(
        _ data: ProtobufCBinaryData, _ field: String
    ) throws(CodecError) -> [Word] {
        try elements(data, field) { $0 }
    }

    static func floats(_ data: ProtobufCBinaryData, _ field: String) throws(CodecError) -> [Float] {
        try elements(data, field) { Float(bitPattern: $0) }
    }

    /// An element of each little-endian word.
    @inline(__always)
    private static func elements<Word: FixedWidthInteger, Element>(
        _ data: ProtobufCBinaryData, _ field: String, _ element: (Word) -> Element
    ) throws(CodecError) -> [Element] {
        let size = MemoryLayout<Word>.size
        try require(data.len % size == 0, "\(field): \(data.len) bytes are no whole number of \(size)-byte words")
        guard data.len > 0, let base = data.data else { return [] }
        let count = data.len / size
        return [Element](unsafeUninitializedCapacity: count) { target, initialised in
            let source = UnsafeRawPointer(base)
            for index in 0..<count {
                let word = source.loadUnaligned(fromByteOffset: index * size, as: Word.self)
                target.initializeElement(at: index, to: element(Word(littleEndian: word)))
            }
            initialised = count
        }
    }

    static func text(_ data: ProtobufCBinaryData, limit: Int, _ field: String) throws(CodecError) -> String {
        try require(data.len <= limit, "\(field): \(data.len) bytes are above \(limit)")
        guard let text = String(validating: bytes(data), as: UTF8.self) else {
            throw .malformed(reason: "\(field): not UTF-8")
        }
        return text
    }

    static func name(_ data: ProtobufCBinaryData, _ field: String) throws(CodecError) -> Name {
        guard let name = Name(try text(data, limit: 64, field)) else {
            throw .malformed(reason: "\(field): not a name by [a-z0-9][a-z0-9._-]{0,63}")
        }
        return name
    }

    static func digest(_ data: ProtobufCBinaryData, _ field: String) throws(CodecError) -> Digest {
        guard data.len == 32, let digest = Digest(bytes: bytes(data)) else {
            throw .malformed(reason: "\(field): \(data.len) bytes are no SHA-256")
        }
        return digest
    }

    static func count<Source: BinaryInteger>(_ value: Source, _ field: String) throws(CodecError) -> Int {
        guard let count = Int(exactly: value) else { throw .malformed(reason: "\(field): \(value) is out of range") }
        return count
    }

    static func present<T>(_ message: UnsafeMutablePointer<T>?, _ field: String) throws(CodecError) -> T {
        guard let message else { throw .malformed(reason: "\(field) is missing") }
        return message.pointee
    }

    /// The submessages of a repeated field.
    static func list<T>(
        _ base: UnsafeMutablePointer<UnsafeMutablePointer<T>?>?, _ count: Int, limit: Int, _ field: String
    ) throws(CodecError) -> [T] {
        try require(count <= limit, "\(field): \(count) are above \(limit)")
        var values: [T] = []
        values.reserveCapacity(count)
        for index in 0..<count { values.append(try present(base?[index], field)) }
        return values
    }

    /// The byte strings of a repeated field.
    static func list(
        _ base: UnsafeMutablePointer<ProtobufCBinaryData>?, _ count: Int, limit: Int, _ field: String
    ) throws(CodecError) -> [ProtobufCBinaryData] {
        try require(count <= limit, "\(field): \(count) are above \(limit)")
        guard let base else { return [] }
        return Array(UnsafeBufferPointer(start: base, count: count))
    }

    static func slots(_ data: ProtobufCBinaryData, _ field: String) throws(CodecError) -> [SlotID] {
        let words: [Int32] = try words(data, field)
        try require(words.count % 6 == 0, "\(field): \(data.len) bytes are no whole number of slots")
        return stride(from: 0, to: words.count, by: 6).map { at in
            SlotID(
                stage: words[at], track: words[at + 1], step: words[at + 2], question: words[at + 3],
                guideline: words[at + 4], sample: words[at + 5])
        }
    }

    static func shard(_ data: ProtobufCBinaryData) throws(CodecError) -> ShardID {
        let words: [Int32] = try words(data, "shard")
        try require(words.count == 5, "shard: \(data.len) bytes are not 20")
        return ShardID(stage: words[0], track: words[1], step: words[2], update: words[3], shard: words[4])
    }
}
