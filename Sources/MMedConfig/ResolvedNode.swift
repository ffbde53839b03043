/// A value as it is written out again, in the order of the tables.
enum ResolvedNode {
    /// Text that YAML reads back as it stands: a number, a flag, a plain word or a quoted text.
    case scalar(String)
    case list([ResolvedNode])
    case map([(key: String, value: ResolvedNode)])

    /// A text that YAML never takes for something else.
    static func text(_ text: String) -> ResolvedNode {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            default:
                let isPrintable = scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value)
                // YAML takes neither marks of line ends nor what Unicode keeps for no character, unless escaped.
                let isBreak = [0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF].contains(scalar.value)
                if isPrintable && !isBreak {
                    out.unicodeScalars.append(scalar)
                } else {
                    let digits = String(scalar.value, radix: 16)
                    out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return .scalar(out + "\"")
    }

    /// Block style with two spaces a level, ending in a line feed.
    func yaml(indent: Int = 0) -> String {
        let space = String(repeating: " ", count: indent)
        switch self {
        case .scalar(let text): return space + text + "\n"
        case .map(let entries):
            return entries.map { entry in
                switch entry.value {
                case .map(let inner) where !inner.isEmpty:
                    "\(space)\(entry.key):\n" + entry.value.yaml(indent: indent + 2)
                case .list(let items) where items.contains(where: \.isMap):
                    "\(space)\(entry.key):\n" + entry.value.yaml(indent: indent + 2)
                default: "\(space)\(entry.key): \(entry.value.flowText)\n"
                }
            }.joined()
        case .list(let items):
            return items.map { "\(space)- " + String($0.yaml(indent: indent + 2).dropFirst(indent + 2)) }.joined()
        }
    }

    /// Everything on one line.
    var flowText: String {
        switch self {
        case .scalar(let text): text
        case .list(let items): "[" + items.map(\.flowText).joined(separator: ", ") + "]"
        case .map(let entries): "{" + entries.map { "\($0.key): \($0.value.flowText)" }.joined(separator: ", ") + "}"
        }
    }

    /// Paths and texts of all values that are no maps.
    func leaves() -> [(String, String)] {
        guard case .map(let entries) = self else { return [] }
        return entries.flatMap { entry -> [(String, String)] in
            guard entry.value.isMap else { return [(entry.key, entry.value.flowText)] }
            return entry.value.leaves().map { ("\(entry.key).\($0.0)", $0.1) }
        }
    }

    private var isMap: Bool {
        if case .map = self { return true }
        return false
    }
}
