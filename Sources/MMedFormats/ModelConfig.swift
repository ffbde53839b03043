public import MMedCore

/// The families of models whose layers the engine computes.
public enum ModelArchitecture: String, CaseIterable, Sendable {
    /// Llama (Touvron et al. 2023): also SmolLM2 and its like.
    case llama
    /// Qwen2: Llama with biases on the query, key and value projections.
    case qwen2
}

/// What a model's file says about its shape and its special tokens.
public struct ModelConfig: Hashable, Sendable {
    /// The family.
    public var architecture: ModelArchitecture
    /// Transformer layers.
    public var layerCount: Int
    /// Width of the residual stream.
    public var hiddenSize: Int
    /// Query heads.
    public var headCount: Int
    /// Key and value heads; divides `headCount`.
    public var keyValueHeadCount: Int
    /// Elements of one head; even.
    public var headDim: Int
    /// Width of the gated feed-forward layer.
    public var intermediateSize: Int
    /// Rows of the embedding matrix; the tokenizer may know fewer.
    public var vocabularySize: Int
    /// Base of the rotary frequencies (Su et al. 2021); pairs are element i and i + headDim / 2 of a head.
    public var ropeTheta: Double
    /// Added to the mean square in RMSNorm.
    public var rmsEpsilon: Float
    /// The output projection is the embedding matrix, and there is no `lm_head.weight`.
    public var tiedEmbeddings: Bool
    /// `q_proj.bias`, `k_proj.bias` and `v_proj.bias` exist.
    public var hasQKVBias: Bool
    /// Positions the model was trained for.
    public var contextLength: Int
    /// Opens a text, where the model has such a token.
    public var bosId: Int32?
    /// Any of these ends a text.
    public var eosIds: [Int32]

    /// The widths that decide the shapes of adapters.
    public var shape: ModelShape {
        ModelShape(
            layerCount: layerCount, hiddenSize: hiddenSize, queryWidth: headCount * headDim,
            keyValueWidth: keyValueHeadCount * headDim, intermediateSize: intermediateSize)
    }

    /// Every tensor that the engine reads, by its Hugging Face name, with its shape (rows, then columns).
    public var expectedTensors: [(name: String, shape: [Int])] {
        var tensors: [(name: String, shape: [Int])] = [("model.embed_tokens.weight", [vocabularySize, hiddenSize])]
        let shape = shape
        for layer in 0..<layerCount {
            let path = "model.layers.\(layer)."
            tensors.append((path + "input_layernorm.weight", [hiddenSize]))
            for projection in Projection.allCases {
                let widths = shape.widths(of: projection)
                let module = path + "\(projection.block).\(projection.rawValue)"
                tensors.append((module + ".weight", [widths.output, widths.input]))
                if hasQKVBias, projection <= .v { tensors.append((module + ".bias", [widths.output])) }
            }
            tensors.append((path + "post_attention_layernorm.weight", [hiddenSize]))
        }
        tensors.append(("model.norm.weight", [hiddenSize]))
        if !tiedEmbeddings { tensors.append(("lm_head.weight", [vocabularySize, hiddenSize])) }
        return tensors
    }

    /// Throws `badData` at `place` when the numbers contradict each other or are out of all reason.
    func check(at place: String) throws {
        let limits: [(name: String, value: Int, most: Int)] = [
            ("layer count", layerCount, 1024), ("hidden size", hiddenSize, 1 << 17), ("head count", headCount, 1024),
            ("key-value head count", keyValueHeadCount, 1024), ("head dimension", headDim, 1 << 12),
            ("intermediate size", intermediateSize, 1 << 20), ("vocabulary size", vocabularySize, 1 << 22),
            ("context length", contextLength, 1 << 28),
        ]
        for (name, value, most) in limits where !(1...most).contains(value) {
            throw MMedError(.badData, at: place, "the \(name) is \(value), expected 1 to \(most)")
        }
        guard headCount % keyValueHeadCount == 0 else {
            throw MMedError(
                .badData, at: place, "\(headCount) heads cannot share \(keyValueHeadCount) key-value heads evenly")
        }
        guard headDim % 2 == 0 else {
            throw MMedError(.badData, at: place, "the head dimension is \(headDim), expected an even number")
        }
        guard ropeTheta.isFinite, ropeTheta > 0 else {
            throw MMedError(.badData, at: place, "the rotary base is \(ropeTheta), expected a positive number")
        }
        guard rmsEpsilon.isFinite, rmsEpsilon > 0, rmsEpsilon < 1 else {
            throw MMedError(.badData, at: place, "the RMSNorm epsilon is \(rmsEpsilon), expected between 0 and 1")
        }
        let ids = eosIds + (bosId.map { [$0] } ?? [])
        for id in ids where id < 0 || Int(id) >= vocabularySize {
            throw MMedError(.badData, at: place, "token id \(id) is outside the vocabulary of \(vocabularySize)")
        }
    }
}
