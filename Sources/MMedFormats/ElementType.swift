/// How the elements of a stored tensor are coded. Quantised types code blocks of 32 elements along a row.
public enum ElementType: String, CaseIterable, Sendable {
    /// IEEE binary32.
    case f32 = "F32"
    /// IEEE binary16.
    case f16 = "F16"
    /// The upper half of binary32.
    case bf16 = "BF16"
    /// Scale d (binary16), 32 four-bit q: d·(q - 8).
    case q4zero = "Q4_0"
    /// Scale d and minimum m (binary16), 32 four-bit q: d·q + m.
    case q4one = "Q4_1"
    /// Scale d (binary16), 32 signed bytes q: d·q.
    case q8zero = "Q8_0"

    /// Elements of one block, 1 for the types that are not quantised.
    public var blockElements: Int {
        switch self {
        case .f32, .f16, .bf16: 1
        case .q4zero, .q4one, .q8zero: 32
        }
    }

    /// Bytes of one block.
    public var blockBytes: Int {
        switch self {
        case .f32: 4
        case .f16, .bf16: 2
        case .q4zero: 18
        case .q4one: 20
        case .q8zero: 34
        }
    }

    /// Bytes of so many elements; nil when they are not whole blocks or the size does not fit.
    func byteCount(elements: Int) -> Int? {
        guard elements >= 0, elements % blockElements == 0 else { return nil }
        return checkedProduct([elements / blockElements, blockBytes])
    }
}

/// Binary16 to binary32, exact: the exponent is moved by a product with 2^112, which also makes subnormals right.
@inline(__always)
func float(half: UInt16) -> Float {
    let sign = UInt32(half & 0x8000) << 16
    let magnitude = UInt32(half & 0x7FFF) << 13
    let bits =
        half & 0x7C00 == 0x7C00
        ? magnitude | 0x7F80_0000 : (Float(bitPattern: magnitude) * Float(bitPattern: 0x7780_0000)).bitPattern
    return Float(bitPattern: sign | bits)
}

/// Decodes `source`, whole blocks that lie one after the other, into as many fp32 values as `target` holds.
func dequantise(_ source: UnsafeRawBufferPointer, as type: ElementType, into target: UnsafeMutableBufferPointer<Float>)
{
    guard let input = source.baseAddress, let output = target.baseAddress else { return }
    precondition(type.byteCount(elements: target.count) == source.count, "whole blocks")
    switch type {
    case .f32:
        for index in 0..<target.count {
            output[index] = Float(bitPattern: word(input, index * 4))
        }
    case .f16:
        for index in 0..<target.count {
            output[index] = float(half: half(input, index * 2))
        }
    case .bf16:
        for index in 0..<target.count {
            output[index] = Float(bitPattern: UInt32(half(input, index * 2)) << 16)
        }
    case .q4zero, .q4one, .q8zero:
        for block in 0..<target.count / 32 {
            dequantiseBlock(input + block * type.blockBytes, as: type, into: output + block * 32)
        }
    }
}

@inline(__always)
private func dequantiseBlock(_ input: UnsafeRawPointer, as type: ElementType, into output: UnsafeMutablePointer<Float>)
{
    let scale = float(half: half(input, 0))
    switch type {
    case .q4zero:
        for index in 0..<16 {
            let byte = input.load(fromByteOffset: 2 + index, as: UInt8.self)
            output[index] = Float(Int32(byte & 15) - 8) * scale
            output[index + 16] = Float(Int32(byte >> 4) - 8) * scale
        }
    case .q4one:
        let minimum = float(half: half(input, 2))
        for index in 0..<16 {
            let byte = input.load(fromByteOffset: 4 + index, as: UInt8.self)
            output[index] = Float(byte & 15) * scale + minimum
            output[index + 16] = Float(byte >> 4) * scale + minimum
        }
    case .q8zero:
        for index in 0..<32 {
            output[index] = Float(input.load(fromByteOffset: 2 + index, as: Int8.self)) * scale
        }
    case .f32, .f16, .bf16: preconditionFailure("\(type) has no blocks")
    }
}

@inline(__always)
private func half(_ input: UnsafeRawPointer, _ offset: Int) -> UInt16 {
    UInt16(littleEndian: input.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
}

@inline(__always)
private func word(_ input: UnsafeRawPointer, _ offset: Int) -> UInt32 {
    UInt32(littleEndian: input.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
}
