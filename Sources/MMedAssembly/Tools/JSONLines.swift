import Foundation
import MMedCore

/// JSON lines in and out: how the comparing commands talk to another implementation.
public enum JSONLines {
    /// Every non-empty line of a file (`-` is standard input) decoded. Throws `badData` naming the line.
    public static func read<Record: Decodable>(_ path: String, as type: Record.Type) throws -> [Record] {
        try readNumbered(path, as: type).map(\.record)
    }

    /// The same with the number of each line, counted from 1, for errors that are found later.
    public static func readNumbered<Record: Decodable>(
        _ path: String, as type: Record.Type
    ) throws -> [(line: Int, record: Record)] {
        let data: Data
        if path == "-" {
            data = FileHandle.standardInput.readDataToEndOfFile()
        } else if let contents = try? FileHandle(forReadingFrom: URL(fileURLWithPath: path)).readToEnd() ?? Data() {
            // A handle, for pipes and devices are files of no size.
            data = contents
        } else {
            throw MMedError(
                .badData, at: path, "cannot be read", mend: "give a file of JSON lines, or - for standard input")
        }
        var records: [(line: Int, record: Record)] = []
        // Bytes, not characters: to Swift the CR LF of another system is one character that is no line end.
        let lines = data.split(separator: 0x0A, omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where !line.allSatisfy({ [0x20, 0x09, 0x0D].contains($0) }) {
            do {
                records.append((index + 1, try JSONDecoder().decode(type, from: Data(line))))
            } catch {
                throw MMedError(
                    .badData, at: "\(path):\(index + 1)", JSONLines.reason(error, Data(line)),
                    mend: "see `--help` for the form of a line")
            }
        }
        guard !records.isEmpty else {
            throw MMedError(.badData, at: path, "there is no line", mend: "give at least one JSON object, one a line")
        }
        return records
    }

    private static func reason(_ error: any Error, _ line: Data) -> String {
        // Words that other programs write for numbers; the parser would only count the characters before them.
        if let word = String(decoding: line, as: UTF8.self).firstMatch(
            of: /"(\w+)"\s*:\s*([-+]?(?:nan|NaN|NAN|inf|Inf|INF|infinity|Infinity))\b/)
        {
            return "\(word.1) is \(word.2), but JSON has no such number"
        }
        // Digits that stand for no finite number, of which the parser says as little.
        for number in String(decoding: line, as: UTF8.self).matches(
            of: /"(\w+)"\s*:\s*([-+]?[0-9][0-9.]*[eE][-+]?[0-9]+)/) where Double(number.2)?.isFinite == false
        {
            return "\(number.1) is \(number.2), which is too large for a number"
        }
        guard let error = error as? DecodingError else { return "\(error)" }
        switch error {
        case .keyNotFound(let key, let context):
            let place = context.codingPath.map(\.stringValue).joined(separator: ".")
            return "the key \(key.stringValue) is missing" + (place.isEmpty ? "" : " in \(place)")
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            return "\(context.codingPath.map(\.stringValue).joined(separator: ".")): \(context.debugDescription)"
        case .dataCorrupted(let context):
            let place = context.codingPath.map(\.stringValue).joined(separator: ".")
            return (place.isEmpty ? "" : "\(place): ")
                + "it is not JSON of the expected form (\(context.debugDescription))"
        @unknown default: return "it cannot be read"
        }
    }
}
