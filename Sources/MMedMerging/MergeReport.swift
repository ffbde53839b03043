internal import MMedCore

/// What a merge did and where its vectors disagree. Every rate, cosine and norm is of task vectors ΔW, never of A or B.
public struct MergeReport: Codable, Equatable, Sendable {
    /// How two vectors agree, over a layer or the whole model.
    public struct Agreement: Codable, Equatable, Sendable {
        /// ⟨τ_j, τ_k⟩/(‖τ_j‖·‖τ_k‖) before trimming; nil when one is zero.
        public let cosine: Double?
        /// Of the entries that both keep after trimming, the part where the signs differ; nil when they share none.
        public let signConflictRate: Double?
    }

    /// One task vector.
    public struct Vector: Codable, Equatable, Sendable {
        /// `name/stage`.
        public let label: String
        /// ‖τ‖_F over all matrices.
        public let norm: Double
        /// ‖τ‖_F of each layer.
        public let normByLayer: [Double]
        /// Matrices at which it was zero and left out.
        public let zeroMatrices: Int
    }

    /// Two task vectors.
    public struct Pair: Codable, Equatable, Sendable {
        /// Labels, in order.
        public let first: String, second: String
        /// Over the whole model.
        public let overall: Agreement
        /// Of each layer.
        public let byLayer: [Agreement]
    }

    /// One method's ΔW beside the one that was chosen.
    public struct Method: Codable, Equatable, Sendable {
        /// Which.
        public let method: MergeMethod
        /// ‖ΔW‖_F over all matrices, before truncation.
        public let norm: Double
        /// ‖ΔW - merged‖_F / ‖merged‖_F; nil when the merged one is zero.
        public let relativeDifference: Double?
    }

    /// One matrix of the merged adapter.
    public struct Matrix: Codable, Equatable, Sendable {
        /// As checkpoints name it.
        public let module: String
        /// ‖ΔW‖_F before truncation.
        public let norm: Double
        /// ‖ΔW - B·A‖_F / ‖ΔW‖_F; 0 for a zero matrix.
        public let relativeResidual: Double
    }

    /// How it was merged.
    public let settings: MergeSettings
    /// Rank of the merged adapter.
    public let rank: Int
    /// Task vectors in the order of their sums.
    public let vectors: [Vector]
    /// All pairs of them.
    public let pairs: [Pair]
    /// Of the entries that at least two vectors keep, the part where signs differ; nil when there are none.
    public let signConflictRate: Double?
    /// The same of each layer.
    public let signConflictRateByLayer: [Double?]
    /// All methods, the chosen one among them.
    public let methods: [Method]
    /// All matrices.
    public let matrices: [Matrix]
    /// ‖ΔW‖_F of the merged vector before truncation.
    public let norm: Double
    /// ‖ΔW - B·A‖_F / ‖ΔW‖_F over all matrices.
    public let relativeResidual: Double

    /// Sums the figures in the order of the matrices.
    init(plan: MergePlan, figures: [MatrixFigures]) {
        let layers = plan.layout.shape.layerCount
        let byLayer = (0..<layers).map { layer in
            Totals(figures.enumerated().filter { plan.layout.pairs[$0.offset].layer == layer }.map(\.element))
        }
        let total = Totals(figures)
        let labels = plan.vectors.map(\.label)
        settings = plan.settings
        rank = plan.layout.settings.rank
        vectors = labels.indices.map { place in
            Vector(
                label: labels[place], norm: total.squaredVectors[place].squareRoot(),
                normByLayer: byLayer.map { $0.squaredVectors[place].squareRoot() },
                zeroMatrices: figures.count { $0.norms[place] == 0 })
        }
        var pairs: [Pair] = []
        for left in labels.indices {
            for right in labels.indices.dropFirst(left + 1) {
                let place = pairs.count
                pairs.append(
                    Pair(
                        first: labels[left], second: labels[right], overall: total.agreement(place, left, right),
                        byLayer: byLayer.map { $0.agreement(place, left, right) }))
            }
        }
        self.pairs = pairs
        signConflictRate = ratio(total.conflicting, total.shared)
        signConflictRateByLayer = byLayer.map { ratio($0.conflicting, $0.shared) }
        let chosen = MergeMethod.allCases.firstIndex(of: plan.settings.method) ?? 0
        let norm = total.squaredMethods[chosen].squareRoot()
        methods = MergeMethod.allCases.enumerated().map { place, method in
            Method(
                method: method, norm: total.squaredMethods[place].squareRoot(),
                relativeDifference: norm > 0 ? total.squaredDifferences[place].squareRoot() / norm : nil)
        }
        matrices = zip(plan.layout.pairs, figures).map { pair, one in
            let norm = one.squaredNorms[chosen].squareRoot()
            return Matrix(
                module: pair.modulePath, norm: norm,
                relativeResidual: norm > 0 ? one.squaredResidual.squareRoot() / norm : 0)
        }
        self.norm = norm
        relativeResidual = norm > 0 ? total.squaredResidual.squareRoot() / norm : 0
    }
}

/// Figures summed over matrices.
private struct Totals {
    var squaredVectors: [Double] = []
    var pairs: [PairFigures] = []
    var shared = 0
    var conflicting = 0
    var squaredMethods = [Double](repeating: 0, count: MergeMethod.allCases.count)
    var squaredDifferences = [Double](repeating: 0, count: MergeMethod.allCases.count)
    var squaredResidual = 0.0

    init(_ figures: [MatrixFigures]) {
        squaredVectors = [Double](repeating: 0, count: figures.first?.norms.count ?? 0)
        pairs = [PairFigures](repeating: PairFigures(), count: figures.first?.pairs.count ?? 0)
        for one in figures {
            for (place, norm) in one.norms.enumerated() { squaredVectors[place] += norm * norm }
            for (place, pair) in one.pairs.enumerated() {
                pairs[place].innerProduct += pair.innerProduct
                pairs[place].shared += pair.shared
                pairs[place].conflicting += pair.conflicting
            }
            shared += one.shared
            conflicting += one.conflicting
            for place in one.squaredNorms.indices {
                squaredMethods[place] += one.squaredNorms[place]
                squaredDifferences[place] += one.squaredDifferences[place]
            }
            squaredResidual += one.squaredResidual
        }
    }

    func agreement(_ place: Int, _ left: Int, _ right: Int) -> MergeReport.Agreement {
        let scale = (squaredVectors[left] * squaredVectors[right]).squareRoot()
        let cosine = scale > 0 ? max(-1, min(1, pairs[place].innerProduct / scale)) : nil
        return MergeReport.Agreement(
            cosine: cosine, signConflictRate: ratio(pairs[place].conflicting, pairs[place].shared))
    }
}

private func ratio(_ part: Int, _ whole: Int) -> Double? { whole > 0 ? Double(part) / Double(whole) : nil }
