public import MMedCore
public import MMedFormats
import MMedTensor

/// Where a model's weights come from.
public protocol WeightSource {
    /// The model's sizes and special tokens.
    var config: ModelConfig { get }
    /// A tensor by its Hugging Face name, row-major fp32; query and key rows in Hugging Face order. Throws when it is missing or
    /// has another number of elements.
    func values(of name: String, count: Int) throws -> [Float]
}

/// A Llama or Qwen2 model in fp32, packed for the engine's products. Immutable, so any number of samplers and learners may
/// share one.
public final class LanguageModel: Sendable {
    /// The frozen weights of one transformer layer.
    struct Layer: Sendable {
        let inputNorm: FloatBuffer
        /// Query, key and value projections, one below the other.
        let qkv: PackedMatrix
        let qkvBias: FloatBuffer?
        let output: PackedMatrix
        let feedForwardNorm: FloatBuffer
        /// Gate and up projections, one below the other.
        let gateUp: PackedMatrix
        let down: PackedMatrix
    }

    /// Sizes and special tokens.
    public let config: ModelConfig
    let layers: [Layer]
    let finalNorm: FloatBuffer
    let head: PackedMatrix
    let rope: RopeTable
    /// Nil when the embedding is the head.
    private let embedding: FloatBuffer?

    /// Widths that decide an adapter's layout.
    public var shape: ModelShape { config.shape }
    /// Rows of the embedding; the tokenizer may know fewer.
    public var vocabularySize: Int { config.vocabularySize }
    /// Any of these ends a text.
    public var endTokenIds: [Int32] { config.eosIds }
    /// Positions a sequence may have: those the model was trained for, at most 32,768.
    public var contextLength: Int { min(config.contextLength, 32_768) }

    /// Opens a GGUF file or a Hugging Face folder and packs its weights; throws `badData` as `ModelSource.open` does.
    public convenience init(path: String) throws {
        try self.init(source: try ModelSource.open(path))
    }

    /// Reads and packs every weight.
    public init(source: some WeightSource) throws {
        let config = source.config
        self.config = config
        let hidden = config.hiddenSize
        layers = try (0..<config.layerCount).map { try LanguageModel.layer($0, source: source) }
        rope = RopeTable(headDim: config.headDim, theta: config.ropeTheta, positions: min(config.contextLength, 32_768))
        finalNorm = FloatBuffer(try source.values(of: "model.norm.weight", count: hidden))
        let embedded = try source.values(of: "model.embed_tokens.weight", count: config.vocabularySize * hidden)
        if config.tiedEmbeddings {
            embedding = nil
            head = PackedMatrix(rowMajor: embedded, rows: config.vocabularySize, columns: hidden)
        } else {
            embedding = FloatBuffer(embedded)
            let values = try source.values(of: "lm_head.weight", count: config.vocabularySize * hidden)
            head = PackedMatrix(rowMajor: values, rows: config.vocabularySize, columns: hidden)
        }
    }

    private static func layer(_ index: Int, source: some WeightSource) throws -> Layer {
        let config = source.config
        let shape = config.shape
        let path = "model.layers.\(index)."
        func weight(_ projections: [Projection]) throws -> PackedMatrix {
            var values: [Float] = []
            for projection in projections {
                let widths = shape.widths(of: projection)
                let name = path + "\(projection.block).\(projection.rawValue).weight"
                values += try source.values(of: name, count: widths.input * widths.output)
            }
            let columns = shape.widths(of: projections[0]).input
            return PackedMatrix(rowMajor: values, rows: values.count / columns, columns: columns)
        }
        func norm(_ name: String) throws -> FloatBuffer {
            FloatBuffer(try source.values(of: path + name + ".weight", count: config.hiddenSize))
        }
        var bias: [Float] = []
        if config.hasQKVBias {
            for projection in [Projection.q, .k, .v] {
                let name = path + "self_attn.\(projection.rawValue).bias"
                bias += try source.values(of: name, count: shape.widths(of: projection).output)
            }
        }
        return Layer(
            inputNorm: try norm("input_layernorm"), qkv: try weight([.q, .k, .v]),
            qkvBias: bias.isEmpty ? nil : FloatBuffer(bias), output: try weight([.o]),
            feedForwardNorm: try norm("post_attention_layernorm"), gateUp: try weight([.gate, .up]),
            down: try weight([.down]))
    }

    /// Writes the embedding of each token to a row of `target`.
    func embed(_ tokens: [Int32], into target: Matrix) {
        for (row, token) in tokens.enumerated() {
            let place = target.offset + row * target.rowStride
            if let embedding {
                target.buffer.copy(
                    from: embedding, at: Int(token) * config.hiddenSize, count: config.hiddenSize, to: place)
            } else {
                target.buffer.copy(from: head.row(Int(token)), at: place)
            }
        }
    }
}

extension LanguageModel {
    /// Throws `badData` when a token is outside the vocabulary.
    func check(tokens: some Sequence<Int32>) throws(MMedError) {
        for token in tokens where token < 0 || Int(token) >= vocabularySize {
            throw MMedError(
                .badData, "token id \(token) is outside the model's vocabulary of \(vocabularySize)",
                mend: "encode the text with the tokenizer of this model")
        }
    }

    /// Throws `badData` when a prompt is empty or a sequence would be longer than the model's context.
    func check(promptTokens: Int, completionTokens: Int) throws(MMedError) {
        guard promptTokens > 0 else {
            throw MMedError(.badData, "a prompt has no tokens", mend: "give at least one token before the completion")
        }
        let (total, overflow) = promptTokens.addingReportingOverflow(completionTokens)
        guard !overflow, total <= contextLength else {
            throw MMedError(
                .badData,
                "\(promptTokens) prompt and \(completionTokens) completion tokens exceed the context of \(contextLength)",
                mend: "shorten the prompt or the token budget")
        }
    }

    /// Throws `badData` when the adapter was made for other widths.
    func check(adapter: Adapter) throws(MMedError) {
        guard adapter.layout.shape == shape else {
            throw MMedError(
                .badData, "an adapter laid out as \(adapter.layout.signature) does not fit this model",
                mend: "use an adapter trained on this model")
        }
    }
}

extension ModelSource: WeightSource {
    /// As `tensor`, and throws `badData` when it has another number of elements.
    public func values(of name: String, count: Int) throws -> [Float] {
        let values = try tensor(name)
        guard values.count == count else {
            throw MMedError(.badData, at: "\(path): \(name)", "has \(values.count) elements, expected \(count)")
        }
        return values
    }
}
