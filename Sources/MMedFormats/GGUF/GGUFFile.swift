import MMedCore

/// A GGUF file, version 3, little-endian: metadata and the places of its tensors, all checked against the file's length.
struct GGUFFile: Sendable {
    struct Tensor: Sendable {
        /// Rows, then columns; one entry for a vector.
        let shape: [Int]
        let type: ElementType
        /// Bytes before it in the file.
        let offset: Int
        let byteCount: Int
    }

    let file: MappedFile
    let metadata: GGUFMetadata
    let tensors: [String: Tensor]

    /// The numbers of element types in the GGUF specification; names for those that are not read.
    private static let types: [UInt32: ElementType] = [
        0: .f32, 1: .f16, 2: .q4zero, 3: .q4one, 8: .q8zero, 30: .bf16,
    ]
    private static let foreignTypes: [UInt32: String] = [
        6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
    ]

    init(_ file: MappedFile) throws {
        self.file = file
        (metadata, tensors) = try file.withAllBytes { bytes in
            var cursor = ByteCursor(bytes, file: file.path)
            let (tensorCount, valueCount) = try GGUFFile.header(&cursor)
            let metadata = try GGUFFile.metadata(&cursor, count: valueCount)
            let tensors = try GGUFFile.tensors(&cursor, count: tensorCount, metadata: metadata)
            return (metadata, tensors)
        }
    }

    private static func header(_ cursor: inout ByteCursor) throws -> (tensors: Int, values: Int) {
        let magic = try cursor.integer(UInt32.self, "the magic number")
        guard magic == 0x4655_4747 else { throw cursor.failure("does not begin with GGUF", at: 0) }
        let version = try cursor.integer(UInt32.self, "the version")
        guard version == 3 else {
            throw MMedError(
                .badData, at: "\(cursor.file): byte 4", "is GGUF version \(version), expected 3, little-endian",
                mend: "convert the model again")
        }
        let tensors = try cursor.count("the number of tensors", minimumSize: 32)
        let values = try cursor.count("the number of metadata values", minimumSize: 13)
        return (tensors, values)
    }

    private static func metadata(_ cursor: inout ByteCursor, count: Int) throws -> GGUFMetadata {
        var metadata = GGUFMetadata(file: cursor.file)
        for _ in 0..<count {
            let place = cursor.offset
            let key = try cursor.string("a metadata key")
            let type = try cursor.integer(UInt32.self, "the type of \(key)")
            let value = try GGUFValue(&cursor, type: type, key: key)
            guard metadata.values.updateValue(value, forKey: key) == nil else {
                throw cursor.failure("the key \(key) appears twice", at: place)
            }
        }
        return metadata
    }

    private static func tensors(
        _ cursor: inout ByteCursor, count: Int, metadata: GGUFMetadata
    ) throws -> [String: Tensor] {
        var found: [(name: String, shape: [Int], type: ElementType, offset: UInt64)] = []
        for _ in 0..<count {
            let name = try cursor.string("a tensor name")
            let (shape, type) = try shapeAndType(&cursor, of: name)
            found.append((name, shape, type, try cursor.integer(UInt64.self, "the offset of \(name)")))
        }
        let alignment = try metadata.integer("general.alignment") ?? 32
        guard (8...1 << 20).contains(alignment), alignment & (alignment - 1) == 0 else {
            throw MMedError(
                .badData, at: "\(cursor.file): general.alignment", "is \(alignment), expected a power of two from 8 on")
        }
        let dataStart = (cursor.offset + alignment - 1) & ~(alignment - 1)
        var tensors: [String: Tensor] = [:]
        var places: [(offset: Int, end: Int, name: String)] = []
        for (name, shape, type, offset) in found {
            let tensor = try place(
                (name, shape, type, offset), alignment: alignment, dataStart: dataStart, in: cursor)
            guard tensors.updateValue(tensor, forKey: name) == nil else {
                throw MMedError(.badData, at: "\(cursor.file): \(name)", "the tensor appears twice")
            }
            places.append((tensor.offset, tensor.offset + tensor.byteCount, name))
        }
        places.sort { ($0.offset, $0.end) < ($1.offset, $1.end) }
        for (first, second) in zip(places, places.dropFirst()) where second.offset < first.end {
            throw MMedError(.badData, at: "\(cursor.file): \(second.name)", "overlaps \(first.name) in the file")
        }
        return tensors
    }

    private static func shapeAndType(_ cursor: inout ByteCursor, of name: String) throws -> ([Int], ElementType) {
        let place = cursor.offset
        let dimensions = try cursor.integer(UInt32.self, "the number of dimensions of \(name)")
        guard (1...4).contains(dimensions) else {
            throw cursor.failure("\(name) has \(dimensions) dimensions, expected 1 to 4", at: place)
        }
        var shape: [Int] = []
        for _ in 0..<dimensions {
            let width = try cursor.integer(UInt64.self, "the shape of \(name)")
            guard width > 0, let width = Int(exactly: width) else {
                throw cursor.failure("\(name) has a dimension of \(width) elements", at: place)
            }
            shape.insert(width, at: 0)
        }
        let number = try cursor.integer(UInt32.self, "the type of \(name)")
        guard let type = types[number] else {
            let known = foreignTypes[number].map { " (\($0))" } ?? ""
            let readable = ElementType.allCases.map(\.rawValue).joined(separator: ", ")
            throw MMedError(
                .badData, at: "\(cursor.file): \(name)", "has element type \(number)\(known), expected \(readable)",
                mend: "quantise the model to one of these types")
        }
        return (shape, type)
    }

    private static func place(
        _ tensor: (name: String, shape: [Int], type: ElementType, offset: UInt64), alignment: Int, dataStart: Int,
        in cursor: ByteCursor
    ) throws -> Tensor {
        let (name, shape, type, stored) = tensor
        let location = "\(cursor.file): \(name)"
        guard let columns = shape.last, columns % type.blockElements == 0, let elements = checkedProduct(shape),
            let byteCount = type.byteCount(elements: elements)
        else {
            throw MMedError(
                .badData, at: location, "shape \(shape) is not whole \(type.rawValue) blocks of a size that fits")
        }
        guard let offset = Int(exactly: stored), offset % alignment == 0 else {
            throw MMedError(.badData, at: location, "begins at \(stored), expected a multiple of \(alignment)")
        }
        let available = cursor.bytes.count - dataStart
        guard offset <= available, byteCount <= available - offset else {
            throw MMedError(
                .badData, at: location, "its \(byteCount) bytes at \(offset) lie past the end of the file",
                mend: "fetch the file again")
        }
        return Tensor(shape: shape, type: type, offset: dataStart + offset, byteCount: byteCount)
    }
}
