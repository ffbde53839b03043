import MMedCore

/// Reads little-endian values in order; each length is checked against what is left before it is used.
struct ByteCursor {
    let bytes: UnsafeRawBufferPointer
    let file: String
    private(set) var offset = 0

    init(_ bytes: UnsafeRawBufferPointer, file: String) {
        self.bytes = bytes
        self.file = file
    }

    var remaining: Int { bytes.count - offset }

    mutating func integer<T: FixedWidthInteger>(_ type: T.Type, _ what: String) throws -> T {
        let size = T.bitWidth / 8
        try need(size, what)
        defer { offset += size }
        return T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    /// A 64-bit count of things that take at least `minimumSize` bytes each, so that it cannot promise more than the file holds.
    mutating func count(_ what: String, minimumSize: Int) throws -> Int {
        let place = offset
        let count = try integer(UInt64.self, what)
        guard count <= UInt64(remaining / minimumSize) else {
            throw failure("\(what) is \(count), more than the \(remaining) bytes left can hold", at: place)
        }
        return Int(count)
    }

    /// A string with a 64-bit byte count before it.
    mutating func string(_ what: String) throws -> String {
        let length = try count("the length of " + what, minimumSize: 1)
        let place = offset
        defer { offset += length }
        guard let text = String(validating: bytes[offset..<offset + length], as: UTF8.self) else {
            throw failure("\(what) is not UTF-8", at: place)
        }
        return text
    }

    func failure(_ problem: String, at place: Int? = nil) -> MMedError {
        MMedError(.badData, at: "\(file): byte \(place ?? offset)", problem, mend: "fetch the file again")
    }

    private func need(_ size: Int, _ what: String) throws {
        guard size <= remaining else {
            throw failure("the file ends where \(what) (\(size) bytes) was expected")
        }
    }
}

/// The product, or nil when it does not fit.
func checkedProduct(_ factors: [Int]) -> Int? {
    var product = 1
    for factor in factors {
        let (next, overflow) = product.multipliedReportingOverflow(by: factor)
        guard factor >= 0, !overflow else { return nil }
        product = next
    }
    return product
}
