/// A JSON value (RFC 8259). Objects keep the order of their file and never hold a key twice.
public enum JSONValue: Hashable, Sendable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number written without fraction and exponent that fits in 64 bits.
    case integer(Int)
    /// Any other number.
    case number(Double)
    /// A string.
    case string(String)
    /// An array.
    case array([JSONValue])
    /// An object.
    case object(JSONObject)

    /// An object of these members in this order; a repeated key keeps its last value.
    public static func object(_ members: [(String, JSONValue)]) -> JSONValue {
        var object = JSONObject()
        for (key, value) in members { object[key] = value }
        return .object(object)
    }

    /// What the value is, in words for errors.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer: "a whole number"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// The members of a JSON object, in order, found by key. Keys are equal when their code points are; `String` would also
/// take equivalent spellings of one letter for the same key.
public struct JSONObject: Hashable, Sendable {
    private struct Key: Hashable {
        let text: String

        static func == (left: Key, right: Key) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }

        func hash(into hasher: inout Hasher) {
            var text = text
            text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        }
    }

    /// Keys in order.
    public private(set) var keys: [String] = []
    private var values: [Key: JSONValue] = [:]

    /// No members.
    public init() {}

    /// Nil where there is no such member; setting nil takes the member out.
    public subscript(key: String) -> JSONValue? {
        get { values[Key(text: key)] }
        set {
            let place = Key(text: key)
            if let newValue {
                if values.updateValue(newValue, forKey: place) == nil { keys.append(key) }
            } else if values.removeValue(forKey: place) != nil {
                keys.removeAll { Key(text: $0) == place }
            }
        }
    }

    /// Members.
    public var count: Int { keys.count }
}
