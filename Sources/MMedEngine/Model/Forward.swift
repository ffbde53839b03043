import MMedCore
import MMedFormats
import MMedTensor

/// Keys and values of one layer: row i of both belongs to cache row i.
struct LayerCache {
    let keys: Matrix
    let values: Matrix
}

/// The transformer's forward pass over a batch of rows, the same code for sampling and learning.
struct Forward {
    let model: LanguageModel
    /// Indexed by a row group's adapter.
    let adapters: [Adapter]
    let pool: ComputePool

    var config: ModelConfig { model.config }
    var shape: ModelShape { model.shape }
    var attentionShape: AttentionShape {
        AttentionShape(
            heads: config.headCount, kvHeads: config.keyValueHeadCount, headDim: config.headDim,
            scale: 1 / Float(config.headDim).squareRoot())
    }

    /// Leaves the residual stream after the last layer in `workspace.output`, one row for each of the batch's.
    /// `cache` holds earlier keys and values by layer, and receives the batch's own; nil when the batch's own rows are the cache.
    func run(_ batch: RowBatch, workspace: Workspace, cache: [LayerCache]?) {
        let rows = batch.rowCount
        guard rows > 0 else { return }
        model.embed(batch.tokens, into: Matrix(workspace.trace(0).input, rows: rows, columns: shape.hiddenSize))
        for layer in 0..<config.layerCount {
            attentionBlock(layer, batch, workspace, cache: cache?[layer])
            feedForwardBlock(layer, batch, workspace)
        }
    }

    /// middle = input + attention(rmsNorm(input)) · Woᵀ.
    private func attentionBlock(_ layer: Int, _ batch: RowBatch, _ workspace: Workspace, cache: LayerCache?) {
        let rows = batch.rowCount
        let trace = workspace.trace(layer)
        let weights = model.layers[layer]
        let input = Matrix(trace.input, rows: rows, columns: shape.hiddenSize)
        let normalised = Matrix(workspace.normalised, rows: rows, columns: shape.hiddenSize)
        rmsNormForward(
            x: input, weight: weights.inputNorm, epsilon: config.rmsEpsilon, y: normalised,
            inverseRms: workspace.inverseRms, pool: pool)
        let qkv = trace.qkvMatrix(rows: rows, shape: shape)
        if let bias = weights.qkvBias {
            for row in 0..<rows { qkv.buffer.copy(from: bias, at: 0, count: bias.count, to: row * bias.count) }
        }
        matmul(x: normalised, w: weights.qkv, y: qkv, accumulate: weights.qkvBias != nil, pool: pool)
        adapt(.attentionInput, layer, batch, trace, x: normalised, y: qkv)
        let (queryWidth, keyWidth) = (shape.queryWidth, shape.keyValueWidth)
        ropeForward(
            x: qkv.columns(0..<queryWidth + keyWidth), positions: batch.positions, table: model.rope, pool: pool)

        let ownKeys = qkv.columns(queryWidth..<queryWidth + keyWidth)
        let ownValues = qkv.columns(queryWidth + keyWidth..<queryWidth + 2 * keyWidth)
        if let cache {
            for span in batch.spans {
                copyRows(ownKeys.rows(span.row..<span.row + span.count), into: cache.keys.rows(span.cacheRows))
                copyRows(ownValues.rows(span.row..<span.row + span.count), into: cache.values.rows(span.cacheRows))
            }
        }
        let attended = Matrix(trace.attention, rows: rows, columns: queryWidth)
        let runs = attentionRuns(
            batch, cache: cache ?? LayerCache(keys: ownKeys, values: ownValues), q: qkv.columns(0..<queryWidth),
            out: attended)
        attentionForward(runs: runs, shape: attentionShape, pool: pool)

        let middle = Matrix(trace.middle, rows: rows, columns: shape.hiddenSize)
        copyRows(input, into: middle)
        matmul(x: attended, w: weights.output, y: middle, accumulate: true, pool: pool)
        adapt(.attentionOutput, layer, batch, trace, x: attended, y: middle)
    }

    /// The next layer's input = middle + (silu(gate) * up) · Wdownᵀ.
    private func feedForwardBlock(_ layer: Int, _ batch: RowBatch, _ workspace: Workspace) {
        let rows = batch.rowCount
        let trace = workspace.trace(layer)
        let weights = model.layers[layer]
        let width = shape.intermediateSize
        let middle = Matrix(trace.middle, rows: rows, columns: shape.hiddenSize)
        let normalised = Matrix(workspace.normalised, rows: rows, columns: shape.hiddenSize)
        rmsNormForward(
            x: middle, weight: weights.feedForwardNorm, epsilon: config.rmsEpsilon, y: normalised,
            inverseRms: workspace.inverseRms, pool: pool)
        let gateUp = Matrix(trace.gateUp, rows: rows, columns: 2 * width)
        matmul(x: normalised, w: weights.gateUp, y: gateUp, pool: pool)
        adapt(.feedForwardInput, layer, batch, trace, x: normalised, y: gateUp)
        let activated = Matrix(workspace.activated, rows: rows, columns: width)
        siluMulForward(
            gate: gateUp.columns(0..<width), up: gateUp.columns(width..<2 * width), y: activated, pool: pool)
        let next = Matrix(workspace.following(layer), rows: rows, columns: shape.hiddenSize)
        copyRows(middle, into: next)
        matmul(x: activated, w: weights.down, y: next, accumulate: true, pool: pool)
        adapt(.feedForwardOutput, layer, batch, trace, x: activated, y: next)
    }

    private func adapt(
        _ site: Adapter.Site, _ layer: Int, _ batch: RowBatch, _ trace: LayerTrace, x: Matrix, y: Matrix
    ) {
        for group in batch.groups {
            guard let index = group.adapter else { continue }
            let adapter = adapters[index]
            let width = adapter.innerWidth(site)
            if width == 0 { continue }
            let range = group.start..<group.start + group.count
            let inner = Matrix(trace.inner[site.rawValue], rows: batch.rowCount, columns: width).rows(range)
            AdapterProducts(adapter: adapter, site: site, layer: layer, pool: pool)
                .forward(x: x.rows(range), inner: inner, y: y.rows(range))
        }
    }

    private func attentionRuns(_ batch: RowBatch, cache: LayerCache, q: Matrix, out: Matrix) -> [AttentionRun] {
        batch.spans.map { span in
            let range = span.row..<span.row + span.count
            return AttentionRun(
                q: q.rows(range), chain: span.chain(cache), startPosition: span.position, out: out.rows(range))
        }
    }
}

extension RowSpan {
    /// The span's context and own stretch as views of a cache.
    func chain(_ cache: LayerCache) -> KeyChain {
        KeyChain(
            (context + [own]).map { range in
                let rows = range.start..<range.start + range.count
                return KeyValueSegment(keys: cache.keys.rows(rows), values: cache.values.rows(rows))
            })
    }
}
