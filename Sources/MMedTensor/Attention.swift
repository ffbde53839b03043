import CKernels

/// A stretch of keys and values of consecutive positions: row i of both holds the segment's i-th token.
public struct KeyValueSegment: Sendable {
    /// [count, kvHeads · headDim], already turned by their positions.
    public let keys: Matrix
    /// [count, kvHeads · headDim].
    public let values: Matrix

    /// Keys and values of the same tokens.
    public init(keys: Matrix, values: Matrix) {
        precondition(keys.rows == values.rows && keys.columns == values.columns, "keys and values of the same tokens")
        self.keys = keys
        self.values = values
    }
}

/// The keys a sequence sees, cut into segments in rising position from position 0 on: its prefix, its suffix, its path.
public struct KeyChain: Sendable {
    /// In order of position, without gap.
    public let segments: [KeyValueSegment]
    /// Positions covered.
    public let count: Int

    /// Joins `segments`.
    public init(_ segments: [KeyValueSegment]) {
        self.segments = segments
        count = segments.reduce(0) { $0 + $1.keys.rows }
    }
}

/// Heads and widths of an attention layer; query head h reads key head h / (heads / kvHeads).
public struct AttentionShape: Sendable, Equatable {
    /// Query heads, a multiple of `kvHeads`.
    public let heads: Int
    /// Key and value heads.
    public let kvHeads: Int
    /// Width of a head.
    public let headDim: Int
    /// Multiplies q · k; usually 1 / sqrt(headDim).
    public let scale: Float

    /// Checks that the heads divide.
    public init(heads: Int, kvHeads: Int, headDim: Int, scale: Float) {
        precondition(kvHeads > 0 && heads > 0 && heads % kvHeads == 0 && headDim > 0, "query heads must be a multiple")
        self.heads = heads
        self.kvHeads = kvHeads
        self.headDim = headDim
        self.scale = scale
    }
}

/// Consecutive queries of one sequence; the chain must cover all their positions.
public struct AttentionRun: Sendable {
    /// [T, heads · headDim], row i at position `startPosition + i`.
    public let q: Matrix
    /// Keys of positions 0, 1, ... at least to the last query's own.
    public let chain: KeyChain
    /// Absolute position of the first query.
    public let startPosition: Int
    /// [T, heads · headDim], overwritten.
    public let out: Matrix

    /// Names the four.
    public init(q: Matrix, chain: KeyChain, startPosition: Int, out: Matrix) {
        precondition(q.rows == out.rows && q.columns == out.columns, "one output row for each query")
        precondition(startPosition >= 0 && chain.count >= startPosition + q.rows, "the chain must reach every query")
        self.q = q
        self.chain = chain
        self.startPosition = startPosition
        self.out = out
    }
}

/// The backward of one `AttentionRun`.
public struct AttentionGradientRun: Sendable {
    /// [T, heads · headDim], as in the forward pass.
    public let q: Matrix
    /// [T, heads · headDim].
    public let dOut: Matrix
    /// [T, heads · headDim], overwritten.
    public let dQ: Matrix
    /// As in the forward pass.
    public let chain: KeyChain
    /// Gradients of the chain's keys and values, cut into the same segments; added to.
    public let gradient: KeyChain
    /// Absolute position of the first query.
    public let startPosition: Int

    /// Names the six.
    public init(
        q: Matrix, dOut: Matrix, dQ: Matrix, chain: KeyChain, gradient: KeyChain, startPosition: Int
    ) {
        for other in [dOut, dQ] {
            precondition(q.rows == other.rows && q.columns == other.columns, "one gradient row for each query")
        }
        precondition(startPosition >= 0 && chain.count >= startPosition + q.rows, "the chain must reach every query")
        precondition(chain.segments.count == gradient.segments.count, "the gradient has the segments of the chain")
        for (segment, mirror) in zip(chain.segments, gradient.segments) {
            precondition(
                segment.keys.rows == mirror.keys.rows && segment.keys.columns == mirror.keys.columns,
                "the gradient has the segments of the chain")
        }
        self.q = q
        self.dOut = dOut
        self.dQ = dQ
        self.chain = chain
        self.gradient = gradient
        self.startPosition = startPosition
    }
}
