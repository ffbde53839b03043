extension JSONValue {
    /// The text of the value. Members keep their order unless `sortingKeys`; an `indent` of 0 writes one line without spaces.
    /// Numbers that are not finite have no JSON form and are written as null.
    public func text(sortingKeys: Bool = false, indent: Int = 0) -> String {
        var output = ""
        write(to: &output, sortingKeys: sortingKeys, indent: indent, depth: 0)
        return output
    }

    private func write(to output: inout String, sortingKeys: Bool, indent: Int, depth: Int) {
        func line(_ depth: Int) {
            guard indent > 0 else { return }
            output += "\n"
            output += String(repeating: " ", count: indent * depth)
        }
        switch self {
        case .null: output += "null"
        case .bool(let value): output += value ? "true" : "false"
        case .integer(let value): output += String(value)
        case .number(let value): output += value.isFinite ? "\(value)" : "null"
        case .string(let value): JSONValue.write(value, to: &output)
        case .array(let values):
            output += "["
            for (index, value) in values.enumerated() {
                if index > 0 { output += "," }
                line(depth + 1)
                value.write(to: &output, sortingKeys: sortingKeys, indent: indent, depth: depth + 1)
            }
            if !values.isEmpty { line(depth) }
            output += "]"
        case .object(let object):
            output += "{"
            let keys = sortingKeys ? object.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } : object.keys
            for (index, key) in keys.enumerated() {
                if index > 0 { output += "," }
                line(depth + 1)
                JSONValue.write(key, to: &output)
                output += indent > 0 ? ": " : ":"
                (object[key] ?? .null).write(to: &output, sortingKeys: sortingKeys, indent: indent, depth: depth + 1)
            }
            if !keys.isEmpty { line(depth) }
            output += "}"
        }
    }

    private static func write(_ text: String, to output: inout String) {
        output += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            default:
                if scalar.value < 0x20 {
                    let digits = String(scalar.value, radix: 16)
                    output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    output.unicodeScalars.append(scalar)
                }
            }
        }
        output += "\""
    }
}
