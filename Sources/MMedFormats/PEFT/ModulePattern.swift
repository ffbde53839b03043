/// A regular expression over module names, as far as PEFT's `target_modules` uses them: letters, `.`, `\d` and `\w`, classes, groups,
/// alternatives and repetitions; the whole name must match. All ways through the pattern are followed at once (Thompson 1968),
/// so that no pattern takes more than its length times the name's: a backtracking matcher never ends on `(.*)*x`.
struct ModulePattern {
    private enum Step {
        case byte(ByteSet)
        case either(Int, Int)
    }

    private var steps: [Step] = []
    /// Repetitions are written out, so this also bounds `{m,n}`.
    private static let stepsMost = 512
    private static let textBytesMost = 1024

    /// Nil when the text is no such expression, or is out of all reason for names of modules.
    init?(_ text: String) {
        guard text.utf8.count <= ModulePattern.textBytesMost else { return nil }
        var parser = PatternParser(text)
        guard let root = parser.pattern(), append(root) else { return nil }
    }

    /// Whether the whole name is of the pattern.
    func matches(_ name: String) -> Bool {
        var current = reached(from: [0])
        for byte in name.utf8 {
            var next: [Int] = []
            for place in current {
                guard place < steps.count, case .byte(let set) = steps[place], set.contains(byte) else { continue }
                next.append(place + 1)
            }
            if next.isEmpty { return false }
            current = reached(from: next)
        }
        return current.contains(steps.count)
    }

    /// The steps that are reached without a byte; the end is `steps.count`.
    private func reached(from starts: [Int]) -> [Int] {
        var isSeen = [Bool](repeating: false, count: steps.count + 1)
        var (open, found) = (starts, [Int]())
        while let place = open.popLast() {
            if isSeen[place] { continue }
            isSeen[place] = true
            if place < steps.count, case .either(let first, let second) = steps[place] {
                open += [first, second]
            } else {
                found.append(place)
            }
        }
        return found
    }

    /// Appends the node's steps; false when there are too many.
    private mutating func append(_ node: PatternNode) -> Bool {
        guard steps.count < ModulePattern.stepsMost else { return false }
        switch node {
        case .byte(let set): steps.append(.byte(set))
        case .sequence(let nodes): for node in nodes { guard append(node) else { return false } }
        case .alternatives(let nodes):
            var ends: [Int] = []
            for (index, node) in nodes.enumerated() {
                let fork = steps.count
                if index + 1 < nodes.count { steps.append(.either(fork + 1, fork + 1)) }
                guard append(node) else { return false }
                guard index + 1 < nodes.count else { break }
                ends.append(steps.count)
                steps.append(.either(0, 0))
                steps[fork] = .either(fork + 1, steps.count)
            }
            for end in ends { steps[end] = .either(steps.count, steps.count) }
        case .repeated(let node, let least, let most):
            for _ in 0..<least { guard append(node) else { return false } }
            for _ in least..<(most ?? least + 1) {
                let fork = steps.count
                steps.append(.either(fork + 1, fork + 1))
                guard append(node) else { return false }
                if most == nil { steps.append(.either(fork, fork)) }
                steps[fork] = .either(fork + 1, steps.count)
            }
        }
        return true
    }
}

/// Some of the 256 bytes.
struct ByteSet {
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    init(_ bytes: some Sequence<UInt8>) { for byte in bytes { insert(byte) } }

    func contains(_ byte: UInt8) -> Bool {
        let word =
            switch byte >> 6 {
            case 0: words.0
            case 1: words.1
            case 2: words.2
            default: words.3
            }
        return word >> (byte & 63) & 1 == 1
    }

    mutating func insert(_ byte: UInt8) {
        let bit: UInt64 = 1 << (byte & 63)
        switch byte >> 6 {
        case 0: words.0 |= bit
        case 1: words.1 |= bit
        case 2: words.2 |= bit
        default: words.3 |= bit
        }
    }

    mutating func formUnion(_ other: ByteSet) {
        words = (words.0 | other.words.0, words.1 | other.words.1, words.2 | other.words.2, words.3 | other.words.3)
    }

    var inverted: ByteSet {
        var set = self
        set.words = (~words.0, ~words.1, ~words.2, ~words.3)
        return set
    }
}

/// A part of a pattern.
indirect enum PatternNode {
    case byte(ByteSet)
    case sequence([PatternNode])
    case alternatives([PatternNode])
    /// `most` nil: any number.
    case repeated(PatternNode, least: Int, most: Int?)
}
