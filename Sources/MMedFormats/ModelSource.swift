import MMedCore

/// Where tensors come from, under the names of a Hugging Face checkpoint.
protocol TensorSource: Sendable {
    var config: ModelConfig { get }
    var files: [String] { get }
    var tensorNames: [String] { get }
    var chatTemplate: String? { get throws }
    func shape(of name: String) -> [Int]?
    /// The range lies inside the tensor and the values are exactly those rows.
    func rows(of name: String, _ range: Range<Int>, into values: UnsafeMutableBufferPointer<Float>) throws
    func tokenizer() throws -> TokenizerDefinition
}

/// A model on disk: a GGUF file or a Hugging Face folder. Its tensors are memory-mapped and decoded row by row.
public struct ModelSource: Sendable {
    /// The path it was opened by.
    public let path: String
    private let tensors: any TensorSource

    /// Opens the model and checks that every tensor the architecture needs is there in its shape.
    /// Throws `badData` naming the file, the key or the tensor, and what was expected.
    public static func open(_ path: String) throws -> ModelSource {
        let source: any TensorSource
        switch Paths.kind(path) {
        case .folder: source = try HuggingFaceModel(folder: path)
        case .file: source = try GGUFModel(MappedFile(path: path))
        case .other, .none:
            throw MMedError(
                .badData, at: path, "there is no model", mend: "give a GGUF file or a Hugging Face folder")
        }
        return try ModelSource(path: path, checking: source)
    }

    init(path: String, checking source: any TensorSource) throws {
        let expected = source.config.expectedTensors
        for (name, shape) in expected {
            guard let found = source.shape(of: name) else {
                throw MMedError(
                    .badData, at: "\(path): \(name)", "the tensor is missing", mend: "convert or fetch the model again")
            }
            guard found == shape else {
                throw MMedError(.badData, at: "\(path): \(name)", "has shape \(found), expected \(shape)")
            }
        }
        let known = Set(expected.map(\.name) + ["lm_head.weight"])
        for name in source.tensorNames where !known.contains(name) && !name.hasSuffix(".rotary_emb.inv_freq") {
            throw MMedError(
                .badData, at: "\(path): \(name)", "the tensor is no part of a \(source.config.architecture) model",
                mend: "use a model of the llama or qwen2 family")
        }
        self.path = path
        tensors = source
    }

    /// Sizes, rotary base and special tokens.
    public var config: ModelConfig { tensors.config }

    /// The files that make up the weights and settings, in a fixed order; their digests name the model.
    public var files: [String] { tensors.files }

    /// Hugging Face names of the tensors in the files, sorted.
    public var tensorNames: [String] { tensors.tensorNames }

    /// The model's chat template in the Jinja language, where it has one; throws `badData` when it is not text.
    public var chatTemplate: String? { get throws { try tensors.chatTemplate } }

    /// Rows, then columns (one entry for a vector); throws `badData` when there is no such tensor.
    public func shape(of name: String) throws -> [Int] {
        guard let shape = tensors.shape(of: name) else {
            throw MMedError(.badData, at: "\(path): \(name)", "the tensor is missing")
        }
        return shape
    }

    /// Replaces `values` with some rows of a tensor, decoded to fp32, row-major; the rows of a vector are its elements.
    /// Throws `badData` when there is no such tensor or the range is not inside it.
    public func rows(of name: String, _ range: Range<Int>, into values: inout [Float]) throws {
        let shape = try shape(of: name)
        guard range.lowerBound >= 0, range.upperBound <= shape[0] else {
            throw MMedError(.badData, at: "\(path): \(name)", "has no rows \(range), expected within 0..<\(shape[0])")
        }
        let width = shape.dropFirst().reduce(1, *)
        let count = range.count * width
        if values.count != count { values = [Float](repeating: 0, count: count) }
        try values.withUnsafeMutableBufferPointer { try tensors.rows(of: name, range, into: $0) }
    }

    /// A whole tensor, decoded to fp32, row-major; throws `badData` when there is no such tensor.
    public func tensor(_ name: String) throws -> [Float] {
        var values: [Float] = []
        try rows(of: name, 0..<shape(of: name)[0], into: &values)
        return values
    }

    /// The model's tokenizer; throws `badData` when it is not byte-level BPE of a known kind.
    public func tokenizer() throws -> TokenizerDefinition { try tensors.tokenizer() }
}
