import MMedCore
import MMedTensor

extension Sampler {
    /// Draws the next token of each path, or measures its choice, and returns the paths that are over.
    func draw(_ paths: [ActivePath]) -> [ActivePath] {
        guard !paths.isEmpty else { return [] }
        let width = model.shape.hiddenSize
        var over: [ActivePath] = []
        // Rows of one temperature together, so that one call of a kernel serves them.
        let sorted = paths.enumerated().sorted {
            ($0.element.request.temperature, $0.offset) < ($1.element.request.temperature, $1.offset)
        }.map(\.element)
        for start in stride(from: 0, to: sorted.count, by: 64) {
            let chunk = Array(sorted[start..<min(start + 64, sorted.count)])
            let residual = Matrix(chunk.flatMap { $0.hidden ?? [] }, rows: chunk.count, columns: width)
            for path in chunk { path.hidden = nil }
            let logits = reserveLogits(rows: chunk.count)
            OutputHead(model: model, pool: pool).logits(
                residual, normalised: Matrix(rows: chunk.count, columns: width),
                inverseRms: FloatBuffer(count: chunk.count), into: logits)
            over += take(chunk, logits: logits)
        }
        return over
    }

    private func take(_ paths: [ActivePath], logits: Matrix) -> [ActivePath] {
        var over: [ActivePath] = []
        for (row, path) in paths.enumerated() {
            let isProbing = path.phase == .probing
            if isProbing || (path.choiceLogprobs == nil && path.endsWithTrigger) {
                path.choiceLogprobs = letterLogprobs(path, logits: logits.rows(row..<row + 1))
            }
            if isProbing { over.append(path) }
        }
        var start = 0
        while start < paths.count {
            let temperature = paths[start].request.temperature
            let end = paths[start...].firstIndex { $0.request.temperature != temperature } ?? paths.count
            over += take(Array(paths[start..<end]), logits: logits.rows(start..<end), temperature: temperature)
            start = end
        }
        return over
    }

    /// Paths of one temperature; those that only measure are left alone.
    private func take(_ paths: [ActivePath], logits: Matrix, temperature: Float) -> [ActivePath] {
        let inverse = temperature > 0 ? 1 / temperature : 1
        let uniforms = paths.map {
            CounterRandom(key: $0.request.slotKey).uniform(UInt64($0.completionIds.count))
        }
        var ids =
            temperature > 0
            ? sampleRows(logits, uniforms: uniforms, inverseTemperature: inverse, pool: pool)
            : argmaxRows(logits, pool: pool)
        if temperature > 0 {
            let cut = paths.indices.filter { paths[$0].request.topK > 0 || paths[$0].request.topP < 1 }
            let drawn = FloatBuffer(count: cut.count)
            let requests = cut.map { paths[$0].request }
            pool.run(parts: cut.count) { part in
                let request = requests[part]
                let id = TokenDraw.draw(
                    logits: logits.row(cut[part]), inverseTemperature: inverse, topK: request.topK, topP: request.topP,
                    uniform: uniforms[cut[part]])
                // Every id of a vocabulary below 2^24 is a float without loss.
                drawn[part] = Float(id)
            }
            for (part, row) in cut.enumerated() { ids[row] = Int32(drawn[part]) }
        }
        let scores = logSoftmaxPick(logits: logits, ids: ids, inverseTemperature: inverse, pool: pool)
        var over: [ActivePath] = []
        for (row, path) in paths.enumerated() where path.phase == .generating {
            if path.take(ids[row], logprob: scores[row].logProb) { over.append(path) }
        }
        return over
    }

    private func letterLogprobs(_ path: ActivePath, logits: Matrix) -> [Float] {
        guard let letters = path.request.choiceProbe?.letterIds, let first = letters.first else { return [] }
        let score = logSoftmaxPick(logits: logits, ids: [first], pool: pool)[0]
        return letters.map { logits[0, Int($0)] - score.logSumExp }
    }
}
