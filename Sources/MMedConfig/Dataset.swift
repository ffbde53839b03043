import Foundation
public import MMedCore

/// The questions of one split, in the order of the file.
public struct Dataset: Equatable, Sendable {
    /// The file it came from.
    public let path: String
    /// At least one for every specialty asked for.
    public let records: [QuestionRecord]
    /// Lines of each specialty that the run does not have.
    public let leftOut: [Name: Int]

    /// The records of one specialty, in the order of the file: any even number from the start of the quickstart files is balanced.
    public func records(of specialty: Name) -> [QuestionRecord] {
        records.filter { $0.specialty == specialty }
    }

    /// Those that have a trace, the examples of supervision.
    public func examples(of specialty: Name) -> [QuestionRecord] {
        records.filter { $0.specialty == specialty && !$0.reasoning.isEmpty }
    }

    /// The most frequent answer letter of a specialty, the first of equals; nil where it has no record.
    public func majorityLetter(of specialty: Name) -> Character? {
        var counts = [Int](repeating: 0, count: 26)
        for record in records where record.specialty == specialty { counts[record.answerIndex] += 1 }
        guard let most = counts.max(), most > 0 else { return nil }
        return counts.firstIndex(of: most).map(QuestionRecord.letter)
    }

    /// Reads JSON lines and checks every one.
    ///
    /// - Parameter path: the file.
    /// - Parameter specialties: those of the run; each needs at least one line.
    /// - Parameter allowImages: false for a text model: a line with an image is then an error.
    /// - Parameter foreign: what happens to a line of another specialty.
    /// - Parameter limits: refuses what is longer.
    /// - Throws: `MMedError` of kind badData with file, line, what was expected and the mend.
    public static func load(
        path: String, specialties: [Name], allowImages: Bool = false, foreign: ForeignSpecialty = .refuse,
        limits: DatasetLimits = DatasetLimits()
    ) throws -> Dataset {
        try decode(
            read(path, limits: limits), path: path, specialties: specialties, allowImages: allowImages,
            foreign: foreign, limits: limits)
    }

    /// As `load`, from the file's bytes.
    static func decode(
        _ data: Data, path: String, specialties: [Name], allowImages: Bool, foreign: ForeignSpecialty,
        limits: DatasetLimits
    ) throws -> Dataset {
        var records: [QuestionRecord] = []
        var leftOut: [Name: Int] = [:]
        var lineOfID: [String: Int] = [:]
        let asked = Set(specialties)
        try forEachLine(of: data, path: path, limits: limits) { line, bytes in
            let record = try line.record(from: bytes, allowImages: allowImages)
            if let first = lineOfID.updateValue(line.number, forKey: record.id) {
                throw line.error(
                    "the id `\(record.id)` is already on line \(first)", mend: "give every line its own id")
            }
            if asked.contains(record.specialty) {
                records.append(record)
            } else if foreign == .leaveOut, !isSlip(record.specialty.text, of: specialties.map(\.text)) {
                leftOut[record.specialty, default: 0] += 1
            } else {
                let known = specialties.map(\.text)
                let hint = DatasetLine.hint(for: record.specialty.text, among: known)
                throw line.error(
                    "unknown specialty `\(record.specialty)`\(hint)",
                    mend: "use one of \(known.joined(separator: ", ")) or add it to `specialties`")
            }
        }
        let present = Set(records.map(\.specialty))
        for specialty in specialties where !present.contains(specialty) {
            throw MMedError(
                .badData, at: path, "the split is empty for `\(specialty)`, expected at least one line",
                mend: "add lines of that specialty or remove it from `specialties`")
        }
        if records.isEmpty {
            throw MMedError(.badData, at: path, "the split is empty", mend: "name a file with at least one line")
        }
        return Dataset(path: path, records: records, leftOut: leftOut)
    }

    /// Refuses a patient who is in two splits: what is learned of him would be asked of him.
    ///
    /// - Throws: `MMedError` of kind badData that names both lines.
    public static func requireDisjointPatients(_ splits: [Dataset]) throws {
        var seen: [String: (split: Int, line: Int)] = [:]
        for (index, split) in splits.enumerated() {
            for record in split.records {
                if let first = seen[record.patient], first.split != index {
                    throw MMedError(
                        .badData, at: "\(split.path):\(record.line)",
                        "the patient `\(record.patient)` is also on line \(first.line) of \(splits[first.split].path)",
                        mend: "split by patient, so that no patient is in two files")
                }
                if seen[record.patient] == nil { seen[record.patient] = (index, record.line) }
            }
        }
    }

    private static func read(_ path: String, limits: DatasetLimits) throws -> Data {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
        } catch {
            throw MMedError(.badData, at: path, "cannot read the data file", mend: "check the path and its permissions")
        }
        guard data.count <= limits.fileBytes else {
            throw MMedError(
                .badData, at: path, "the file has \(data.count) bytes, the limit is \(limits.fileBytes)",
                mend: "split the file")
        }
        return data
    }

    private static func forEachLine(
        of data: Data, path: String, limits: DatasetLimits, _ body: (DatasetLine, Data) throws -> Void
    ) throws {
        var start = data.startIndex
        var number = 0
        while start < data.endIndex {
            let end = data[start...].firstIndex(of: 0x0A) ?? data.endIndex
            number += 1
            let line = DatasetLine(file: path, number: number)
            var bytes = data[start..<end]
            if bytes.last == 0x0D { bytes = bytes.dropLast() }
            if number > limits.lines {
                throw line.error("more than \(limits.lines) lines", mend: "split the file")
            }
            if bytes.count > limits.lineBytes {
                throw line.error(
                    "the line has \(bytes.count) bytes, the limit is \(limits.lineBytes)",
                    mend: "shorten it; is a line break missing?")
            }
            if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) {
                throw line.error("the line is empty", mend: "remove it")
            }
            try body(line, Data(bytes))
            start = end == data.endIndex ? end : data.index(after: end)
        }
    }
}
