import Testing

@testable import MMedCodec

@Suite("CRC-32C")
struct ChecksumTests {
    @Test("the values of RFC 3720, B.4")
    func published() {
        #expect(FrameHeader.checksum([UInt8](repeating: 0, count: 32)[...]) == 0x8A91_36AA)
        #expect(FrameHeader.checksum([UInt8](repeating: 0xFF, count: 32)[...]) == 0x62A8_AB43)
        #expect(FrameHeader.checksum(Array(0..<32)[...]) == 0x46DD_794E)
        #expect(FrameHeader.checksum(Array("123456789".utf8)[...]) == 0xE306_9283)
        #expect(FrameHeader.checksum([]) == 0)
    }

    @Test("the fast and the portable way agree on every length")
    func portable() {
        var draw = Draw(seed: 31)
        let bytes = (0..<300).map { _ in draw.byte() }
        for length in 0...300 {
            #expect(FrameHeader.checksum(bytes[..<length]) == FrameHeader.portableChecksum(bytes[..<length]))
        }
    }
}
