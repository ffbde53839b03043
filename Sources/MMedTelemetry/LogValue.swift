import Foundation

/// A value of a log line or a metric.
public enum LogValue: Equatable, Sendable {
    /// Words; quoted in a line where they hold spaces.
    case text(String)
    /// A whole number.
    case integer(Int)
    /// A measured number.
    case number(Double)
    /// Yes or no.
    case flag(Bool)

    /// As it stands after `key=`: six significant digits, quotes only where a reader would otherwise split the value.
    var lineText: String {
        switch self {
        case .text(let text): LogValue.quotedIfNeeded(text)
        case .integer(let value): String(value)
        case .number(let value): LogValue.sixDigits(value)
        case .flag(let value): value ? "true" : "false"
        }
    }

    /// Six significant digits as C's `%g` writes them.
    static func sixDigits(_ value: Double) -> String {
        guard value.isFinite else { return value.isNaN ? "nan" : value < 0 ? "-inf" : "inf" }
        return String(format: "%.6g", value)
    }

    static func quotedIfNeeded(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && text.unicodeScalars.allSatisfy { scalar in
                scalar.value > 0x20 && scalar != "\"" && scalar != "=" && scalar.value != 0x7F
                    && !scalar.properties.isWhitespace
            }
        return isPlain ? text : quoted(text)
    }

    /// A JSON string, so that one line stays one line and a reader can take it apart.
    static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            case "\u{2028}", "\u{2029}", "\u{85}": out += "\\u" + hex(scalar.value)
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    out += "\\u" + hex(scalar.value)
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        return out + "\""
    }

    private static func hex(_ value: UInt32) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}

extension LogValue: ExpressibleByStringLiteral, ExpressibleByStringInterpolation {
    /// Words.
    public init(stringLiteral value: String) { self = .text(value) }
}

extension LogValue: ExpressibleByIntegerLiteral {
    /// A whole number.
    public init(integerLiteral value: Int) { self = .integer(value) }
}

extension LogValue: ExpressibleByFloatLiteral {
    /// A measured number.
    public init(floatLiteral value: Double) { self = .number(value) }
}

extension LogValue: ExpressibleByBooleanLiteral {
    /// Yes or no.
    public init(booleanLiteral value: Bool) { self = .flag(value) }
}
