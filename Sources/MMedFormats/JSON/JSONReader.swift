import MMedCore

/// A JSON value with the way to it, so that an error names file and key.
struct JSONReader {
    let place: String
    let value: JSONValue

    init(_ value: JSONValue, at place: String) {
        self.value = value
        self.place = place
    }

    /// Reads a whole file.
    init(file path: String) throws {
        let file = try MappedFile(path: path)
        self.init(try file.withAllBytes { try JSONValue.parse($0, at: path) }, at: path)
    }

    /// A member that is there and not null.
    func optional(_ key: String) throws -> JSONReader? {
        guard case .object(let object) = value else { throw mistyped("an object") }
        guard let member = object[key], member != .null else { return nil }
        return JSONReader(member, at: "\(place): \(key)")
    }

    func required(_ key: String) throws -> JSONReader {
        guard let member = try optional(key) else {
            throw MMedError(.badData, at: "\(place): \(key)", "is missing")
        }
        return member
    }

    func integer(_ key: String) throws -> Int { try required(key).integer() }

    func integer() throws -> Int {
        guard case .integer(let integer) = value else { throw mistyped("a whole number") }
        return integer
    }

    func number() throws -> Double {
        switch value {
        case .integer(let integer): return Double(integer)
        case .number(let number): return number
        case .null, .bool, .string, .array, .object: throw mistyped("a number")
        }
    }

    func string() throws -> String {
        guard case .string(let text) = value else { throw mistyped("a string") }
        return text
    }

    func bool() throws -> Bool {
        guard case .bool(let flag) = value else { throw mistyped("true or false") }
        return flag
    }

    func array() throws -> [JSONReader] {
        guard case .array(let values) = value else { throw mistyped("an array") }
        return values.enumerated().map { JSONReader($1, at: "\(place)[\($0)]") }
    }

    func object() throws -> JSONObject {
        guard case .object(let object) = value else { throw mistyped("an object") }
        return object
    }

    func flag(_ key: String, default standard: Bool = false) throws -> Bool {
        try optional(key)?.bool() ?? standard
    }

    func tokenId() throws -> Int32 {
        let integer = try integer()
        guard let id = Int32(exactly: integer), id >= 0 else { throw mistyped("a token id") }
        return id
    }

    func mistyped(_ expected: String) -> MMedError {
        MMedError(.badData, at: place, "is \(value.kind), expected \(expected)")
    }
}
