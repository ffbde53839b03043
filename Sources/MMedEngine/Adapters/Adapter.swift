public import MMedCore
import MMedTensor

/// A LoRA adapter packed for the engine. Its weights never change: a new version is a new adapter, so a path under way keeps
/// the one it began with.
public final class Adapter: Sendable {
    /// The projections of a layer that read the same input, so that their A matrices are applied in one product.
    enum Site: Int, CaseIterable {
        case attentionInput, attentionOutput, feedForwardInput, feedForwardOutput

        var projections: [Projection] {
            switch self {
            case .attentionInput: [.q, .k, .v]
            case .attentionOutput: [.o]
            case .feedForwardInput: [.gate, .up]
            case .feedForwardOutput: [.down]
            }
        }
    }

    /// One adapted projection of a site.
    struct Part: Sendable {
        let pair: AdapterLayout.Pair
        /// First column of the site's inner product that belongs to it.
        let innerStart: Int
        /// First column of the site's output that belongs to it.
        let outputStart: Int
        /// B [output, rank].
        let b: PackedMatrix
    }

    /// The adapted projections of one site of one layer.
    struct SiteWeights: Sendable {
        /// All A matrices, one below the other: [rank x parts, input].
        let a: PackedMatrix
        let parts: [Part]
    }

    /// Where each matrix lies in the flat vector.
    public let layout: AdapterLayout
    /// All weights in the order of the layout.
    public let weights: [Float]
    let scale: Float
    /// By layer, then site; nil where nothing is adapted.
    let sites: [[SiteWeights?]]

    /// Throws `badData` when `weights` has another count than the layout, or a number that is not finite.
    public init(layout: AdapterLayout, weights: [Float]) throws(MMedError) {
        guard weights.count == layout.parameterCount else {
            throw MMedError(
                .badData,
                "an adapter with \(weights.count) weights does not fit its layout, which has \(layout.parameterCount)",
                mend: "use an adapter made for this model, rank and targets")
        }
        guard weights.allSatisfy(\.isFinite) else {
            throw MMedError(
                .badData, "an adapter has a weight that is not finite",
                mend: "lower the learning rate, or take an older version")
        }
        self.layout = layout
        self.weights = weights
        scale = Float(layout.settings.scale)
        sites = (0..<layout.shape.layerCount).map { layer in
            Site.allCases.map { Adapter.pack(site: $0, layer: layer, layout: layout, weights: weights) }
        }
    }

    /// The next version of this adapter.
    public func replacingWeights(_ weights: [Float]) throws(MMedError) -> Adapter {
        try Adapter(layout: layout, weights: weights)
    }

    /// Columns of the inner product of a site.
    func innerWidth(_ site: Site) -> Int {
        layout.settings.rank * layout.settings.targets.filter(site.projections.contains).count
    }

    private static func pack(site: Site, layer: Int, layout: AdapterLayout, weights: [Float]) -> SiteWeights? {
        let perLayer = layout.settings.targets.count
        let pairs = layout.pairs[layer * perLayer..<(layer + 1) * perLayer]
            .filter { site.projections.contains($0.projection) }
        guard let first = pairs.first else { return nil }
        let rank = layout.settings.rank
        let a = PackedMatrix(rows: rank * pairs.count, columns: first.input) { row, values in
            let start = pairs[row / rank].offsetA + row % rank * first.input
            for column in 0..<first.input { values[column] = weights[start + column] }
        }
        let parts = pairs.enumerated().map { index, pair in
            var outputStart = 0
            for earlier in site.projections where earlier < pair.projection {
                outputStart += layout.shape.widths(of: earlier).output
            }
            let b = PackedMatrix(
                rowMajor: Array(weights[pair.offsetB..<pair.offsetB + pair.output * rank]), rows: pair.output,
                columns: rank)
            return Part(pair: pair, innerStart: index * rank, outputStart: outputStart, b: b)
        }
        return SiteWeights(a: a, parts: parts)
    }
}
