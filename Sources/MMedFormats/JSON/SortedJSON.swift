import Foundation

/// JSON of records in one form, so that equal values have equal bytes: keys sorted, slashes as they are.
public enum SortedJSON {
    /// UTF-8 without a line's end; on one line, or laid out for readers. Throws what the encoder throws: a number that is not
    /// finite has no JSON form.
    public static func bytes(_ value: some Encodable, laidOut: Bool = false) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if laidOut { encoder.outputFormatting.insert(.prettyPrinted) }
        return [UInt8](try encoder.encode(value))
    }

    /// The same on one line, as text.
    public static func line(_ value: some Encodable) throws -> String {
        String(decoding: try bytes(value), as: UTF8.self)
    }
}
