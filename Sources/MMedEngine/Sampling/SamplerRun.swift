import MMedCore

/// The rows of one pass, and which prompt or path waits for which of them.
struct SamplerBatch {
    var rows = RowBatch()
    var nodes: [(node: PromptNode, row: Int)] = []
    var paths: [(path: ActivePath, row: Int)] = []
}

/// Who is under way in one sampling call.
struct SamplerRun {
    private let requests: [SampleRequest]
    /// Indices of the requests, those of one prompt together, in order of their first.
    private let order: [Int]
    private var admitted = 0
    private var active: [ActivePath] = []
    private var forest: PromptForest

    init(requests: [SampleRequest], capacity: Int) {
        self.requests = requests
        forest = PromptForest(requests: requests, capacity: capacity)
        var groups: [[PromptNode.Key]: Int] = [:]
        var prefixes: [PromptNode.Key: Int] = [:]
        let places = requests.map { request in
            let keys = PromptForest.keys(request)
            let first = prefixes[keys[0], default: prefixes.count]
            prefixes[keys[0]] = first
            let second = groups[keys, default: groups.count]
            groups[keys] = second
            return (first, second)
        }
        order = requests.indices.sorted { (places[$0].0, places[$0].1, $0) < (places[$1].0, places[$1].1, $1) }
    }

    var hasWork: Bool { admitted < order.count || !active.isEmpty }

    /// Fills the free places. Throws `badData` when the memory cannot hold even one path.
    mutating func admit(limit: Int) throws(MMedError) {
        while active.count < limit, admitted < order.count {
            let index = order[admitted]
            guard let path = forest.admit(requests[index], index: index) else { break }
            active.append(path)
            admitted += 1
        }
        guard !active.isEmpty else {
            throw MMedError(.internalError, "the sampler's memory cannot hold one path that was promised room")
        }
    }

    /// The next rows, adapter by adapter: prompts that are not yet computed, then the paths' pending tokens.
    mutating func nextBatch(adapterCount: Int, promptRows: Int) -> SamplerBatch {
        var batch = SamplerBatch()
        var budget = promptRows
        for adapter in [nil] + (0..<adapterCount).map(Optional.some) {
            for node in forest.nodes where node.key.adapter == adapter && !node.isFilled && node.users > 0 {
                if let parent = node.parent, !parent.isFilled { continue }
                let count = min(budget, node.ids.count - node.filled)
                if count == 0 { break }
                budget -= count
                let row = batch.rows.append(
                    node.ids[node.filled..<node.filled + count], context: node.context, own: node.range.start,
                    filled: node.filled, adapter: adapter)
                node.filled += count
                if node.isFilled { batch.nodes.append((node, row + count - 1)) }
            }
            for path in active where path.request.adapter == adapter && !path.pending.isEmpty {
                let row = batch.rows.append(
                    path.pending, context: path.leaf.contextThrough, own: path.range.start, filled: path.filled,
                    adapter: adapter)
                path.filled += path.pending.count
                batch.paths.append((path, row + path.pending.count - 1))
                path.pending = []
            }
        }
        return batch
    }

    /// Paths whose next hidden state is there; the first one is that of the prompt's last token.
    var pathsReady: [ActivePath] {
        active.filter { path in
            if path.hidden == nil, path.completionIds.isEmpty, path.leaf.isFilled { path.hidden = path.leaf.lastHidden }
            return path.hidden != nil
        }
    }

    mutating func finish(_ path: ActivePath) {
        active.removeAll { $0 === path }
        forest.finish(path)
    }
}
