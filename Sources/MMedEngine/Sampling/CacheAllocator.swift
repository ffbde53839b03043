/// Hands out ranges of cache rows, first fit; neighbours are joined when they come back.
struct CacheAllocator: Sendable {
    let capacity: Int
    private(set) var free: [CacheRange]

    init(capacity: Int) {
        self.capacity = capacity
        free = capacity > 0 ? [CacheRange(start: 0, count: capacity)] : []
    }

    /// Nil when no free range is long enough.
    mutating func take(_ count: Int) -> CacheRange? {
        guard count > 0 else { return CacheRange(start: 0, count: 0) }
        guard let index = free.firstIndex(where: { $0.count >= count }) else { return nil }
        let range = CacheRange(start: free[index].start, count: count)
        free[index].start += count
        free[index].count -= count
        if free[index].count == 0 { free.remove(at: index) }
        return range
    }

    mutating func give(_ range: CacheRange) {
        guard range.count > 0 else { return }
        let index = free.firstIndex { $0.start > range.start } ?? free.count
        free.insert(range, at: index)
        join(index)
        if index > 0 { join(index - 1) }
    }

    private mutating func join(_ index: Int) {
        guard index + 1 < free.count, free[index].start + free[index].count == free[index + 1].start else { return }
        free[index].count += free[index + 1].count
        free.remove(at: index + 1)
    }
}
