import MMedCore

/// One log-probability that a batch yields: the hidden state of `row` predicts `target`.
struct LogitRow: Sendable {
    var row: Int
    var target: Int32
    /// Index into the batch's paths.
    var path: Int
    /// Token of the path's completion.
    var token: Int
}

/// Prefix trees laid out as the rows of one forward pass, each shared token once; the cache rows are the batch's own rows.
struct TreeBatch: Sendable {
    /// A path's place in the caller's list.
    struct Path: Sendable {
        var tree: Int
        var path: Int
        var tokenCount: Int
    }

    private(set) var batch = RowBatch()
    private(set) var paths: [Path] = []
    private(set) var logitRows: [LogitRow] = []

    /// Adds the given paths of a tree with the prefix and the suffixes they need.
    mutating func append(_ tree: PromptTree, index: Int, pathIndices: [Int]) {
        guard !pathIndices.isEmpty else { return }
        var prefix: [CacheRange] = []
        if !tree.prefixIds.isEmpty {
            let own = batch.rowCount
            _ = batch.append(tree.prefixIds, context: [], own: own, adapter: 0)
            prefix = [CacheRange(start: own, count: tree.prefixIds.count)]
        }
        for suffix in tree.suffixIds.indices {
            let below = pathIndices.filter { tree.paths[$0].suffix == suffix }
            if below.isEmpty { continue }
            var context = prefix
            let ids = tree.suffixIds[suffix]
            if !ids.isEmpty {
                let own = batch.rowCount
                _ = batch.append(ids, context: prefix, own: own, adapter: 0)
                context.append(CacheRange(start: own, count: ids.count))
            }
            guard let end = context.last else { continue }
            for path in below {
                appendPath(
                    tree.paths[path].completionIds, place: (index, path), context: context,
                    parentRow: end.start + end.count - 1)
            }
        }
    }

    /// The last token of a completion predicts nothing that is asked for, so it has no row.
    private mutating func appendPath(
        _ ids: [Int32], place: (tree: Int, path: Int), context: [CacheRange], parentRow: Int
    ) {
        let path = paths.count
        paths.append(Path(tree: place.tree, path: place.path, tokenCount: ids.count))
        guard let first = ids.first else { return }
        logitRows.append(LogitRow(row: parentRow, target: first, path: path, token: 0))
        guard ids.count > 1 else { return }
        let own = batch.rowCount
        let row = batch.append(ids.dropLast(), context: context, own: own, adapter: 0)
        for token in 1..<ids.count {
            logitRows.append(LogitRow(row: row + token - 1, target: ids[token], path: path, token: token))
        }
    }
}

extension TreeBatch {
    /// Cuts trees, in order, into batches of at most `maxRows` rows. A tree that is larger is cut by paths, each part with its own
    /// copy of the prompt; a single path may exceed the limit.
    static func pack(_ trees: [PromptTree], maxRows: Int) -> [TreeBatch] {
        var done: [TreeBatch] = []
        var current = TreeBatch()
        for (index, tree) in trees.enumerated() {
            for part in parts(of: tree, maxRows: maxRows) {
                let rows = rowCount(tree, part)
                if current.batch.rowCount > 0, current.batch.rowCount + rows > maxRows {
                    done.append(current)
                    current = TreeBatch()
                }
                current.append(tree, index: index, pathIndices: part)
            }
        }
        if !current.paths.isEmpty { done.append(current) }
        return done
    }

    private static func rowCount(_ tree: PromptTree, _ paths: [Int]) -> Int {
        var rows = tree.prefixIds.count
        for suffix in tree.suffixIds.indices where paths.contains(where: { tree.paths[$0].suffix == suffix }) {
            rows += tree.suffixIds[suffix].count
        }
        for path in paths { rows += max(0, tree.paths[path].completionIds.count - 1) }
        return rows
    }

    /// Paths by suffix, cut where the rows would exceed the limit.
    private static func parts(of tree: PromptTree, maxRows: Int) -> [[Int]] {
        let order = tree.suffixIds.indices.flatMap { suffix in
            tree.paths.indices.filter { tree.paths[$0].suffix == suffix }
        }
        if rowCount(tree, order) <= maxRows { return [order] }
        var parts: [[Int]] = []
        var part: [Int] = []
        for path in order {
            if !part.isEmpty, rowCount(tree, part + [path]) > maxRows {
                parts.append(part)
                part = []
            }
            part.append(path)
        }
        if !part.isEmpty { parts.append(part) }
        return parts
    }
}
