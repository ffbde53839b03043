/// What is due, in the order of time; what is due at the same time, in the order in which it was put. A binary heap.
struct EventQueue<Item> {
    private struct Entry {
        let due: UInt64
        let order: UInt64
        let place: Int

        func isBefore(_ other: Entry) -> Bool { due == other.due ? order < other.order : due < other.due }
    }

    private var heap: [Entry] = []
    /// Items stay where they are while the heap moves small entries.
    private var items: [Item?] = []
    private var free: [Int] = []
    private var order: UInt64 = 0

    var count: Int { heap.count }

    mutating func put(_ item: Item, due: UInt64) {
        order += 1
        let place: Int
        if let last = free.popLast() {
            place = last
            items[place] = item
        } else {
            place = items.count
            items.append(item)
        }
        heap.append(Entry(due: due, order: order, place: place))
        rise(heap.count - 1)
    }

    mutating func take() -> (due: UInt64, item: Item)? {
        guard let first = heap.first, let item = items[first.place] else { return nil }
        items[first.place] = nil
        free.append(first.place)
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink(0)
        }
        return (first.due, item)
    }

    private mutating func rise(_ start: Int) {
        var child = start
        let entry = heap[child]
        while child > 0 {
            let parent = (child - 1) / 2
            guard entry.isBefore(heap[parent]) else { break }
            heap[child] = heap[parent]
            child = parent
        }
        heap[child] = entry
    }

    private mutating func sink(_ start: Int) {
        var parent = start
        let entry = heap[parent]
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count && heap[child + 1].isBefore(heap[child]) { child += 1 }
            guard heap[child].isBefore(entry) else { break }
            heap[parent] = heap[child]
            parent = child
        }
        heap[parent] = entry
    }
}
