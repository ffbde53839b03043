import MMedCore
import MMedStore

/// fp32 vectors as the wire and the disk carry them.
enum LittleEndian {
    static func bytes(of values: [Float]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: values.count * 4) { buffer, count in
            values.withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(buffer).copyMemory(from: source)
            }
            count = values.count * 4
        }
    }

    /// Throws `badData` when the bytes are not whole numbers of fp32.
    static func floats(of bytes: ArraySlice<UInt8>, place: String) throws -> [Float] {
        guard bytes.count % 4 == 0 else {
            throw MMedError(.badData, at: place, "\(bytes.count) bytes are not a vector of fp32")
        }
        return [Float](unsafeUninitializedCapacity: bytes.count / 4) { buffer, count in
            bytes.withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(buffer).copyMemory(from: source)
            }
            count = bytes.count / 4
        }
    }

    /// Layout and weights of an adapter's content bytes, for a model of this shape. Throws `badData` when they are not that.
    static func adapter(
        content: [UInt8], shape: ModelShape, place: String
    ) throws -> (layout: AdapterLayout, weights: [Float]) {
        guard let layout = layout(of: content), layout.shape == shape else {
            throw MMedError(
                .badData, at: place, "its bytes are not those of an adapter of this model",
                mend: "use the same model everywhere")
        }
        return (layout, try weights(content: content, layout: layout, place: place))
    }

    /// Layout of the adapter in a blob, for whatever model. Throws `badData` when it is none.
    static func layout(of blob: BlobFile, place: String) throws -> AdapterLayout {
        guard let layout = layout(of: try blob.bytes(at: 0, count: min(signatureBytes, blob.count))) else {
            throw MMedError(.badData, at: place, "its blob is no adapter", mend: "restore the run folder from a backup")
        }
        try require(blob, layout, place)
        return layout
    }

    /// Some of the weights of an adapter's blob, which has this layout.
    static func weights(_ range: Range<Int>, in blob: BlobFile, layout: AdapterLayout) throws -> [Float] {
        try blob.floats(at: head(layout).count + 4 * range.lowerBound, count: range.count)
    }

    /// The weights in an adapter's blob. Throws `badData` when they belong to another layout.
    static func weights(in blob: BlobFile, layout: AdapterLayout, place: String) throws -> [Float] {
        try require(blob, layout, place)
        return try weights(0..<layout.parameterCount, in: blob, layout: layout)
    }

    /// Adds a vector's bytes to sums of as many fp32.
    static func add(_ bytes: [UInt8], to sums: inout [Float]) {
        precondition(bytes.count == 4 * sums.count, "as many numbers as sums")
        bytes.withUnsafeBytes { source in
            sums.withUnsafeMutableBufferPointer { sums in
                for index in sums.indices {
                    sums[index] += source.loadUnaligned(fromByteOffset: 4 * index, as: Float.self)
                }
            }
        }
    }

    private static let signatureBytes = 4_096

    private static func head(_ layout: AdapterLayout) -> [UInt8] { Array(layout.signature.utf8) + [0x0A] }

    private static func require(_ blob: BlobFile, _ layout: AdapterLayout, _ place: String) throws {
        let head = head(layout)
        guard blob.count == head.count + 4 * layout.parameterCount,
            try blob.bytes(at: 0, count: head.count) == head
        else { throw other(layout, place) }
    }

    private static func other(_ layout: AdapterLayout, _ place: String) -> MMedError {
        MMedError(
            .badData, at: place, "its bytes are not those of an adapter \(layout.signature)",
            mend: "use the same model, rank and targets everywhere")
    }

    private static func layout(of content: [UInt8]) -> AdapterLayout? {
        AdapterLayout(signature: String(decoding: content.prefix(signatureBytes).prefix { $0 != 0x0A }, as: UTF8.self))
    }

    /// The weights in an adapter's content bytes. Throws `badData` when they belong to another layout.
    static func weights(content: [UInt8], layout: AdapterLayout, place: String) throws -> [Float] {
        let head = head(layout)
        guard content.count == head.count + 4 * layout.parameterCount, content.starts(with: head) else {
            throw other(layout, place)
        }
        return try floats(of: content[head.count...], place: place)
    }
}
