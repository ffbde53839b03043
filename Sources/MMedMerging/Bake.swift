internal import MMedCore

extension MergePlan {
    /// W + ΔW of a checkpoint's tensor such as `model.layers.0.mlp.up_proj.weight`, `[output, input]` row-major with
    /// rows in the order of Hugging Face checkpoints, ΔW in full rank; a tensor that is not adapted comes back as it
    /// is. One matrix at a time, so that a caller can stream a checkpoint through. Throws `badData` when the tensor has
    /// another size.
    public func baked(tensor: String, weights: [Float]) throws -> [Float] {
        guard let index = matrixIndex(ofTensor: tensor) else { return weights }
        return try sum(weights, mergedDelta(matrix: index), tensor)
    }
}

extension AdapterWeights {
    /// W + scale·B·A of a checkpoint's tensor, as `MergePlan.baked` for one adapter.
    public func baked(tensor: String, weights: [Float]) throws -> [Float] {
        guard let pair = layout.pairs.first(where: { $0.modulePath + ".weight" == tensor }) else { return weights }
        return try sum(weights, FactoredMatrix(self, pair).dense(), tensor)
    }
}

private func sum(_ weights: [Float], _ delta: [Float], _ tensor: String) throws -> [Float] {
    guard weights.count == delta.count else {
        throw MMedError(
            .badData, at: tensor, "holds \(weights.count) numbers, the adapter's matrix \(delta.count)",
            mend: "bake into the base model that the adapters were trained on")
    }
    return zip(weights, delta).map { $0 + $1 }
}
