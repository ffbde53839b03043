import Foundation
import MMedCore

/// Reads one line of a data file; every error names the file and the line.
struct DatasetLine {
    static let required = ["id", "specialty", "question", "options", "answer", "patient", "source", "license"]
    static let optional = ["image", "reasoning"]

    let file: String
    let number: Int

    func error(_ problem: String, mend: String) -> MMedError {
        MMedError(.badData, at: "\(file):\(number)", problem, mend: mend)
    }

    func record(from bytes: Data, allowImages: Bool) throws -> QuestionRecord {
        let object = try object(from: bytes)
        let id = try text("id", in: object)
        let specialty = try name(try text("specialty", in: object), key: "specialty")
        let options = try options(in: object)
        let answerIndex = try answer(in: object, options: options)
        return QuestionRecord(
            id: id, specialty: specialty, question: try text("question", in: object), options: options,
            answerIndex: answerIndex, image: try image(in: object, allowImages: allowImages),
            patient: try text("patient", in: object), source: try text("source", in: object),
            license: try text("license", in: object), reasoning: try reasoning(in: object), line: number)
    }

    private func object(from bytes: Data) throws -> [String: Any] {
        guard String(bytes: bytes, encoding: .utf8) != nil else {
            throw error("the line is not UTF-8", mend: "save the file as UTF-8")
        }
        let value: Any
        do {
            value = try JSONSerialization.jsonObject(with: bytes, options: [.fragmentsAllowed])
        } catch let failure {
            let detail = (failure as NSError).userInfo["NSDebugDescription"] as? String
            throw error(
                "the line is not valid JSON" + (detail.map { " (\($0))" } ?? ""),
                mend: "write one JSON object a line, without line breaks inside it")
        }
        guard let object = value as? [String: Any] else {
            throw error("expected a JSON object", mend: "write one object {\"id\": …} a line")
        }
        let known = Self.required + Self.optional
        for key in object.keys.sorted() where !known.contains(key) {
            throw error(
                "unknown key `\(key.prefix(80))`\(DatasetLine.hint(for: key, among: known))",
                mend: "the known keys are \(known.joined(separator: ", "))")
        }
        for key in Self.required where object[key] == nil {
            throw error(
                "the key `\(key)` is missing", mend: "every line needs \(Self.required.joined(separator: ", "))")
        }
        return object
    }

    private func text(_ key: String, in object: [String: Any]) throws -> String {
        guard let text = object[key] as? String else {
            throw error("`\(key)` must be a text", mend: "write it between quotes")
        }
        return try plain(text, key: key)
    }

    /// Text that cannot act as chat markup: `<|` opens the special tokens of the known chat templates.
    private func plain(_ text: String, key: String) throws -> String {
        if text.allSatisfy(\.isWhitespace) {
            throw error("`\(key)` is empty", mend: "give it a text")
        }
        // Bytes, not characters: an accent after the mark makes another character of it, and the tokenizer reads bytes.
        if text.utf8.contains("<|".utf8) {
            throw error("`\(key)` contains `<|`, the beginning of a special token", mend: "remove it")
        }
        return text
    }

    private func name(_ text: String, key: String) throws -> Name {
        guard let name = Name(text) else {
            throw error(
                "`\(key)` is `\(text.prefix(80))`, which is no name",
                mend: "use 1 to 64 of a-z, 0-9, dot, dash and underscore, beginning with a letter or digit")
        }
        return name
    }

    private func options(in object: [String: Any]) throws -> [String] {
        guard let list = object["options"] as? [Any], list.allSatisfy({ $0 is String }) else {
            throw error("`options` must be a list of texts", mend: "write [\"first\", \"second\"]")
        }
        let options = list.compactMap { $0 as? String }
        guard (2...26).contains(options.count) else {
            throw error("`options` has \(options.count) entries, expected 2 to 26", mend: "letters run from A to Z")
        }
        for option in options { _ = try plain(option, key: "options") }
        guard Set(options).count == options.count else {
            throw error("`options` has the same text twice", mend: "make the options differ")
        }
        return options
    }

    private func answer(in object: [String: Any], options: [String]) throws -> Int {
        let last = QuestionRecord.letter(options.count - 1)
        guard let text = object["answer"] as? String,
            let index = options.indices.first(where: { String(QuestionRecord.letter($0)) == text })
        else {
            let given = (object["answer"] as? String).map { "`\($0.prefix(80))`" } ?? "no text"
            throw error(
                "`answer` is \(given), expected a letter from A to \(last)",
                mend: "give the letter of the right one of the \(options.count) options")
        }
        return index
    }

    private func image(in object: [String: Any], allowImages: Bool) throws -> String? {
        guard object["image"] != nil else { return nil }
        guard allowImages else {
            throw error(
                "the line has an `image` but the model reads text only",
                mend: "remove the line or choose a model with vision")
        }
        let path = try text("image", in: object)
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent()
        let absolute = URL(fileURLWithPath: path, relativeTo: folder).standardizedFileURL.path
        guard FileManager.default.isReadableFile(atPath: absolute) else {
            throw error("the image \(path) cannot be read", mend: "give a path relative to the data file")
        }
        return absolute
    }

    private func reasoning(in object: [String: Any]) throws -> [Name: String] {
        guard let value = object["reasoning"] else { return [:] }
        guard let traces = value as? [String: Any], !traces.isEmpty else {
            throw error(
                "`reasoning` must map guideline names to texts",
                mend: "write {\"bayesian\": \"…\"} or leave the key out")
        }
        var result: [Name: String] = [:]
        for key in traces.keys.sorted() {
            let guideline = try name(key, key: "reasoning")
            let trace = try text(key, in: traces)
            for tag in ["<think>", "</think>", "<answer>", "</answer>"] where trace.utf8.contains(tag.utf8) {
                throw error("the trace `\(key)` contains \(tag)", mend: "store the trace alone; the form is added")
            }
            result[guideline] = trace
        }
        return result
    }

    /// `; did you mean …?` where a known word is near.
    static func hint(for word: String, among known: [String]) -> String {
        nearest(to: String(word.prefix(64)), among: known).map { ", did you mean `\($0)`?" } ?? ""
    }
}
