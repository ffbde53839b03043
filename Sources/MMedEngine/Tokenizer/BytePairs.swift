/// Merges the bytes of one word to tokens (Sennrich et al. 2016): again and again the pair of highest priority, the leftmost of equals.
struct BytePairs: Sendable {
    /// By left and right token: priority (0 is first) in the upper half, the token made in the lower.
    private let merges: [UInt64: UInt64]

    /// Pairs in order of priority, with what they make.
    init(_ pairs: [(left: Int32, right: Int32, made: Int32)]) {
        var merges: [UInt64: UInt64] = [:]
        merges.reserveCapacity(pairs.count)
        for (rank, pair) in pairs.enumerated() {
            // Where a file repeats a pair its last priority counts, as in the field's tokenizers.
            merges[BytePairs.key(pair.left, pair.right)] = UInt64(rank) << 32 | UInt64(UInt32(bitPattern: pair.made))
        }
        self.merges = merges
    }

    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    private struct Candidate {
        let rank: UInt64
        let position: Int
        let left: Int32, right: Int32, made: Int32

        func isBefore(_ other: Candidate) -> Bool { (rank, position) < (other.rank, other.position) }
    }

    /// Appends the tokens that `symbols`, one for each byte, become.
    func merge(_ symbols: [Int32], into ids: inout [Int32]) {
        guard symbols.count > 1 else {
            ids.append(contentsOf: symbols)
            return
        }
        var tokens = symbols
        // A doubly linked list over positions: a merge keeps its left position and takes the right one out.
        var next = Array(1...symbols.count)
        var previous = Array(-1..<symbols.count - 1)
        var heap = Heap()
        func offer(_ position: Int) {
            let right = next[position]
            guard right < tokens.count, let found = merges[BytePairs.key(tokens[position], tokens[right])] else {
                return
            }
            heap.push(
                Candidate(
                    rank: found >> 32, position: position, left: tokens[position], right: tokens[right],
                    made: Int32(bitPattern: UInt32(truncatingIfNeeded: found))))
        }
        for position in 0..<symbols.count - 1 { offer(position) }
        while let candidate = heap.pop() {
            let position = candidate.position
            let right = next[position]
            // The pair is stale when one of its sides was merged since it was offered.
            guard tokens[position] == candidate.left, right < tokens.count, tokens[right] == candidate.right else {
                continue
            }
            tokens[position] = candidate.made
            tokens[right] = -1
            next[position] = next[right]
            if next[right] < tokens.count { previous[next[right]] = position }
            if previous[position] >= 0 { offer(previous[position]) }
            offer(position)
        }
        for token in tokens where token >= 0 { ids.append(token) }
    }

    private struct Heap {
        var items: [Candidate] = []

        mutating func push(_ item: Candidate) {
            items.append(item)
            var child = items.count - 1
            while child > 0 {
                let parent = (child - 1) / 2
                guard items[child].isBefore(items[parent]) else { return }
                items.swapAt(child, parent)
                child = parent
            }
        }

        mutating func pop() -> Candidate? {
            guard let top = items.first else { return nil }
            let last = items.removeLast()
            guard !items.isEmpty else { return top }
            items[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in [2 * parent + 1, 2 * parent + 2] where child < items.count {
                    if items[child].isBefore(items[least]) { least = child }
                }
                guard least != parent else { return top }
                items.swapAt(parent, least)
                parent = least
            }
        }
    }
}
