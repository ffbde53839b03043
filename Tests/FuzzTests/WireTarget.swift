import MMedProtocol

@testable import MMedCodec

extension FuzzTarget {
    /// Frames in both directions: header, LZ4, protobuf, the rules of every field.
    static let wire = FuzzTarget(name: "wire", lengthMost: 16_384, seeds: { try WireSeeds.frames() }) { bytes in
        try checkFrame(bytes)
        // A search cannot guess checksums, so the same bytes go behind valid ones too.
        try checkFrame(resealed(bytes))
    }

    private static func checkFrame(_ frame: [UInt8]) throws {
        let budget = decodingBudget(frame)
        if let message = try reading(
            "decodeWorkerMessage", budget: budget, { try MessageCodec.decodeWorkerMessage(frame) })
        {
            let written = try rereading("encode \(message)") { try MessageCodec.encode(message) }
            let again = try rereading("decodeWorkerMessage") { try MessageCodec.decodeWorkerMessage(written) }
            try demand(again == message, "a worker's message changed on the wire: \(message) became \(again)")
            let rewritten = try rereading("encode") { try MessageCodec.encode(again) }
            try demand(rewritten == written, "two encodings of one message differ: \(message)")
        }
        if let message = try reading(
            "decodeCoordinatorMessage", budget: budget, { try MessageCodec.decodeCoordinatorMessage(frame) })
        {
            let written = try rereading("encode \(message)") { try MessageCodec.encode(message) }
            let again = try rereading("decodeCoordinatorMessage") { try MessageCodec.decodeCoordinatorMessage(written) }
            try demand(again == message, "a coordinator's message changed on the wire: \(message) became \(again)")
            let rewritten = try rereading("encode") { try MessageCodec.encode(again) }
            try demand(rewritten == written, "two encodings of one message differ: \(message)")
        }
        if let sequence = try reading("sequence", budget: budget, { try MessageCodec.sequence(of: frame) }) {
            var stamped = frame
            MessageCodec.stamp(sequence &+ 1, on: &stamped)
            let found = try rereading("sequence") { try MessageCodec.sequence(of: stamped) }
            try demand(found == sequence &+ 1, "sequence \(sequence &+ 1) was stamped, \(found) found")
        }
    }

    /// The raw bytes, the arena of the protobuf reader with its last chunk half used, and the values made of both: a field of
    /// two bytes may stand for a struct of some hundred. A frame whose header is refused costs its message alone.
    private static func decodingBudget(_ frame: [UInt8]) -> Int {
        guard let header = try? FrameHeader.read(frame) else { return 4096 }
        let raw = Int(header.rawLength)
        let arena = min(16 * raw + (256 << 10), Limits.decodeArenaBytes)
        return raw + 2 * arena + 256 * raw + (64 << 10)
    }

    /// The frame with magic, version, stored length and checksums made right; type, flag, raw length and payload stay.
    static func resealed(_ bytes: [UInt8]) -> [UInt8] {
        let head = Limits.headerBytes
        var frame = bytes + [UInt8](repeating: 0, count: max(0, head - bytes.count))
        let compressed = frame[7] & FrameHeader.compressedFlag != 0
        let raw = (0..<4).reduce(UInt32(0)) { $0 | UInt32(frame[8 + $1]) << UInt32(8 * $1) }
        let stored = UInt32(frame.count - head)
        let header = FrameHeader(
            type: frame[6], compressed: compressed, rawLength: compressed ? raw : stored, storedLength: stored,
            sequence: UInt64(frame[16]), payloadChecksum: FrameHeader.checksum(frame[head...]))
        header.write(to: &frame)
        return frame
    }
}

/// One small frame of each kind, and compressed ones.
enum WireSeeds {
    static func frames() throws -> [(name: String, bytes: [UInt8])] {
        var smallest: [String: [UInt8]] = [:]
        var compressed: [String: [UInt8]] = [:]
        for seed in UInt64(1)...40 {
            var draw = Draw(seed: seed)
            let worker = try draw.workerMessages().map { (kind($0), try MessageCodec.encode($0, sequence: seed)) }
            let coordinator = try draw.coordinatorMessages().map {
                (kind($0), try MessageCodec.encode($0, sequence: seed))
            }
            for (kind, frame) in worker + coordinator {
                let isCompressed = frame[7] == FrameHeader.compressedFlag
                let known = isCompressed ? compressed[kind] : smallest[kind]
                if known.map({ $0.count <= frame.count }) ?? false { continue }
                if isCompressed { compressed[kind] = frame } else { smallest[kind] = frame }
            }
        }
        let text = String(repeating: "the lease is over, ", count: 50)
        compressed["goodbye"] = try MessageCodec.encode(.goodbye(reason: text))
        compressed["end"] = try MessageCodec.encode(.end(reason: text))
        return smallest.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
            + compressed.sorted { $0.key < $1.key }.map { ($0.key + "-lz4", $0.value) }
    }

    /// The name of a message's case.
    private static func kind(_ message: Any) -> String {
        let name = Mirror(reflecting: message).children.first?.label ?? "\(message)"
        return String(name.prefix { $0.isLetter })
    }
}
