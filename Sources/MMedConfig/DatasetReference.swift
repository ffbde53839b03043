import Foundation
import MMedCore

/// Answers of a reference method for single questions, so that it can be scored on exactly the rows that a model answered.
public struct ReferenceAnswers: Equatable, Sendable {
    /// Letter that logistic regression gives, by id.
    public let logisticRegression: [String: Character]

    /// Reads `reference.json` as `configs/quickstart/build.py` writes it.
    ///
    /// - Throws: `MMedError` of kind badData when the file is missing or lacks `testAnswers`.
    public static func load(path: String) throws -> ReferenceAnswers {
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path)), data.count <= 1 << 26 else {
            throw MMedError(.badData, at: path, "cannot read the reference file", mend: mend)
        }
        return try decode(data, path: path)
    }

    private static let mend = "rebuild it with configs/quickstart/build.py or remove `data.reference`"

    /// As `load`, from the file's bytes.
    static func decode(_ data: Data, path: String) throws -> ReferenceAnswers {
        guard let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any],
            let answers = object["testAnswers"] as? [String: String]
        else {
            throw MMedError(.badData, at: path, "expected a JSON object with `testAnswers`: id → letter", mend: mend)
        }
        var letters: [String: Character] = [:]
        for (id, text) in answers {
            guard text.utf8.count == 1, let letter = text.first, ("A"..."Z").contains(letter) else {
                throw MMedError(.badData, at: path, "`testAnswers.\(id)` is not one letter from A to Z", mend: mend)
            }
            letters[id] = letter
        }
        return ReferenceAnswers(logisticRegression: letters)
    }

    /// How many of the records logistic regression answers rightly; nil when it has no answer for one of them.
    public func correct(of records: [QuestionRecord]) -> Int? {
        var correct = 0
        for record in records {
            guard let letter = logisticRegression[record.id] else { return nil }
            if letter == record.answer { correct += 1 }
        }
        return correct
    }
}
