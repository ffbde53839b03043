import MMedCore

extension JSONValue {
    /// Reads one JSON value and nothing after it. `place` opens every error, which names line and column; `firstLine` is the
    /// number of the first line. Throws `badData`.
    public static func parse(_ bytes: [UInt8], at place: String, firstLine: Int = 1) throws -> JSONValue {
        try bytes.withUnsafeBytes { try parse($0, at: place, firstLine: firstLine) }
    }

    static func parse(_ bytes: UnsafeRawBufferPointer, at place: String, firstLine: Int = 1) throws -> JSONValue {
        var parser = JSONParser(bytes: bytes, place: place, firstLine: firstLine)
        return try parser.document()
    }
}

/// Recursive descent over UTF-8, with a bound on depth.
private struct JSONParser {
    let bytes: UnsafeRawBufferPointer
    let place: String
    let firstLine: Int
    var offset = 0

    static let depthMost = 64

    mutating func document() throws -> JSONValue {
        let value = try value(depth: 0)
        skipSpace()
        guard offset == bytes.count else { throw failure("expected the end of the text") }
        return value
    }

    private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { offset += 1 }
    }

    private mutating func value(depth: Int) throws -> JSONValue {
        guard depth < JSONParser.depthMost else { throw failure("nests deeper than \(JSONParser.depthMost)") }
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case .some(UInt8(ascii: "-")), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try number()
        default: throw failure("expected a JSON value")
        }
    }

    private mutating func word(_ text: StaticString, _ value: JSONValue) throws -> JSONValue {
        for index in 0..<text.utf8CodeUnitCount {
            guard next == text.utf8Start[index] else { throw failure("expected \(text)") }
            offset += 1
        }
        return value
    }

    private mutating func object(depth: Int) throws -> JSONValue {
        offset += 1
        var object = JSONObject()
        skipSpace()
        if next == UInt8(ascii: "}") {
            offset += 1
            return .object(object)
        }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw failure("expected a key in quotes") }
            let start = offset
            let key = try string()
            skipSpace()
            guard next == UInt8(ascii: ":") else { throw failure("expected a colon after the key \"\(key)\"") }
            offset += 1
            let value = try value(depth: depth + 1)
            guard object[key] == nil else { throw failure("the key \"\(key)\" appears twice", at: start) }
            object[key] = value
            if try !more(before: UInt8(ascii: "}")) { return .object(object) }
        }
    }

    private mutating func array(depth: Int) throws -> JSONValue {
        offset += 1
        var values: [JSONValue] = []
        skipSpace()
        if next == UInt8(ascii: "]") {
            offset += 1
            return .array(values)
        }
        while true {
            values.append(try value(depth: depth + 1))
            if try !more(before: UInt8(ascii: "]")) { return .array(values) }
        }
    }

    /// Takes a comma or the closing mark.
    private mutating func more(before mark: UInt8) throws -> Bool {
        skipSpace()
        guard let byte = next, byte == mark || byte == UInt8(ascii: ",") else {
            throw failure("expected a comma or \(Character(UnicodeScalar(mark)))")
        }
        offset += 1
        return byte != mark
    }

    private mutating func digits() throws {
        guard let byte = next, (0x30...0x39).contains(byte) else { throw failure("expected a digit") }
        while let byte = next, (0x30...0x39).contains(byte) { offset += 1 }
    }

    private mutating func number() throws -> JSONValue {
        let start = offset
        var isWhole = true
        if next == UInt8(ascii: "-") { offset += 1 }
        if next == UInt8(ascii: "0") { offset += 1 } else { try digits() }
        if next == UInt8(ascii: ".") {
            isWhole = false
            offset += 1
            try digits()
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            isWhole = false
            offset += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { offset += 1 }
            try digits()
        }
        let text = String(decoding: bytes[start..<offset], as: UTF8.self)
        if isWhole, let integer = Int(text) { return .integer(integer) }
        guard let number = Double(text), number.isFinite else {
            throw failure("the number \(text) does not fit", at: start)
        }
        return .number(number)
    }

    private mutating func string() throws -> String {
        let start = offset
        offset += 1
        var plainEnd = offset
        while plainEnd < bytes.count, bytes[plainEnd] != 0x22, bytes[plainEnd] != 0x5C, bytes[plainEnd] >= 0x20 {
            plainEnd += 1
        }
        if plainEnd < bytes.count, bytes[plainEnd] == 0x22 {
            defer { offset = plainEnd + 1 }
            return try text(bytes[offset..<plainEnd], at: start)
        }
        var collected: [UInt8] = []
        while true {
            guard let byte = next else { throw failure("the string that begins here does not end", at: start) }
            guard byte >= 0x20 else { throw failure("a control character in a string") }
            offset += 1
            if byte == 0x22 { return try text(collected[...], at: start) }
            if byte == 0x5C { try escape(into: &collected) } else { collected.append(byte) }
        }
    }

    private func text(_ bytes: some Sequence<UInt8>, at start: Int) throws -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw failure("is not UTF-8", at: start) }
        return text
    }

    private mutating func escape(into collected: inout [UInt8]) throws {
        guard let byte = next else { throw failure("the escape is cut off") }
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): collected.append(byte)
        case UInt8(ascii: "b"): collected.append(8)
        case UInt8(ascii: "f"): collected.append(12)
        case UInt8(ascii: "n"): collected.append(10)
        case UInt8(ascii: "r"): collected.append(13)
        case UInt8(ascii: "t"): collected.append(9)
        case UInt8(ascii: "u"): collected.append(contentsOf: String(Character(try escapedScalar())).utf8)
        default: throw failure("unknown escape", at: offset - 1)
        }
    }

    private mutating func escapedScalar() throws -> Unicode.Scalar {
        let start = offset - 2
        let first = try hexadecimal()
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00, next == 0x5C, offset + 1 < bytes.count, bytes[offset + 1] == UInt8(ascii: "u") else {
            throw failure("half of a surrogate pair", at: start)
        }
        offset += 2
        let second = try hexadecimal()
        guard (0xDC00...0xDFFF).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else { throw failure("half of a surrogate pair", at: start) }
        return scalar
    }

    private mutating func hexadecimal() throws -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(UnicodeScalar(byte)).hexDigitValue else {
                throw failure("expected four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
            offset += 1
        }
        return value
    }

    private func failure(_ problem: String, at position: Int? = nil) -> MMedError {
        let end = min(position ?? offset, bytes.count)
        var (line, column) = (firstLine, 1)
        for byte in bytes[..<end] {
            column += 1
            if byte == 0x0A { (line, column) = (line + 1, 1) }
        }
        return MMedError(.badData, at: "\(place):\(line):\(column)", "not the JSON expected: \(problem)")
    }
}
