import MMedCore
import MMedProtocol
import Testing

@testable import MMedWorker

@Suite struct OutgoingTests {
    @Test(arguments: [1, Limits.gradientChunkBytes, Limits.gradientChunkBytes + 1, 3 * Limits.gradientChunkBytes - 4])
    func aGradientIsCutInOrder(count: Int) throws {
        let bytes = Sample.noise(count, key: 1)
        var outgoing = OutgoingGradient(
            lease: LeaseID(fence: 1), shard: ShardID(stage: 0, track: 0, step: 0, update: 0, shard: 0),
            gradient: ShardGradient(bytes: bytes, digest: Sample.digest(of: bytes), statistics: ShardStatistics()))
        for _ in 0..<2 {
            var joined: [UInt8] = []
            while let chunk = outgoing.nextChunk() {
                #expect(chunk.offset == joined.count)
                #expect(chunk.totalBytes == count)
                #expect((1...Limits.gradientChunkBytes).contains(chunk.bytes.count))
                joined += chunk.bytes
            }
            #expect(joined == bytes)
            // A new connection.
            outgoing.offset = 0
        }
    }

    @Test func manyPathsAreCutIntoMessagesThatFit() {
        let paths = (0..<40).map { index -> Trajectory in
            var path = Sample.path(Sample.slot(index), nil)
            path.completionIds = Array(repeating: 1, count: index % 3 == 0 ? Limits.sequenceTokens : 10)
            path.logprobs = Array(repeating: -1, count: path.completionIds.count)
            return path
        }
        let messages = PathMessages.cut(paths)
        #expect(messages.flatMap { $0 } == paths)
        for message in messages {
            let bytes = message.reduce(0) { $0 + 8 * $1.completionIds.count + 256 }
            #expect(bytes <= Limits.payloadBytes / 2)
            #expect(!message.isEmpty)
        }
        #expect(PathMessages.cut([]).isEmpty)
    }

    @Test func aReasonFitsWhateverItsCharacters() {
        for text in ["", "short", String(repeating: "a", count: 5_000), String(repeating: "語é👩‍👩‍👧‍👦", count: 900)] {
            let reason = boundedReason(text)
            #expect(reason.utf8.count <= Limits.reasonBytes)
            #expect(text.hasPrefix(reason))
            if text.utf8.count <= Limits.reasonBytes { #expect(reason == text) }
        }
    }
}
