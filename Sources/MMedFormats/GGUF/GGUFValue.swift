import MMedCore

/// A typed value of a GGUF file's metadata.
enum GGUFValue: Hashable, Sendable {
    case unsigned(UInt64)
    case signed(Int64)
    case float(Double)
    case bool(Bool)
    case string(String)
    case array([GGUFValue])

    /// Arrays in arrays, deeper than any file needs.
    private static let depthMost = 4

    /// Reads a value of the type with this number in the GGUF specification.
    init(_ cursor: inout ByteCursor, type: UInt32, key: String, depth: Int = 0) throws {
        let what = "the value of \(key)"
        switch type {
        case 0: self = .unsigned(UInt64(try cursor.integer(UInt8.self, what)))
        case 1: self = .signed(Int64(try cursor.integer(Int8.self, what)))
        case 2: self = .unsigned(UInt64(try cursor.integer(UInt16.self, what)))
        case 3: self = .signed(Int64(try cursor.integer(Int16.self, what)))
        case 4: self = .unsigned(UInt64(try cursor.integer(UInt32.self, what)))
        case 5: self = .signed(Int64(try cursor.integer(Int32.self, what)))
        case 6: self = .float(Double(Float(bitPattern: try cursor.integer(UInt32.self, what))))
        case 7: self = .bool(try GGUFValue.bool(&cursor, what))
        case 8: self = .string(try cursor.string(what))
        case 9: self = .array(try GGUFValue.elements(&cursor, key: key, depth: depth))
        case 10: self = .unsigned(try cursor.integer(UInt64.self, what))
        case 11: self = .signed(try cursor.integer(Int64.self, what))
        case 12: self = .float(Double(bitPattern: try cursor.integer(UInt64.self, what)))
        default: throw cursor.failure("\(what) has type \(type), expected 0 to 12")
        }
    }

    private static func bool(_ cursor: inout ByteCursor, _ what: String) throws -> Bool {
        let byte = try cursor.integer(UInt8.self, what)
        guard byte < 2 else { throw cursor.failure("\(what) is the byte \(byte), expected 0 or 1") }
        return byte == 1
    }

    private static func elements(_ cursor: inout ByteCursor, key: String, depth: Int) throws -> [GGUFValue] {
        guard depth < depthMost else {
            throw cursor.failure("\(key) nests arrays deeper than \(depthMost)")
        }
        let type = try cursor.integer(UInt32.self, "the element type of \(key)")
        let sizes: [Int] = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8]
        guard type < sizes.count else {
            throw cursor.failure("\(key) has elements of type \(type), expected 0 to 12")
        }
        let count = try cursor.count("the element count of \(key)", minimumSize: sizes[Int(type)])
        var values: [GGUFValue] = []
        values.reserveCapacity(count)
        for _ in 0..<count {
            values.append(try GGUFValue(&cursor, type: type, key: key, depth: depth + 1))
        }
        return values
    }

    /// A whole number that fits.
    var integer: Int? {
        switch self {
        case .unsigned(let value): Int(exactly: value)
        case .signed(let value): Int(exactly: value)
        case .float, .bool, .string, .array: nil
        }
    }

    var number: Double? {
        if case .float(let value) = self { return value }
        return integer.map(Double.init)
    }
}

/// Typed look-ups in a file's metadata, with errors that name the key.
struct GGUFMetadata: Sendable {
    let file: String
    var values: [String: GGUFValue] = [:]

    func integer(_ key: String) throws -> Int? {
        guard let value = values[key] else { return nil }
        guard let integer = value.integer else { throw mistyped(key, "a whole number") }
        return integer
    }

    func number(_ key: String) throws -> Double? {
        guard let value = values[key] else { return nil }
        guard let number = value.number else { throw mistyped(key, "a number") }
        return number
    }

    func string(_ key: String) throws -> String? {
        guard let value = values[key] else { return nil }
        guard case .string(let text) = value else { throw mistyped(key, "a string") }
        return text
    }

    func bool(_ key: String) throws -> Bool? {
        guard let value = values[key] else { return nil }
        guard case .bool(let flag) = value else { throw mistyped(key, "a boolean") }
        return flag
    }

    func strings(_ key: String) throws -> [String]? {
        guard let value = values[key] else { return nil }
        guard case .array(let elements) = value else { throw mistyped(key, "an array of strings") }
        return try elements.map {
            guard case .string(let text) = $0 else { throw mistyped(key, "an array of strings") }
            return text
        }
    }

    func integers(_ key: String) throws -> [Int]? {
        guard let value = values[key] else { return nil }
        guard case .array(let elements) = value else { throw mistyped(key, "an array of whole numbers") }
        return try elements.map {
            guard let integer = $0.integer else { throw mistyped(key, "an array of whole numbers") }
            return integer
        }
    }

    /// A token id, which may be written as any whole number that fits.
    func tokenId(_ key: String) throws -> Int32? {
        guard let integer = try integer(key) else { return nil }
        guard let id = Int32(exactly: integer), id >= 0 else { throw mistyped(key, "a token id") }
        return id
    }

    func required<Value>(_ value: Value?, _ key: String) throws -> Value {
        guard let value else {
            throw MMedError(.badData, at: "\(file): \(key)", "is missing", mend: "convert the model again")
        }
        return value
    }

    private func mistyped(_ key: String, _ expected: String) -> MMedError {
        MMedError(.badData, at: "\(file): \(key)", "is not \(expected)", mend: "convert the model again")
    }
}
