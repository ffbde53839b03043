import MMedCore

/// A safetensors file: a JSON header with the place of each tensor, then their bytes without gaps or overlaps.
struct SafetensorsFile: Sendable {
    struct Tensor: Sendable {
        let shape: [Int]
        let type: ElementType
        /// Bytes before it in the file.
        let offset: Int
        let byteCount: Int

        var rowWidth: Int { shape.dropFirst().reduce(1, *) }
    }

    let file: MappedFile
    let tensors: [String: Tensor]
    /// The `__metadata__` member.
    let metadata: [String: String]

    /// The format's own bound on the header.
    private static let headerMost = 100_000_000

    init(path: String) throws { try self.init(MappedFile(path: path)) }

    init(_ file: MappedFile) throws {
        let path = file.path
        self.file = file
        (tensors, metadata) = try file.withAllBytes { bytes in
            var cursor = ByteCursor(bytes, file: path)
            let length = try cursor.count("the length of the header", minimumSize: 1)
            guard (2...SafetensorsFile.headerMost).contains(length) else {
                throw cursor.failure(
                    "the header has \(length) bytes, expected 2 to \(SafetensorsFile.headerMost)", at: 0)
            }
            let header = try JSONValue.parse(
                UnsafeRawBufferPointer(rebasing: bytes[8..<8 + length]), at: "\(path): header")
            return try SafetensorsFile.tensors(
                JSONReader(header, at: path), dataStart: 8 + length, dataCount: bytes.count - 8 - length)
        }
    }

    /// Decodes rows that lie inside the tensor; there are exactly as many values.
    func rows(of tensor: Tensor, _ range: Range<Int>, into values: UnsafeMutableBufferPointer<Float>) throws {
        let rowBytes = tensor.rowWidth * tensor.type.blockBytes
        try file.withBytes(at: tensor.offset + range.lowerBound * rowBytes, count: range.count * rowBytes) {
            dequantise($0, as: tensor.type, into: values)
        }
    }

    func values(of tensor: Tensor) throws -> [Float] {
        let count = tensor.byteCount / tensor.type.blockBytes
        var values = [Float](repeating: 0, count: count)
        try values.withUnsafeMutableBufferPointer { target in
            try file.withBytes(at: tensor.offset, count: tensor.byteCount) {
                dequantise($0, as: tensor.type, into: target)
            }
        }
        return values
    }

    private static func tensors(
        _ header: JSONReader, dataStart: Int, dataCount: Int
    ) throws -> ([String: Tensor], [String: String]) {
        var tensors: [String: Tensor] = [:]
        var metadata: [String: String] = [:]
        var places: [(offset: Int, end: Int, name: String)] = []
        for name in try header.object().keys {
            let entry = try header.required(name)
            if name == "__metadata__" {
                for key in try entry.object().keys { metadata[key] = try entry.required(key).string() }
                continue
            }
            let (tensor, end) = try tensor(entry, dataStart: dataStart, dataCount: dataCount)
            tensors[name] = tensor
            places.append((tensor.offset - dataStart, end, name))
        }
        places.sort { ($0.offset, $0.end) < ($1.offset, $1.end) }
        var end = 0
        for place in places {
            guard place.offset == end else {
                throw MMedError(
                    .badData, at: "\(header.place): \(place.name)",
                    "begins at byte \(place.offset) of the data, expected \(end): tensors neither overlap nor leave gaps",
                    mend: "fetch the file again")
            }
            end = place.end
        }
        guard end == dataCount else {
            throw MMedError(
                .badData, at: header.place, "has \(dataCount) bytes of data, expected \(end) by its header",
                mend: "fetch the file again")
        }
        return (tensors, metadata)
    }

    private static func tensor(_ entry: JSONReader, dataStart: Int, dataCount: Int) throws -> (Tensor, end: Int) {
        let typeName = try entry.required("dtype").string()
        guard let type = ElementType(rawValue: typeName), type.blockElements == 1 else {
            throw MMedError(.badData, at: "\(entry.place): dtype", "is \(typeName), expected F32, F16 or BF16")
        }
        let shape = try entry.required("shape").array().map { try $0.integer() }
        let offsets = try entry.required("data_offsets").array().map { try $0.integer() }
        guard offsets.count == 2, 0 <= offsets[0], offsets[0] <= offsets[1], offsets[1] <= dataCount else {
            throw MMedError(
                .badData, at: "\(entry.place): data_offsets",
                "are \(offsets), expected begin and end within \(dataCount)",
                mend: "fetch the file again")
        }
        guard let elements = checkedProduct(shape), let byteCount = type.byteCount(elements: elements),
            byteCount == offsets[1] - offsets[0]
        else {
            throw MMedError(
                .badData, at: "\(entry.place): data_offsets",
                "hold \(offsets[1] - offsets[0]) bytes, which is not shape \(shape) of \(typeName)",
                mend: "fetch the file again")
        }
        let tensor = Tensor(shape: shape, type: type, offset: dataStart + offsets[0], byteCount: byteCount)
        return (tensor, offsets[1])
    }
}
