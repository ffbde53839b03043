import MMedCore

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

    /// Layout and weights of an adapter's content bytes, for whatever model. Throws `badData` when they are not that.
    static func adapter(content: [UInt8], place: String) throws -> (layout: AdapterLayout, weights: [Float]) {
        guard let layout = layout(of: content) else {
            throw MMedError(.badData, at: place, "its blob is no adapter", mend: "restore the run folder from a backup")
        }
        return (layout, try weights(content: content, layout: layout, place: place))
    }

    private static func layout(of content: [UInt8]) -> AdapterLayout? {
        AdapterLayout(signature: String(decoding: content.prefix(4_096).prefix { $0 != 0x0A }, as: UTF8.self))
    }

    /// The weights in an adapter's content bytes. Throws `badData` when they belong to another layout.
    static func weights(content: [UInt8], layout: AdapterLayout, place: String) throws -> [Float] {
        let head = Array(layout.signature.utf8) + [0x0A]
        guard content.count == head.count + 4 * layout.parameterCount, content.starts(with: head) else {
            throw MMedError(
                .badData, at: place, "its bytes are not those of an adapter \(layout.signature)",
                mend: "use the same model, rank and targets everywhere")
        }
        return try floats(of: content[head.count...], place: place)
    }
}
