import CWire
import MMedCore
import MMedProtocol

/// The C structs of one message while it is written; they live as long as the writer.
final class WireWriter {
    private let arena: OpaquePointer

    init() throws(CodecError) {
        // Twice a frame, for the copies of bulk fields, and room for the structs themselves.
        guard let arena = mmed_arena_new(4 * Limits.frameBytes, .max) else { throw .malformed(reason: "out of memory") }
        self.arena = arena
    }

    deinit { mmed_arena_free(arena) }

    private func take(_ bytes: Int) throws(CodecError) -> UnsafeMutableRawPointer {
        guard let block = mmed_arena_take(arena, bytes) else {
            throw .malformed(reason: "the message is above \(Limits.payloadBytes) bytes")
        }
        return block
    }

    /// A new C struct, set up by its generated initialiser.
    func make<T>(_ initialise: (UnsafeMutablePointer<T>?) -> Void) throws(CodecError) -> UnsafeMutablePointer<T> {
        let made = try take(MemoryLayout<T>.size).bindMemory(to: T.self, capacity: 1)
        initialise(made)
        return made
    }

    /// A C array of as many elements.
    func array<T>(of _: T.Type, count: Int) throws(CodecError) -> UnsafeMutablePointer<T>? {
        guard count > 0 else { return nil }
        return try take(count * MemoryLayout<T>.stride).bindMemory(to: T.self, capacity: count)
    }

    func bytes(_ source: [UInt8]) throws(CodecError) -> ProtobufCBinaryData {
        guard !source.isEmpty else { return ProtobufCBinaryData(len: 0, data: nil) }
        let copy = try take(source.count).bindMemory(to: UInt8.self, capacity: source.count)
        source.withUnsafeBufferPointer { copy.initialize(from: $0.baseAddress ?? UnsafePointer(copy), count: $0.count) }
        return ProtobufCBinaryData(len: source.count, data: copy)
    }

    /// Little-endian words, one after the other.
    func words<Word: FixedWidthInteger>(_ source: [Word]) throws(CodecError) -> ProtobufCBinaryData {
        try elements(source) { $0 }
    }

    func floats(_ source: [Float]) throws(CodecError) -> ProtobufCBinaryData {
        try elements(source) { $0.bitPattern }
    }

    /// Each element as a little-endian word.
    @inline(__always)
    private func elements<Element, Word: FixedWidthInteger>(
        _ source: [Element], _ word: (Element) -> Word
    ) throws(CodecError) -> ProtobufCBinaryData {
        guard !source.isEmpty else { return ProtobufCBinaryData(len: 0, data: nil) }
        let byteCount = source.count * MemoryLayout<Word>.size
        let block = try take(byteCount)
        let copy = block.bindMemory(to: Word.self, capacity: source.count)
        for index in source.indices { (copy + index).initialize(to: word(source[index]).littleEndian) }
        return ProtobufCBinaryData(len: byteCount, data: block.assumingMemoryBound(to: UInt8.self))
    }

    func name(_ name: Name) throws(CodecError) -> ProtobufCBinaryData { try bytes(Array(name.text.utf8)) }

    func digest(_ digest: Digest) throws(CodecError) -> ProtobufCBinaryData { try bytes(digest.bytes) }

    /// UTF-8, cut at a character when it is too long: words for people must not cost the message.
    func text(_ text: String, limit: Int) throws(CodecError) -> ProtobufCBinaryData {
        var bytes = Array(text.utf8.prefix(limit + 1))
        if bytes.count > limit {
            var end = limit
            while end > 0, bytes[end] & 0xC0 == 0x80 { end -= 1 }
            bytes.removeSubrange(end...)
        }
        return try self.bytes(bytes)
    }

    func slots(_ slots: [SlotID]) throws(CodecError) -> ProtobufCBinaryData {
        var words: [Int32] = []
        words.reserveCapacity(slots.count * 6)
        for slot in slots {
            words += [slot.stage, slot.track, slot.step, slot.question, slot.guideline, slot.sample]
        }
        return try self.words(words)
    }

    func shard(_ shard: ShardID) throws(CodecError) -> ProtobufCBinaryData {
        try words([shard.stage, shard.track, shard.step, shard.update, shard.shard])
    }
}

/// Every generated struct begins with the generic message.
func asMessage<T>(_ message: UnsafeMutablePointer<T>) -> UnsafePointer<ProtobufCMessage> {
    UnsafeRawPointer(message).assumingMemoryBound(to: ProtobufCMessage.self)
}
