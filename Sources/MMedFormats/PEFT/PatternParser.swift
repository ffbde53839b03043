/// Reads the expressions of `ModulePattern`; what Python's `re` knows beyond them (look-around, references, flags, names) is refused.
struct PatternParser {
    private let bytes: [UInt8]
    private var offset = 0

    private static let depthMost = 32
    private static let repetitionsMost = 256
    private static let digits = ByteSet(UInt8(ascii: "0")...UInt8(ascii: "9"))
    private static let wordBytes: ByteSet = {
        var set = ByteSet(UInt8(ascii: "a")...UInt8(ascii: "z"))
        set.formUnion(ByteSet(UInt8(ascii: "A")...UInt8(ascii: "Z")))
        set.formUnion(digits)
        set.insert(UInt8(ascii: "_"))
        return set
    }()

    init(_ text: String) {
        // The whole name must match in any case, so marks of beginning and end say nothing.
        var bytes = Array(text.utf8)
        if bytes.first == UInt8(ascii: "^") { bytes.removeFirst() }
        if bytes.last == UInt8(ascii: "$"), bytes.dropLast().last != UInt8(ascii: "\\") { bytes.removeLast() }
        self.bytes = bytes
    }

    /// The whole text, or nil.
    mutating func pattern() -> PatternNode? {
        guard let node = alternatives(depth: 0), offset == bytes.count else { return nil }
        return node
    }

    private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        offset += 1
        return true
    }

    private mutating func alternatives(depth: Int) -> PatternNode? {
        guard depth < PatternParser.depthMost else { return nil }
        var nodes: [PatternNode] = []
        repeat {
            guard let node = sequence(depth: depth) else { return nil }
            nodes.append(node)
        } while take("|")
        return nodes.count == 1 ? nodes[0] : .alternatives(nodes)
    }

    private mutating func sequence(depth: Int) -> PatternNode? {
        var nodes: [PatternNode] = []
        while let byte = next, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
            guard let atom = atom(depth: depth), let node = repetition(of: atom) else { return nil }
            nodes.append(node)
        }
        return .sequence(nodes)
    }

    private mutating func atom(depth: Int) -> PatternNode? {
        guard let byte = next else { return nil }
        offset += 1
        switch byte {
        case UInt8(ascii: "("):
            if take("?"), !take(":") { return nil }
            guard let inner = alternatives(depth: depth + 1), take(")") else { return nil }
            return inner
        case UInt8(ascii: "["): return characterClass().map { .byte($0) }
        case UInt8(ascii: "."): return .byte(ByteSet([0x0A]).inverted)
        case UInt8(ascii: "\\"): return escaped().map { .byte($0) }
        case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"), UInt8(ascii: "{"), UInt8(ascii: "}"),
            UInt8(ascii: "]"), UInt8(ascii: "^"), UInt8(ascii: "$"):
            return nil
        default: return .byte(ByteSet([byte]))
        }
    }

    /// What may follow an atom: `*`, `+`, `?` or `{m,n}`, greedy or not, which is the same for a whole match.
    private mutating func repetition(of atom: PatternNode) -> PatternNode? {
        let node: PatternNode
        if take("*") {
            node = .repeated(atom, least: 0, most: nil)
        } else if take("+") {
            node = .repeated(atom, least: 1, most: nil)
        } else if take("?") {
            node = .repeated(atom, least: 0, most: 1)
        } else if take("{") {
            guard let least = number() else { return nil }
            var most: Int? = least
            if take(",") {
                most = nil
                if next != UInt8(ascii: "}") {
                    guard let number = number(), number >= least else { return nil }
                    most = number
                }
            }
            guard take("}") else { return nil }
            node = .repeated(atom, least: least, most: most)
        } else {
            return atom
        }
        _ = take("?")
        return node
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let byte = next, PatternParser.digits.contains(byte) {
            let grown = (value ?? 0) * 10 + Int(byte - UInt8(ascii: "0"))
            guard grown <= PatternParser.repetitionsMost else { return nil }
            value = grown
            offset += 1
        }
        return value
    }

    /// The bytes of `\d`, `\w`, or of a mark that would else mean something.
    private mutating func escaped() -> ByteSet? {
        guard let byte = next else { return nil }
        offset += 1
        switch byte {
        case UInt8(ascii: "d"): return PatternParser.digits
        case UInt8(ascii: "w"): return PatternParser.wordBytes
        default: return byte < 128 && !PatternParser.wordBytes.contains(byte) ? ByteSet([byte]) : nil
        }
    }

    /// The rest of a class, `^a-z_]`.
    private mutating func characterClass() -> ByteSet? {
        let isInverted = take("^")
        var set = ByteSet([])
        var isFirst = true
        while let byte = next, byte != UInt8(ascii: "]") || isFirst {
            isFirst = false
            offset += 1
            guard byte != UInt8(ascii: "\\") else {
                guard let escaped = escaped() else { return nil }
                set.formUnion(escaped)
                continue
            }
            set.insert(byte)
            guard next == UInt8(ascii: "-"), offset + 1 < bytes.count, bytes[offset + 1] != UInt8(ascii: "]") else {
                continue
            }
            let last = bytes[offset + 1]
            guard last >= byte, last != UInt8(ascii: "\\") else { return nil }
            offset += 2
            set.formUnion(ByteSet(byte...last))
        }
        guard take("]") else { return nil }
        return isInverted ? set.inverted : set
    }
}
