import MMedCore
import MMedFormats
import MMedTensor

/// The backward pass of `Forward` over the traces it left, for the gradients of one adapter. The base weights are frozen.
struct Backward {
    let model: LanguageModel
    let adapter: Adapter
    let pool: ComputePool

    private var shape: ModelShape { model.shape }

    /// Takes the gradient of the residual stream after the last layer in `dOutput` [rows, hidden], which it changes, and adds the
    /// adapter's to `gradient`, in the order of its layout. The traces are used up.
    func run(_ batch: RowBatch, workspace: Workspace, scratch: BackwardScratch, dOutput: Matrix, gradient: FloatBuffer)
    {
        for layer in (0..<model.config.layerCount).reversed() {
            feedForwardBlock(layer, batch, workspace, scratch, d: dOutput, gradient: gradient)
            attentionBlock(layer, batch, workspace, scratch, d: dOutput, gradient: gradient)
        }
    }

    /// d becomes the gradient of `middle`.
    private func feedForwardBlock(
        _ layer: Int, _ batch: RowBatch, _ workspace: Workspace, _ scratch: BackwardScratch, d: Matrix,
        gradient: FloatBuffer
    ) {
        let rows = batch.rowCount
        let trace = workspace.trace(layer)
        let weights = model.layers[layer]
        let width = shape.intermediateSize
        let gateUp = Matrix(trace.gateUp, rows: rows, columns: 2 * width)
        let (gate, up) = (gateUp.columns(0..<width), gateUp.columns(width..<2 * width))
        let activated = Matrix(workspace.activated, rows: rows, columns: width)
        siluMulForward(gate: gate, up: up, y: activated, pool: pool)
        let dActivated = Matrix(scratch.wide, rows: rows, columns: width)
        matmulTransposed(x: d, w: weights.down, y: dActivated, pool: pool)
        adapt(.feedForwardOutput, layer, trace, scratch, dY: d, x: activated, dX: dActivated, gradient: gradient)
        // The gradients of gate and up take the places of the activations, which nothing needs any more.
        siluMulBackward(dY: dActivated, gate: gate, up: up, dGate: gate, dUp: up, pool: pool)

        let middle = Matrix(trace.middle, rows: rows, columns: shape.hiddenSize)
        let normalised = Matrix(workspace.normalised, rows: rows, columns: shape.hiddenSize)
        rmsNormForward(
            x: middle, weight: weights.feedForwardNorm, epsilon: model.config.rmsEpsilon, y: normalised,
            inverseRms: workspace.inverseRms, pool: pool)
        let dNormalised = Matrix(scratch.hidden, rows: rows, columns: shape.hiddenSize)
        matmulTransposed(x: gateUp, w: weights.gateUp, y: dNormalised, pool: pool)
        adapt(
            .feedForwardInput, layer, trace, scratch, dY: gateUp, x: normalised, dX: dNormalised, gradient: gradient)
        rmsNormBackward(
            dY: dNormalised, x: middle, weight: weights.feedForwardNorm, inverseRms: workspace.inverseRms, dX: d,
            accumulate: true, pool: pool)
    }

    /// d becomes the gradient of the layer's input.
    private func attentionBlock(
        _ layer: Int, _ batch: RowBatch, _ workspace: Workspace, _ scratch: BackwardScratch, d: Matrix,
        gradient: FloatBuffer
    ) {
        let rows = batch.rowCount
        let trace = workspace.trace(layer)
        let weights = model.layers[layer]
        let attended = Matrix(trace.attention, rows: rows, columns: shape.queryWidth)
        let dAttended = Matrix(scratch.attention, rows: rows, columns: shape.queryWidth)
        matmulTransposed(x: d, w: weights.output, y: dAttended, pool: pool)
        adapt(.attentionOutput, layer, trace, scratch, dY: d, x: attended, dX: dAttended, gradient: gradient)
        let dQKV = attention(trace, batch, scratch, dAttended: dAttended)

        let input = Matrix(trace.input, rows: rows, columns: shape.hiddenSize)
        let normalised = Matrix(workspace.normalised, rows: rows, columns: shape.hiddenSize)
        rmsNormForward(
            x: input, weight: weights.inputNorm, epsilon: model.config.rmsEpsilon, y: normalised,
            inverseRms: workspace.inverseRms, pool: pool)
        // Nothing below the first layer learns.
        let dNormalised = layer > 0 ? Matrix(scratch.hidden, rows: rows, columns: shape.hiddenSize) : nil
        if let dNormalised { matmulTransposed(x: dQKV, w: weights.qkv, y: dNormalised, pool: pool) }
        adapt(.attentionInput, layer, trace, scratch, dY: dQKV, x: normalised, dX: dNormalised, gradient: gradient)
        if let dNormalised {
            rmsNormBackward(
                dY: dNormalised, x: input, weight: weights.inputNorm, inverseRms: workspace.inverseRms, dX: d,
                accumulate: true, pool: pool)
        }
    }

    /// The gradient of the query, key and value projections' outputs, before the turn by position [rows, query + 2 key-value].
    private func attention(
        _ trace: LayerTrace, _ batch: RowBatch, _ scratch: BackwardScratch, dAttended: Matrix
    ) -> Matrix {
        let rows = batch.rowCount
        let (queryWidth, keyWidth) = (shape.queryWidth, shape.keyValueWidth)
        let qkv = trace.qkvMatrix(rows: rows, shape: shape)
        let dQKV = Matrix(scratch.wide, rows: rows, columns: qkv.columns)
        dQKV.buffer.zero(0..<rows * qkv.columns)
        func cache(_ matrix: Matrix) -> LayerCache {
            LayerCache(
                keys: matrix.columns(queryWidth..<queryWidth + keyWidth),
                values: matrix.columns(queryWidth + keyWidth..<queryWidth + 2 * keyWidth))
        }
        let runs = batch.spans.map { span in
            let range = span.row..<span.row + span.count
            return AttentionGradientRun(
                q: qkv.columns(0..<queryWidth).rows(range), dOut: dAttended.rows(range),
                dQ: dQKV.columns(0..<queryWidth).rows(range), chain: span.chain(cache(qkv)),
                gradient: span.chain(cache(dQKV)), startPosition: span.position)
        }
        let forward = Forward(model: model, adapters: [adapter], pool: pool)
        attentionBackward(runs: runs, shape: forward.attentionShape, pool: pool)
        ropeBackward(
            x: dQKV.columns(0..<queryWidth + keyWidth), positions: batch.positions, table: model.rope, pool: pool)
        return dQKV
    }

    private func adapt(
        _ site: Adapter.Site, _ layer: Int, _ trace: LayerTrace, _ scratch: BackwardScratch, dY: Matrix, x: Matrix,
        dX: Matrix?, gradient: FloatBuffer
    ) {
        let width = adapter.innerWidth(site)
        if width == 0 { return }
        AdapterProducts(adapter: adapter, site: site, layer: layer, pool: pool).backward(
            dY: dY, x: x, inner: Matrix(trace.inner[site.rawValue], rows: x.rows, columns: width),
            dInner: Matrix(scratch.inner, rows: x.rows, columns: width), dX: dX, gradient: gradient)
    }
}

/// Buffers of one backward pass.
final class BackwardScratch {
    let hidden: FloatBuffer
    let attention: FloatBuffer
    /// Serves the feed-forward and the attention gradients, one after the other.
    let wide: FloatBuffer
    let inner: FloatBuffer

    init(rows: Int, config: ModelConfig, innerWidths: [Int]) {
        let shape = config.shape
        hidden = FloatBuffer(count: rows * shape.hiddenSize)
        attention = FloatBuffer(count: rows * shape.queryWidth)
        wide = FloatBuffer(count: rows * max(shape.intermediateSize, shape.queryWidth + 2 * shape.keyValueWidth))
        inner = FloatBuffer(count: rows * (innerWidths.max() ?? 0))
    }
}
