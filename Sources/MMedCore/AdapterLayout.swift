/// The seven linear projections of a Llama or Qwen2 layer that LoRA can adapt, in the fixed order of all flat vectors.
public enum Projection: String, CaseIterable, Comparable, Sendable {
    case q = "q_proj"
    case k = "k_proj"
    case v = "v_proj"
    case o = "o_proj"
    case gate = "gate_proj"
    case up = "up_proj"
    case down = "down_proj"

    /// The fixed order.
    public static func < (left: Projection, right: Projection) -> Bool { left.index < right.index }

    /// Place in the fixed order, 0...6.
    public var index: Int {
        switch self {
        case .q: 0
        case .k: 1
        case .v: 2
        case .o: 3
        case .gate: 4
        case .up: 5
        case .down: 6
        }
    }

    /// The block the projection belongs to, as the field's checkpoints name it.
    public var block: String { index < 4 ? "self_attn" : "mlp" }
}

/// The widths of a model that decide the shapes of its projections.
public struct ModelShape: Hashable, Sendable {
    /// Transformer layers.
    public var layerCount: Int
    /// Width of the residual stream.
    public var hiddenSize: Int
    /// Width of all query heads together.
    public var queryWidth: Int
    /// Width of all key (or value) heads together.
    public var keyValueWidth: Int
    /// Width of the gated feed-forward layer.
    public var intermediateSize: Int

    /// All widths in elements.
    public init(layerCount: Int, hiddenSize: Int, queryWidth: Int, keyValueWidth: Int, intermediateSize: Int) {
        self.layerCount = layerCount
        self.hiddenSize = hiddenSize
        self.queryWidth = queryWidth
        self.keyValueWidth = keyValueWidth
        self.intermediateSize = intermediateSize
    }

    /// Input and output width of a projection.
    public func widths(of projection: Projection) -> (input: Int, output: Int) {
        switch projection {
        case .q: (hiddenSize, queryWidth)
        case .k, .v: (hiddenSize, keyValueWidth)
        case .o: (queryWidth, hiddenSize)
        case .gate, .up: (hiddenSize, intermediateSize)
        case .down: (intermediateSize, hiddenSize)
        }
    }
}

/// What a LoRA adapter is, apart from its numbers (Hu et al. 2021; rsLoRA: Kalajdzievski 2023).
public struct AdapterSettings: Hashable, Sendable {
    /// Inner dimension r.
    public var rank: Int
    /// Numerator of the scale.
    public var alpha: Double
    /// Scale alpha / sqrt(rank) instead of alpha / rank.
    public var rankStabilised: Bool
    /// Adapted projections, kept in the fixed order.
    public let targets: [Projection]

    /// Repeated targets count once.
    public init(rank: Int, alpha: Double, rankStabilised: Bool = false, targets: [Projection] = Projection.allCases) {
        self.rank = rank
        self.alpha = alpha
        self.rankStabilised = rankStabilised
        self.targets = Projection.allCases.filter(targets.contains)
    }

    /// Factor on B·A.
    public var scale: Double { rankStabilised ? alpha / Double(rank).squareRoot() : alpha / Double(rank) }
}

/// Where each LoRA matrix lies in an adapter's flat fp32 vector: layers in order, in each the targets in the fixed order,
/// of each A `[rank, input]` then B `[output, rank]`, both row-major. Weights, gradients and moments all use it.
public struct AdapterLayout: Hashable, Sendable {
    /// One matrix pair.
    public struct Pair: Hashable, Sendable {
        /// Transformer layer.
        public let layer: Int
        /// Adapted projection.
        public let projection: Projection
        /// Input and output width.
        public let input: Int, output: Int
        /// Elements before A.
        public let offsetA: Int
        /// Elements before B.
        public let offsetB: Int

        /// The name of the projection in a Hugging Face checkpoint, without `.weight`.
        public var modulePath: String { "model.layers.\(layer).\(projection.block).\(projection.rawValue)" }
    }

    /// Rank, scale and targets.
    public let settings: AdapterSettings
    /// Widths of the model it adapts.
    public let shape: ModelShape
    /// All pairs in the order of the flat vector.
    public let pairs: [Pair]
    /// Elements of the flat vector.
    public let parameterCount: Int

    /// Lays the matrices out one after the other.
    public init(settings: AdapterSettings, shape: ModelShape) {
        self.settings = settings
        self.shape = shape
        var pairs: [Pair] = []
        var offset = 0
        for layer in 0..<shape.layerCount {
            for projection in settings.targets {
                let widths = shape.widths(of: projection)
                let offsetB = offset + settings.rank * widths.input
                pairs.append(
                    Pair(
                        layer: layer, projection: projection, input: widths.input, output: widths.output,
                        offsetA: offset, offsetB: offsetB))
                offset = offsetB + settings.rank * widths.output
            }
        }
        self.pairs = pairs
        self.parameterCount = offset
    }

    /// A text that is equal exactly when two layouts are; it opens the bytes that an adapter's digest covers.
    public var signature: String {
        let targets = settings.targets.map(\.rawValue).joined(separator: ",")
        let widths =
            "\(shape.layerCount)x\(shape.hiddenSize)x\(shape.queryWidth)x\(shape.keyValueWidth)x\(shape.intermediateSize)"
        return "lora r=\(settings.rank) alpha=\(settings.alpha) rs=\(settings.rankStabilised) [\(targets)] \(widths)"
    }

    /// Reads a signature back; nil for any other text.
    public init?(signature: String) {
        let words = signature.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 6, words[0] == "lora", words[1].hasPrefix("r="), words[2].hasPrefix("alpha="),
            words[3].hasPrefix("rs="), words[4].hasPrefix("["), words[4].hasSuffix("]"),
            let rank = Int(words[1].dropFirst(2)), (1...4_096).contains(rank),
            let alpha = Double(words[2].dropFirst(6)), alpha.isFinite,
            let rankStabilised = Bool(String(words[3].dropFirst(3)))
        else { return nil }
        let targets = words[4].dropFirst().dropLast().split(separator: ",").map { Projection(rawValue: String($0)) }
        let widths = words[5].split(separator: "x").map { Int($0) }
        guard targets.allSatisfy({ $0 != nil }), widths.count == 5,
            widths.allSatisfy({ $0.map { (1...1_000_000).contains($0) } ?? false }),
            // Every layer has its pairs in memory, so a few bytes must not name a million of them.
            let layers = widths[0], layers <= 1_024
        else { return nil }
        let sizes = widths.compactMap { $0 }
        self.init(
            settings: AdapterSettings(
                rank: rank, alpha: alpha, rankStabilised: rankStabilised, targets: targets.compactMap { $0 }),
            shape: ModelShape(
                layerCount: sizes[0], hiddenSize: sizes[1], queryWidth: sizes[2], keyValueWidth: sizes[3],
                intermediateSize: sizes[4]))
        // Only the one spelling that `signature` writes is a signature.
        guard self.signature == signature else { return nil }
    }
}
