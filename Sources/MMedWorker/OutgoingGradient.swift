import MMedProtocol

/// A gradient on its way, kept until the coordinator has all of it.
struct OutgoingGradient {
    let lease: LeaseID
    let shard: ShardID
    let gradient: ShardGradient
    /// Bytes before the next chunk to send; a new connection begins again at 0.
    var offset = 0
    /// One sender at a time: two would mix their chunks.
    var isSending = false

    /// The next chunk; nil when all are sent.
    mutating func nextChunk() -> GradientChunk? {
        let total = gradient.bytes.count
        guard offset < total else { return nil }
        let end = min(total, offset + Limits.gradientChunkBytes)
        defer { offset = end }
        return GradientChunk(
            lease: lease, shard: shard, offset: offset, totalBytes: total, digest: gradient.digest,
            bytes: Array(gradient.bytes[offset..<end]), statistics: gradient.statistics)
    }
}

/// Cuts paths into messages that surely fit a frame.
enum PathMessages {
    /// Bytes of one message, about; a path of the longest completion is half of it.
    static let bytesMax = 1 << 20

    static func cut(_ paths: [Trajectory]) -> [[Trajectory]] {
        var messages: [[Trajectory]] = []
        var current: [Trajectory] = []
        var bytes = 0
        for path in paths {
            // Ids, log-probs and letters are 32-bit numbers; the rest is less than this constant.
            let size = 8 * path.completionIds.count + 4 * path.choiceLogprobs.count + 256
            if !current.isEmpty && bytes + size > bytesMax {
                messages.append(current)
                current = []
                bytes = 0
            }
            current.append(path)
            bytes += size
        }
        if !current.isEmpty { messages.append(current) }
        return messages
    }
}

/// A reason that fits into a message, cut between characters.
func boundedReason(_ text: String) -> String {
    var bytes = 0
    return String(
        text.prefix { character in
            bytes += character.utf8.count
            return bytes <= Limits.reasonBytes
        })
}
