import Testing

@testable import MMedCore

@Suite struct CounterRandomTests {
    /// Known answers of the Random123 distribution's kat_vectors for philox4x32 with ten rounds.
    @Test func philoxMatchesKnownAnswers() {
        let zero = CounterRandom(key: 0).block(0, 0)
        #expect([zero.0, zero.1, zero.2, zero.3] == [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
        let ones = CounterRandom(key: .max).block(.max, .max)
        #expect([ones.0, ones.1, ones.2, ones.3] == [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd])
    }

    @Test func uniformStaysInsideTheUnitInterval() {
        let random = CounterRandom(key: 7)
        var sum = 0.0
        for counter in 0..<10_000 as Range<UInt64> {
            let value = random.uniform(counter)
            #expect((0.0..<1.0).contains(value))
            sum += value
        }
        // The mean of 10,000 uniforms has standard deviation 0.0029: 0.02 is seven of them.
        #expect(abs(sum / 10_000 - 0.5) < 0.02)
    }

    @Test func row18_namesFollowThePattern() {
        for good in ["a", "adult-medicine", "brain.senses_2", "0"] { #expect(Name(good) != nil, "\(good)") }
        for bad in ["", ".a", "-a", "A", "a..b", "a/b", "a\u{0}", "é", String(repeating: "a", count: 65)] {
            #expect(Name(bad) == nil, "\(bad)")
        }
    }

    @Test func digestsReadTheirOwnHex() {
        let digest = Digest(bytes: (0..<32).map { UInt8($0 * 7 % 256) })
        #expect(digest.flatMap { Digest(hex: $0.hex) } == digest)
        #expect(Digest(hex: "00") == nil)
    }
}
