import Testing

@testable import MMedFormats

@Suite struct ElementTypeTests {
    private func decode(_ bytes: [UInt8], _ type: ElementType, _ count: Int) -> [Float] {
        var values = [Float](repeating: .nan, count: count)
        bytes.withUnsafeBytes { source in
            values.withUnsafeMutableBufferPointer { dequantise(source, as: type, into: $0) }
        }
        return values
    }

    @Test func plainTypes() {
        #expect(decode([0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0], .f32, 2) == [1, -2])
        // binary16: 1, -2, 65504, the smallest subnormal 2^-24, infinity.
        #expect(
            decode([0x00, 0x3C, 0x00, 0xC0, 0xFF, 0x7B, 0x01, 0x00, 0x00, 0x7C], .f16, 5)
                == [1, -2, 65504, 0x1p-24, .infinity])
        #expect(decode([0x80, 0x3F, 0x00, 0xC0, 0x49, 0x40], .bf16, 3) == [1, -2, 3.140625])
    }

    @Test func everyHalfIsThatOfTheProcessor() {
        for bits in UInt16.min...UInt16.max {
            let expected = Float(Float16(bitPattern: bits))
            let found = float(half: bits)
            #expect(found == expected && found.sign == expected.sign || found.isNaN && expected.isNaN, "\(bits)")
        }
    }

    @Test func fourBitsWithoutMinimum() {
        // d = 0.5; low halves are the first 16 elements, high halves the last 16.
        let bytes: [UInt8] = [0x00, 0x38] + (0..<16).map { UInt8($0) | UInt8(15 - $0) << 4 }
        let rising = (0..<16).map { (Float($0) - 8) * 0.5 }
        let expected: [Float] = rising + rising.reversed()
        #expect(decode(bytes, .q4zero, 32) == expected)
        #expect(expected[0] == -4 && expected[31] == -4 && expected[16] == 3.5)
    }

    @Test func fourBitsWithMinimum() {
        // d = 0.25, m = -1.
        let bytes: [UInt8] = [0x00, 0x34, 0x00, 0xBC] + (0..<16).map { UInt8(15 - $0) | UInt8($0) << 4 }
        let quarters = (0..<16).map { Float($0) * 0.25 - 1 }
        let expected: [Float] = quarters.reversed() + quarters
        #expect(decode(bytes, .q4one, 32) == expected)
        #expect(expected[0] == 2.75 && expected[16] == -1)
    }

    @Test func eightBitsInTwoBlocks() {
        // d = 2, then d = -0.5.
        let first: [UInt8] = [0x00, 0x40] + (0..<32).map { UInt8(bitPattern: Int8($0 - 16)) }
        let second: [UInt8] = [0x00, 0xB8] + [0x80, 0x7F] + [UInt8](repeating: 1, count: 30)
        let values = decode(first + second, .q8zero, 64)
        #expect(Array(values[..<32]) == (0..<32).map { Float($0 - 16) * 2 })
        #expect(values[32] == 64 && values[33] == -63.5 && values[34] == -0.5)
    }

    @Test func sizesThatDoNotFitAreNil() {
        #expect(ElementType.q4zero.byteCount(elements: 33) == nil)
        #expect(ElementType.q4one.byteCount(elements: 64) == 40)
        #expect(ElementType.f32.byteCount(elements: Int.max) == nil)
        #expect(ElementType.f32.byteCount(elements: -1) == nil)
        #expect(checkedProduct([1 << 40, 1 << 40]) == nil)
        #expect(checkedProduct([]) == 1)
        #expect(checkedProduct([0, -1]) == nil)
    }
}
