import MMedCore
import MMedFormats
import MMedTensor

/// What one layer keeps for its backward pass, and works on in its forward pass; every row is a token of the batch.
final class LayerTrace {
    /// Residual stream before the layer [rows, hidden].
    let input: FloatBuffer
    /// Query, key (both turned by position) and value, side by side [rows, query + 2 key-value].
    let qkv: FloatBuffer
    /// Attention before its output projection [rows, query].
    let attention: FloatBuffer
    /// Residual stream between attention and feed-forward [rows, hidden].
    let middle: FloatBuffer
    /// Gate and up, side by side [rows, 2 intermediate].
    let gateUp: FloatBuffer
    /// Products with the A matrices of each adapter site [rows, inner].
    let inner: [FloatBuffer]

    init(rows: Int, config: ModelConfig, innerWidths: [Int]) {
        let shape = config.shape
        input = FloatBuffer(count: rows * shape.hiddenSize)
        qkv = FloatBuffer(count: rows * (shape.queryWidth + 2 * shape.keyValueWidth))
        attention = FloatBuffer(count: rows * shape.queryWidth)
        middle = FloatBuffer(count: rows * shape.hiddenSize)
        gateUp = FloatBuffer(count: rows * 2 * shape.intermediateSize)
        inner = innerWidths.map { FloatBuffer(count: rows * $0) }
    }
}

/// Buffers of one forward pass, kept between passes: one trace in all, or one for each layer when a backward pass follows.
final class Workspace {
    let rowCapacity: Int
    let innerWidths: [Int]
    let config: ModelConfig
    let traces: [LayerTrace]
    /// Residual stream after the last layer [rows, hidden].
    let output: FloatBuffer
    /// Normalised input of a block [rows, hidden].
    let normalised: FloatBuffer
    /// silu(gate) * up [rows, intermediate].
    let activated: FloatBuffer
    let inverseRms: FloatBuffer

    init(rows: Int, config: ModelConfig, innerWidths: [Int], keepsLayers: Bool) {
        rowCapacity = rows
        self.innerWidths = innerWidths
        self.config = config
        let count = keepsLayers ? config.layerCount : 1
        traces = (0..<count).map { _ in LayerTrace(rows: rows, config: config, innerWidths: innerWidths) }
        output = FloatBuffer(count: rows * config.hiddenSize)
        normalised = FloatBuffer(count: rows * config.hiddenSize)
        activated = FloatBuffer(count: rows * config.intermediateSize)
        inverseRms = FloatBuffer(count: rows)
    }

    var keepsLayers: Bool { traces.count == config.layerCount }

    func trace(_ layer: Int) -> LayerTrace { traces[traces.count == 1 ? 0 : layer] }

    /// Where a layer writes the residual stream: the next layer's input.
    func following(_ layer: Int) -> FloatBuffer {
        if layer + 1 == config.layerCount { return output }
        return trace(layer + 1).input
    }

    /// True when the workspace serves a pass of that size with those adapters.
    func fits(rows: Int, innerWidths wanted: [Int]) -> Bool {
        rows <= rowCapacity && zip(wanted, innerWidths).allSatisfy { $0 <= $1 }
    }
}

extension LayerTrace {
    func qkvMatrix(rows: Int, shape: ModelShape) -> Matrix {
        Matrix(qkv, rows: rows, columns: shape.queryWidth + 2 * shape.keyValueWidth)
    }
}
