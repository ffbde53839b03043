/// What the pre-tokenizers' patterns ask about a code point.
enum ScalarClass: UInt8 {
    /// `\p{L}`
    case letter
    /// `\p{N}`
    case number
    /// `[\r\n]`
    case lineEnd
    /// `\s` apart from line ends
    case space
    /// The rest.
    case other

    init(_ scalar: Unicode.Scalar) {
        if scalar.value < 128 {
            self = ScalarClass.ascii[Int(scalar.value)]
        } else {
            self = ScalarClass.looked(up: scalar)
        }
    }

    var isSpace: Bool { self == .space || self == .lineEnd }

    private static let ascii: [ScalarClass] = (0..<128).map { value in
        let scalar = Unicode.Scalar(UInt8(value))
        return scalar == "\r" || scalar == "\n" ? .lineEnd : looked(up: scalar)
    }

    private static func looked(up scalar: Unicode.Scalar) -> ScalarClass {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return .letter
        case .decimalNumber, .letterNumber, .otherNumber: return .number
        default: return scalar.properties.isWhitespace ? .space : .other
        }
    }
}
