import MMedCore
import MMedFormats
public import MMedTensor

/// Samples paths over shared prompts with continuous batching: a path that ends gives its place to the next at the next token.
///
/// A path's tokens and log-probabilities depend on its request and its adapter's weights alone: not on the other requests, their
/// number, the limits here, or the threads. One sampler serves one caller at a time.
public final class Sampler {
    /// What bounds the memory and the shape of a pass; none of it changes a result.
    public struct Limits: Hashable, Sendable {
        /// Paths under way at once.
        public var concurrentPaths: Int
        /// Prompt rows that one pass may add to its decoding rows.
        public var promptRows: Int
        /// Bytes of keys and values.
        public var cacheBytes: Int

        /// The defaults suit two cores and a small model.
        public init(concurrentPaths: Int = 32, promptRows: Int = 256, cacheBytes: Int = 1 << 30) {
            self.concurrentPaths = concurrentPaths
            self.promptRows = promptRows
            self.cacheBytes = cacheBytes
        }
    }

    /// The model that is sampled.
    public let model: LanguageModel
    /// What the requests' adapter indices mean.
    public var adapters: [Adapter]
    /// Memory and batch bounds.
    public let limits: Limits
    let pool: ComputePool
    private var cache: [LayerCache] = []
    private var workspace: Workspace?
    private var logits: FloatBuffer?

    /// Makes its buffers at first use.
    public init(model: LanguageModel, adapters: [Adapter] = [], pool: ComputePool, limits: Limits = Limits()) {
        self.model = model
        self.adapters = adapters
        self.pool = pool
        self.limits = limits
    }

    /// Samples every request and returns the results in their order. `onFinished` receives each with its index as it ends.
    /// Throws `badData` for a request the model cannot take, `CancellationError` once `isCancelled` says so between two passes.
    public func sample(
        _ requests: [SampleRequest], isCancelled: () -> Bool = { false },
        onFinished: (Int, SampleResult) -> Void = { _, _ in }
    ) throws -> [SampleResult] {
        for adapter in adapters { try model.check(adapter: adapter) }
        let capacity = try cacheRows(requests)
        reserveCache(rows: capacity)
        var run = SamplerRun(requests: requests, capacity: capacity)
        var results = [SampleResult?](repeating: nil, count: requests.count)
        while run.hasWork {
            if isCancelled() { throw CancellationError() }
            try run.admit(limit: max(limits.concurrentPaths, 1))
            let batch = run.nextBatch(adapterCount: adapters.count, promptRows: max(limits.promptRows, 1))
            forward(batch, run: &run)
            for path in draw(run.pathsReady) {
                run.finish(path)
                results[path.index] = path.result
                onFinished(path.index, path.result)
            }
        }
        return results.compactMap { $0 }
    }

    /// Computes the batch's rows and leaves each waiting hidden state with its prompt or path.
    private func forward(_ batch: SamplerBatch, run: inout SamplerRun) {
        let rows = batch.rows.rowCount
        guard rows > 0 else { return }
        let workspace = reserveWorkspace(rows: rows)
        Forward(model: model, adapters: adapters, pool: pool).run(batch.rows, workspace: workspace, cache: cache)
        let output = Matrix(workspace.output, rows: rows, columns: model.shape.hiddenSize)
        for (node, row) in batch.nodes { node.lastHidden = output.row(row) }
        for (path, row) in batch.paths { path.hidden = output.row(row) }
    }
}

extension Sampler {
    /// Rows of the cache for these requests; checks each of them.
    private func cacheRows(_ requests: [SampleRequest]) throws -> Int {
        let rowBytes = model.config.layerCount * 2 * model.shape.keyValueWidth * MemoryLayout<Float>.size
        let limit = max(limits.cacheBytes / rowBytes, 1)
        var seen = Set<PromptNode.Key>()
        var wanted = 0
        for request in requests {
            try check(request)
            let completion = PromptForest.completionRows(request)
            let prompt = request.prefixIds.count + request.suffixIds.count
            try model.check(promptTokens: prompt, completionTokens: completion)
            guard prompt + completion <= limit else {
                throw MMedError(
                    .badData, "a path of \(prompt + completion) tokens exceeds the sampler's memory of \(limit) tokens",
                    mend: "raise its cache limit or shorten the path")
            }
            for key in PromptForest.keys(request) where seen.insert(key).inserted {
                wanted += key.suffixIds?.count ?? key.prefixIds.count
            }
            wanted += completion
            if wanted >= limit { wanted = limit }
        }
        return min(wanted, limit)
    }

    private func check(_ request: SampleRequest) throws {
        try model.check(tokens: request.prefixIds)
        try model.check(tokens: request.suffixIds)
        if let adapter = request.adapter, !adapters.indices.contains(adapter) {
            throw MMedError(.badData, "a request names adapter \(adapter), but \(adapters.count) are loaded")
        }
        guard request.temperature >= 0, request.temperature.isFinite else {
            throw MMedError(.badData, "the temperature is \(request.temperature), expected 0 or more")
        }
        guard request.topP > 0, request.topP <= 1, request.topK >= 0 else {
            throw MMedError(
                .badData, "top-p is \(request.topP) and top-k \(request.topK), expected above 0 to 1, and 0 or more")
        }
        guard request.maxTokens > 0, request.maxTokens <= model.contextLength else {
            throw MMedError(
                .badData, "the token budget is \(request.maxTokens), expected 1 to \(model.contextLength)")
        }
        if let probe = request.choiceProbe {
            guard !probe.triggerIds.isEmpty, !probe.letterIds.isEmpty else {
                throw MMedError(.badData, "a choice probe needs a trigger and the letters' tokens")
            }
            try model.check(tokens: probe.triggerIds)
            try model.check(tokens: probe.letterIds)
        }
    }

    private func reserveCache(rows: Int) {
        if let first = cache.first, first.keys.rows >= rows { return }
        cache = []
        let width = model.shape.keyValueWidth
        cache = (0..<model.config.layerCount).map { _ in
            LayerCache(keys: Matrix(rows: rows, columns: width), values: Matrix(rows: rows, columns: width))
        }
    }

    private func reserveWorkspace(rows: Int) -> Workspace {
        let widths = Adapter.Site.allCases.map { site in adapters.map { $0.innerWidth(site) }.max() ?? 0 }
        if let workspace, workspace.fits(rows: rows, innerWidths: widths) { return workspace }
        workspace = nil
        let made = Workspace(
            rows: max(rows, limits.concurrentPaths + limits.promptRows), config: model.config, innerWidths: widths,
            keepsLayers: false)
        workspace = made
        return made
    }

    func reserveLogits(rows: Int) -> Matrix {
        let count = rows * model.vocabularySize
        if let logits, logits.count >= count {
            return Matrix(logits, rows: rows, columns: model.vocabularySize)
        }
        logits = nil
        let made = FloatBuffer(count: max(rows, min(limits.concurrentPaths, 64)) * model.vocabularySize)
        logits = made
        return Matrix(made, rows: rows, columns: model.vocabularySize)
    }
}
