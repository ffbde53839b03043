import MMedCodec
import MMedCore
import MMedProtocol
import Testing

@Suite("Messages survive the wire")
struct RoundTripTests {
    @Test("every kind, 200 seeds")
    func everyKind() throws {
        for seed in UInt64(1)...200 {
            var draw = Draw(seed: seed)
            for message in draw.workerMessages() {
                let frame = try MessageCodec.encode(message, sequence: seed)
                #expect(try MessageCodec.decodeWorkerMessage(frame) == message, "seed \(seed)")
                #expect(try MessageCodec.sequence(of: frame) == seed)
                #expect(frame.count <= Limits.frameBytes)
            }
            for message in draw.coordinatorMessages() {
                let frame = try MessageCodec.encode(message, sequence: seed)
                #expect(try MessageCodec.decodeCoordinatorMessage(frame) == message, "seed \(seed)")
            }
        }
    }

    @Test("the same message gives the same bytes")
    func deterministic() throws {
        var (first, second) = (Draw(seed: 7), Draw(seed: 7))
        for (left, right) in zip(first.coordinatorMessages(), second.coordinatorMessages()) {
            #expect(try MessageCodec.encode(left) == MessageCodec.encode(right))
        }
    }

    @Test("a new sequence number replaces the old one and nothing else")
    func stamp() throws {
        var draw = Draw(seed: 3)
        for message in draw.workerMessages() {
            var frame = try MessageCodec.encode(message)
            MessageCodec.stamp(.max - 1, on: &frame)
            #expect(try frame == MessageCodec.encode(message, sequence: .max - 1))
        }
    }

    @Test("the largest gradient chunk and blob chunk fit a frame, compressible or not")
    func largeChunks() throws {
        var draw = Draw(seed: 11)
        let noise = (0..<Limits.gradientChunkBytes).map { _ in draw.byte() }
        for bytes in [noise, [UInt8](repeating: 0, count: noise.count)] {
            let message = WorkerMessage.gradientChunk(
                GradientChunk(
                    lease: draw.lease(), shard: draw.shard(), offset: 0, totalBytes: bytes.count,
                    digest: draw.digest(), bytes: bytes, statistics: draw.statistics()))
            #expect(try MessageCodec.decodeWorkerMessage(MessageCodec.encode(message)) == message)
            let piece = Array(bytes.prefix(Limits.blobChunkBytes))
            let blob = CoordinatorMessage.blobChunk(draw.digest(), offset: 0, totalBytes: bytes.count, bytes: piece)
            #expect(try MessageCodec.decodeCoordinatorMessage(MessageCodec.encode(blob)) == blob)
        }
    }

    @Test("compression is used where it saves an eighth, and only there")
    func compression() throws {
        var draw = Draw(seed: 5)
        var path = draw.trajectory()
        path.completionIds = draw.tokens(2000...2000)
        path.logprobs = [Float](repeating: -1, count: 2000)
        let small = try MessageCodec.encode(.trajectories(draw.lease(), [path]))
        #expect(small.count < 10_000)
        #expect(small[7] == 1)
        let noise = (0..<4096).map { _ in draw.byte() }
        let blob = try MessageCodec.encode(
            CoordinatorMessage.blobChunk(draw.digest(), offset: 0, totalBytes: 4096, bytes: noise))
        #expect(blob[7] == 0)
        // Zeros would shrink beyond the ratio that a reader takes, so they travel as they are.
        let zeros = [UInt8](repeating: 0, count: Limits.blobChunkBytes)
        let flat = try MessageCodec.encode(
            CoordinatorMessage.blobChunk(draw.digest(), offset: 0, totalBytes: zeros.count, bytes: zeros))
        #expect(flat[7] == 0)
    }

    @Test("words for people are cut at a character, they do not cost the message")
    func longReasons() throws {
        let long = String(repeating: "é", count: 2000)
        let frame = try MessageCodec.encode(.goodbye(reason: "x" + long))
        guard case .goodbye(let reason) = try MessageCodec.decodeWorkerMessage(frame) else {
            Issue.record("not a goodbye")
            return
        }
        #expect(reason == "x" + String(long.prefix(511)))
    }
}
