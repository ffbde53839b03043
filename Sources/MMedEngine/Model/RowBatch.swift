import MMedCore

/// A range of rows of a key/value cache.
struct CacheRange: Hashable, Sendable {
    var start: Int
    var count: Int
}

/// Consecutive rows of a batch that are consecutive positions of one sequence.
struct RowSpan: Sendable {
    /// First row of the batch.
    var row: Int
    /// Rows.
    var count: Int
    /// Position of the first row in its sequence.
    var position: Int
    /// Cache rows that stand before the span's own stretch, in position order.
    var context: [CacheRange]
    /// Cache rows of the span's own stretch through its last row; the last `count` of them are the span's. Row i attends to the
    /// context and to the stretch through its own key.
    var own: CacheRange

    /// Cache rows that receive the span's keys and values.
    var cacheRows: Range<Int> { own.start + own.count - count..<own.start + own.count }
}

/// The rows of one forward pass. Rows of one adapter are contiguous.
struct RowBatch: Sendable {
    /// Rows that share an adapter; nil is the bare model.
    struct Group: Sendable {
        var adapter: Int?
        var start: Int
        var count: Int
    }

    var tokens: [Int32] = []
    var positions: [Int32] = []
    var spans: [RowSpan] = []
    var groups: [Group] = []

    var rowCount: Int { tokens.count }

    /// Adds rows for `ids` at the end and returns the first. Their own stretch of the cache begins at `own`, and its first
    /// `filled` rows are there already.
    mutating func append(
        _ ids: some Collection<Int32>, context: [CacheRange], own: Int, filled: Int = 0, adapter: Int?
    ) -> Int {
        let position = context.reduce(filled) { $0 + $1.count }
        let row = tokens.count
        tokens.append(contentsOf: ids)
        for index in 0..<ids.count { positions.append(Int32(position + index)) }
        spans.append(
            RowSpan(
                row: row, count: ids.count, position: position, context: context,
                own: CacheRange(start: own, count: filled + ids.count)))
        if let last = groups.last, last.adapter == adapter {
            groups[groups.count - 1].count += ids.count
        } else {
            groups.append(Group(adapter: adapter, start: row, count: ids.count))
        }
        return row
    }
}
