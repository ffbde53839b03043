public import MMedAlgorithms
public import MMedCore
import MMedFormats
public import MMedTensor

/// Scores and differentiates prefix trees. It is blind to the loss: the caller gives, for one path's log-probabilities, the loss
/// and its derivatives.
///
/// Results do not depend on the number of threads. One learner serves one caller at a time.
public final class Learner {
    /// The model whose adapters learn.
    public let model: LanguageModel
    /// Rows of one forward and backward pass; trees are packed up to it, larger ones are cut by paths.
    public let maxRows: Int
    private let pool: ComputePool
    private var scoring: Workspace?
    private var learning: (workspace: Workspace, scratch: BackwardScratch)?

    /// Buffers are made at first use, for `maxRows` rows or the largest path: with the default about 24 KB x layers a thousand rows
    /// at SmolLM2-135M's widths.
    public init(model: LanguageModel, pool: ComputePool, maxRows: Int = 1536) {
        self.model = model
        self.pool = pool
        self.maxRows = max(maxRows, 1)
    }

    /// Natural log-probabilities of every completion token under softmax(logits / temperature), by tree, path and token: the same
    /// bits as the sampler reports. Throws `badData` for trees that the model cannot take.
    public func score(
        _ trees: [PromptTree], adapter: Adapter?, temperature: Float = 1
    ) throws(MMedError) -> [[[Float]]] {
        try check(trees, adapter: adapter, temperature: temperature)
        var result = trees.map { tree in tree.paths.map { [Float](repeating: 0, count: $0.completionIds.count) } }
        for part in TreeBatch.pack(trees, maxRows: maxRows) {
            let workspace = scoringWorkspace(rows: part.batch.rowCount, adapter: adapter)
            let residual = forward(part, workspace: workspace, adapter: adapter)
            let logprobs = OutputHead(model: model, pool: pool).logprobs(
                residual, targets: part.logitRows.map(\.target), temperature: temperature, unitGradient: nil)
            for (place, logprob) in zip(part.logitRows, logprobs) {
                let path = part.paths[place.path]
                result[path.tree][path.path][place.token] = logprob
            }
        }
        return result
    }

    /// Adds the gradient of the sum of all paths' losses to `gradient`, in the order of the adapter's layout, and returns that sum.
    ///
    /// `pathLoss(tree, path, logprobs)` is asked once for each path that has tokens, in order of the packed trees. Trees are added
    /// in order, so equal calls give equal bits. Throws `badData` for trees that the model cannot take or a gradient of another
    /// size, and what `pathLoss` throws.
    public func addGradient(
        of trees: [PromptTree], adapter: Adapter, temperature: Float = 1, to gradient: FloatBuffer,
        pathLoss: (_ tree: Int, _ path: Int, _ logprobs: [Float]) throws -> PathLoss
    ) throws -> Double {
        try check(trees, adapter: adapter, temperature: temperature)
        guard gradient.count == adapter.layout.parameterCount else {
            throw MMedError(
                .badData,
                "a gradient of \(gradient.count) numbers, expected \(adapter.layout.parameterCount) as the adapter has")
        }
        var loss = 0.0
        for part in TreeBatch.pack(trees, maxRows: maxRows) {
            let (workspace, scratch) = learningWorkspace(rows: part.batch.rowCount, adapter: adapter)
            let residual = forward(part, workspace: workspace, adapter: adapter)
            let unit = Matrix(rows: residual.rows, columns: residual.columns)
            let logprobs = OutputHead(model: model, pool: pool).logprobs(
                residual, targets: part.logitRows.map(\.target), temperature: temperature, unitGradient: unit)
            let dOutput = Matrix(rows: part.batch.rowCount, columns: model.shape.hiddenSize)
            loss += try spread(part, logprobs: logprobs, unit: unit, to: dOutput, pathLoss: pathLoss)
            Backward(model: model, adapter: adapter, pool: pool).run(
                part.batch, workspace: workspace, scratch: scratch, dOutput: dOutput, gradient: gradient)
        }
        return loss
    }

    /// Weighs the unit gradients by the loss's derivatives and adds them to the rows they came from; returns the loss.
    private func spread(
        _ part: TreeBatch, logprobs: [Float], unit: Matrix, to dOutput: Matrix,
        pathLoss: (Int, Int, [Float]) throws -> PathLoss
    ) throws -> Double {
        var loss = 0.0
        var start = 0
        for path in part.paths where path.tokenCount > 0 {
            let end = start + path.tokenCount
            let answer = try pathLoss(path.tree, path.path, Array(logprobs[start..<end]))
            guard answer.lossPerLogprob.count == path.tokenCount else {
                throw MMedError(
                    .internalError,
                    "a loss gave \(answer.lossPerLogprob.count) derivatives for a path of \(path.tokenCount) tokens"
                )
            }
            loss += answer.loss
            for index in start..<end {
                let derivative = Float(answer.lossPerLogprob[index - start])
                if derivative == 0 { continue }
                let row = part.logitRows[index].row
                addRows(unit.rows(index..<index + 1), into: dOutput.rows(row..<row + 1), scale: derivative, pool: pool)
            }
            start = end
        }
        return loss
    }

    /// The residual rows [logit rows, hidden] that predict the batch's targets.
    private func forward(_ part: TreeBatch, workspace: Workspace, adapter: Adapter?) -> Matrix {
        var batch = part.batch
        if adapter == nil {
            batch.groups = batch.groups.map { RowBatch.Group(adapter: nil, start: $0.start, count: $0.count) }
        }
        Forward(model: model, adapters: adapter.map { [$0] } ?? [], pool: pool)
            .run(batch, workspace: workspace, cache: nil)
        let output = Matrix(workspace.output, rows: batch.rowCount, columns: model.shape.hiddenSize)
        let residual = Matrix(rows: part.logitRows.count, columns: model.shape.hiddenSize)
        gatherRows(table: output, ids: part.logitRows.map { Int32($0.row) }, into: residual)
        return residual
    }
}

extension Learner {
    private func scoringWorkspace(rows: Int, adapter: Adapter?) -> Workspace {
        let widths = Adapter.Site.allCases.map { adapter?.innerWidth($0) ?? 0 }
        if let scoring, scoring.fits(rows: rows, innerWidths: widths) { return scoring }
        let made = Workspace(
            rows: max(rows, maxRows), config: model.config, innerWidths: widths, keepsLayers: false)
        scoring = made
        return made
    }

    private func learningWorkspace(rows: Int, adapter: Adapter) -> (Workspace, BackwardScratch) {
        let widths = Adapter.Site.allCases.map(adapter.innerWidth)
        if let learning, learning.workspace.fits(rows: rows, innerWidths: widths) {
            return learning
        }
        learning = nil
        let capacity = max(rows, maxRows)
        let made = (
            Workspace(rows: capacity, config: model.config, innerWidths: widths, keepsLayers: true),
            BackwardScratch(rows: capacity, config: model.config, innerWidths: widths)
        )
        learning = made
        return made
    }

    private func check(_ trees: [PromptTree], adapter: Adapter?, temperature: Float) throws(MMedError) {
        guard temperature > 0, temperature.isFinite else {
            throw MMedError(.badData, "the temperature is \(temperature), expected a positive number")
        }
        if let adapter { try model.check(adapter: adapter) }
        for tree in trees {
            try model.check(tokens: tree.prefixIds)
            for ids in tree.suffixIds { try model.check(tokens: ids) }
            for path in tree.paths {
                guard tree.suffixIds.indices.contains(path.suffix) else {
                    throw MMedError(
                        .badData, "a path names suffix \(path.suffix), but its tree has \(tree.suffixIds.count)")
                }
                try model.check(tokens: path.completionIds)
                let prompt = tree.prefixIds.count + tree.suffixIds[path.suffix].count
                try model.check(promptTokens: prompt, completionTokens: path.completionIds.count)
            }
        }
    }
}
