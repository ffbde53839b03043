import MMedCore

/// Writes safetensors files whose bytes depend on names, shapes and values alone: sorted keys, fp32, metadata `{"format":"pt"}`.
public enum SafetensorsWriter {
    /// A tensor to be written.
    public struct Tensor: Hashable, Sendable {
        /// Its key.
        public var name: String
        /// Rows, then columns.
        public var shape: [Int]

        /// A name and a shape.
        public init(name: String, shape: [Int]) {
            self.name = name
            self.shape = shape
        }

        /// Elements.
        public var count: Int { shape.reduce(1, *) }
    }

    /// The bytes before the data, and the tensors in the order in which their values follow.
    static func header(_ tensors: [Tensor]) -> (bytes: [UInt8], order: [Tensor]) {
        let order = tensors.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        var members: [(String, JSONValue)] = [("__metadata__", .object([("format", .string("pt"))]))]
        var offset = 0
        for tensor in order {
            let end = offset + tensor.count * 4
            members.append(
                (
                    tensor.name,
                    .object([
                        ("dtype", .string("F32")), ("shape", .array(tensor.shape.map { .integer($0) })),
                        ("data_offsets", .array([.integer(offset), .integer(end)])),
                    ])
                ))
            offset = end
        }
        var text = Array(JSONValue.object(members).text().utf8)
        // The format asks for data that begins at a multiple of 8.
        while text.count % 8 != 0 { text.append(0x20) }
        return (littleEndianBytes(of: UInt64(text.count)) + text, order)
    }

    /// Writes the file in one pass and makes it durable; `values` is asked for each tensor once, in sorted order.
    /// Throws what `values` throws, `internalError` for a wrong count of values, `tryAgain` when the disk refuses.
    public static func write(
        to path: String, _ tensors: [Tensor], values: (Tensor) throws -> [Float]
    ) throws {
        let (head, order) = header(tensors)
        try DurableFile.write(path) { append in
            try append(head)
            for tensor in order {
                let numbers = try values(tensor)
                guard numbers.count == tensor.count else {
                    throw MMedError(
                        .internalError, at: "\(path): \(tensor.name)",
                        "\(numbers.count) values were given for shape \(tensor.shape)")
                }
                try append(littleEndianBytes(of: numbers))
            }
        }
    }
}

func littleEndianBytes(of value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

/// The values as little-endian binary32.
func littleEndianBytes(of values: [Float]) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: values.count * 4) { target, count in
        for (index, value) in values.enumerated() {
            UnsafeMutableRawBufferPointer(target).storeBytes(
                of: value.bitPattern.littleEndian, toByteOffset: index * 4, as: UInt32.self)
        }
        count = values.count * 4
    }
}
