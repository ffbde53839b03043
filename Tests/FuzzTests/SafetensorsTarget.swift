import MMedCore

@testable import MMedFormats

extension FuzzTarget {
    /// Safetensors files: the JSON header, the places and the values of the tensors.
    static let safetensors = FuzzTarget(
        name: "safetensors", lengthMost: 8192, seeds: { try SafetensorsSeeds.files() }
    ) { bytes in
        let file = MappedFile(copying: bytes, path: "fuzz.safetensors")
        let budget = 512 * bytes.count + (64 << 10)
        guard let read = try reading("SafetensorsFile", budget: budget, { try SafetensorsFile(file) }) else { return }
        var values: [String: [Float]] = [:]
        for (name, tensor) in read.tensors {
            try demand(
                tensor.offset >= 0 && tensor.byteCount >= 0 && tensor.offset + tensor.byteCount <= bytes.count,
                "the tensor \(name) lies outside the file")
            values[name] = try rereading("values of \(name)") { try read.values(of: tensor) }
            try demand(values[name]?.count == checkedProduct(tensor.shape), "\(name) has another count than its shape")
            try checkRows(of: tensor, in: read, against: values[name] ?? [])
        }
        let written = SafetensorsSeeds.file(
            read.tensors.map { .init(name: $0.key, shape: $0.value.shape) }, values: { values[$0.name] ?? [] })
        let again = try rereading("SafetensorsFile") {
            try SafetensorsFile(MappedFile(copying: written, path: "again.safetensors"))
        }
        try demand(again.tensors.mapValues(\.shape) == read.tensors.mapValues(\.shape), "a shape changed when written")
        for (name, tensor) in again.tensors {
            let found = try rereading("values of \(name)") { try again.values(of: tensor) }
            try demand(
                found.map(\.bitPattern) == values[name]?.map(\.bitPattern), "\(name) changed its values when written")
        }
    }

    /// Rows are the same numbers as the whole.
    private static func checkRows(
        of tensor: SafetensorsFile.Tensor, in file: SafetensorsFile, against whole: [Float]
    ) throws {
        guard let rows = tensor.shape.first, rows > 0 else { return }
        let width = tensor.rowWidth
        var last = [Float](repeating: 0, count: width)
        try last.withUnsafeMutableBufferPointer { target in
            try rereading("the last row") { try file.rows(of: tensor, rows - 1..<rows, into: target) }
        }
        try demand(
            last.map(\.bitPattern) == whole.suffix(width).map(\.bitPattern), "the last row differs from the whole")
    }
}

/// Files of each element type and of no tensor.
enum SafetensorsSeeds {
    static func files() throws -> [(name: String, bytes: [UInt8])] {
        let tensors = [
            SafetensorsWriter.Tensor(name: "a", shape: [2, 3]), SafetensorsWriter.Tensor(name: "b", shape: []),
            SafetensorsWriter.Tensor(name: "c", shape: [0, 5]),
        ]
        let half =
            #"{"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"#
            + #""b":{"dtype":"BF16","shape":[1,2],"data_offsets":[4,8]}}"#
        return [
            ("f32", file(tensors) { (0..<$0.count).map { Float($0) } }), ("none", file([]) { _ in [] }),
            ("half", framed(half, data: [0, 60, 255, 127, 128, 63, 192, 127])),
            ("metadata", framed(#"{"__metadata__":{"k":"v","format":"pt"}}"#, data: [])),
        ]
    }

    /// A file by the product's own writer.
    static func file(
        _ tensors: [SafetensorsWriter.Tensor], values: (SafetensorsWriter.Tensor) -> [Float]
    ) -> [UInt8] {
        let (head, order) = SafetensorsWriter.header(tensors)
        return head + order.flatMap { littleEndianBytes(of: values($0)) }
    }

    private static func framed(_ header: String, data: [UInt8]) -> [UInt8] {
        littleEndianBytes(of: UInt64(header.utf8.count)) + Array(header.utf8) + data
    }
}
