import MMedCore
import MMedProtocol
import Testing

@testable import MMedCodec

@Suite("Bytes that are no message are refused and never trap")
struct HostileBytesTests {
    private func isRefused(_ frame: [UInt8]) -> Bool {
        (try? MessageCodec.decodeWorkerMessage(frame)) == nil
            && (try? MessageCodec.decodeCoordinatorMessage(frame)) == nil
    }

    @Test("every truncation")
    func row06_truncation() throws {
        for seed in UInt64(1)...3 {
            var draw = Draw(seed: seed)
            for message in draw.workerMessages() {
                let frame = try MessageCodec.encode(message)
                for length in 0..<frame.count { #expect(isRefused(Array(frame[..<length])), "\(length)") }
                #expect(isRefused(frame + [0]))
            }
        }
    }

    @Test("every single-bit flip")
    func row06_bitFlips() throws {
        var draw = Draw(seed: 9)
        for message in draw.workerMessages() where !isTrajectories(message) {
            let frame = try MessageCodec.encode(message)
            for bit in 0..<(frame.count * 8) {
                var flipped = frame
                flipped[bit / 8] ^= 1 << UInt8(bit % 8)
                #expect(isRefused(flipped), "bit \(bit)")
            }
        }
    }

    private func isTrajectories(_ message: WorkerMessage) -> Bool {
        if case .trajectories = message { true } else { false }
    }

    @Test("damage behind a valid checksum decodes or is refused, 10^5 times")
    func damageBelowTheChecksum() throws {
        for seed in UInt64(1)...100_000 {
            var draw = Draw(seed: seed)
            let messages = HostileBytesTests.frames
            var frame = messages[Int(seed) % messages.count]
            for _ in 0..<draw.int(1...6) {
                let at = draw.int(32...max(32, frame.count - 1))
                if at < frame.count { frame[at] = draw.byte() }
            }
            reseal(&frame)
            if let message = try? MessageCodec.decodeWorkerMessage(frame) { try Check.message(message) }
            if let message = try? MessageCodec.decodeCoordinatorMessage(frame) { try Check.message(message) }
        }
    }

    private static let frames: [[UInt8]] = {
        var draw = Draw(seed: 1)
        let worker = draw.workerMessages().compactMap { try? MessageCodec.encode($0) }
        return worker + draw.coordinatorMessages().compactMap { try? MessageCodec.encode($0) }
    }()

    @Test("random payloads of every type, 10^5 times")
    func randomBytes() {
        for seed in UInt64(1)...100_000 {
            var draw = Draw(seed: seed &* 977)
            let payload = draw.list(0...96) { $0.bool() ? $0.byte() : UInt8($0.int(0...26)) }
            var frame = [UInt8](repeating: 0, count: 32) + payload
            let type = draw.bool() ? UInt8(draw.int(0...12)) : UInt8(draw.int(64...80))
            let header = FrameHeader(
                type: type, compressed: draw.int(0...3) == 0, rawLength: UInt32(draw.int(0...200)),
                storedLength: UInt32(payload.count), sequence: draw.word(), payloadChecksum: 0)
            header.write(to: &frame)
            reseal(&frame)
            _ = try? MessageCodec.decodeWorkerMessage(frame)
            _ = try? MessageCodec.decodeCoordinatorMessage(frame)
        }
    }

    /// Makes both checksums right again.
    private func reseal(_ frame: inout [UInt8]) {
        let sum = FrameHeader.checksum(frame[32...])
        for index in 0..<4 { frame[24 + index] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * index)) }
        let outer = FrameHeader.checksum(frame[..<28])
        for index in 0..<4 { frame[28 + index] = UInt8(truncatingIfNeeded: outer >> UInt32(8 * index)) }
    }

    private func frame(_ type: UInt8, raw: Int, stored: Int, compressed: Bool, payload: [UInt8]) -> [UInt8] {
        var frame = [UInt8](repeating: 0, count: 32) + payload
        let header = FrameHeader(
            type: type, compressed: compressed, rawLength: UInt32(raw), storedLength: UInt32(stored), sequence: 0,
            payloadChecksum: FrameHeader.checksum(frame[32...]))
        header.write(to: &frame)
        return frame
    }

    @Test("LZ4 bombs and wrong lengths")
    func row16_lz4Bombs() throws {
        // One literal, then matches that repeat it: 4 MiB from 16 kB.
        let run = [UInt8](repeating: 255, count: 16_400)
        let bomb = [0x1F, 0x00, 0x01, 0x00] + run + [0x00, 0x50, 0, 0, 0, 0, 0]
        #expect(throws: CodecError.self) {
            try MessageCodec.decodeWorkerMessage(
                frame(9, raw: 4_000_000, stored: bomb.count, compressed: true, payload: bomb))
        }
        for (raw, stored, compressed) in [
            (5, 4, false), (4, 5, false), (4, 4, true), (3, 4, true), (Limits.frameBytes, 4, true), (0, 4, true),
            (Int(UInt32.max), 4, true), (Int(UInt32.max), Int(UInt32.max), false),
        ] {
            let bytes = frame(9, raw: raw, stored: stored, compressed: compressed, payload: [1, 2, 3, 4])
            #expect(isRefused(bytes), "\(raw) \(stored) \(compressed)")
        }
        // A block that declares more or less than it holds.
        let message = WorkerMessage.goodbye(reason: String(repeating: "abcdefgh", count: 100))
        let good = try MessageCodec.encode(message)
        #expect(good[7] == 1)
        let payload = Array(good[32...])
        let raw = Int(good[8]) + Int(good[9]) << 8
        for wrong in [raw - 1, raw + 1, payload.count + 1, payload.count * 64] {
            let bytes = frame(9, raw: wrong, stored: payload.count, compressed: true, payload: payload)
            #expect(isRefused(bytes), "\(wrong)")
        }
        #expect(!isRefused(frame(9, raw: raw, stored: payload.count, compressed: true, payload: payload)))
    }

    @Test("protobuf bombs end at the budget")
    func row17_protobufBombs() {
        // 2 million empty trajectories, unknown fields, empty options: two bytes each on the wire.
        for tag: UInt8 in [0x12, 0x7A, 0x0A] {
            var payload: [UInt8] = []
            for _ in 0..<2_000_000 { payload += [tag, 0x00] }
            for type: UInt8 in [1, 3, 65, 68] {
                let bytes = frame(type, raw: payload.count, stored: payload.count, compressed: false, payload: payload)
                #expect(isRefused(bytes), "tag \(tag) type \(type)")
            }
        }
        // Deep nesting: an unknown group-like field inside itself is skipped as bytes, never entered.
        var nested: [UInt8] = []
        for _ in 0..<1000 { nested = [0x0A] + varint(nested.count) + nested }
        _ = isRefused(frame(68, raw: nested.count, stored: nested.count, compressed: false, payload: nested))
    }

    private func varint(_ value: Int) -> [UInt8] {
        var (rest, bytes) = (value, [UInt8]())
        repeat {
            bytes.append(UInt8(rest & 127) | (rest > 127 ? 128 : 0))
            rest >>= 7
        } while rest > 0
        return bytes
    }

    @Test("another major is told apart, another minor is read")
    func versions() throws {
        var draw = Draw(seed: 2)
        guard case .hello(var hello) = draw.workerMessages()[0] else { return }
        hello.minor = 9
        let newer = try MessageCodec.encode(.hello(hello))
        #expect(try MessageCodec.decodeWorkerMessage(newer) == .hello(hello))
        hello.major = 2
        let other = try MessageCodec.encode(.hello(hello))
        #expect(throws: CodecError.otherVersion(major: 2, minor: 9)) { try MessageCodec.decodeWorkerMessage(other) }
        // The rest of the header may then mean anything.
        var foreign = other
        for at in 6..<32 { foreign[at] = 0xFF }
        #expect(throws: CodecError.otherVersion(major: 2, minor: 9)) { try MessageCodec.decodeWorkerMessage(foreign) }
    }

    @Test("the two directions do not mix")
    func directions() throws {
        let worker = try MessageCodec.encode(.ready(credits: 1))
        let coordinator = try MessageCodec.encode(.drain)
        #expect(throws: CodecError.self) { try MessageCodec.decodeCoordinatorMessage(worker) }
        #expect(throws: CodecError.self) { try MessageCodec.decodeWorkerMessage(coordinator) }
    }
}
