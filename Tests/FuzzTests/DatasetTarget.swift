import Foundation
import MMedCore
import MMedFormats

@testable import MMedConfig

extension FuzzTarget {
    /// Data files of JSON lines, and the reference answers beside them.
    static let dataset = FuzzTarget(name: "dataset", lengthMost: 4096, seeds: { DatasetSeeds.files() }) { bytes in
        let budget = 2048 * bytes.count + (1 << 20)
        _ = try reading("ReferenceAnswers", budget: budget) { try ReferenceAnswers.decode(Data(bytes), path: "fuzz") }
        for foreign in [ForeignSpecialty.leaveOut, .refuse] {
            guard
                let dataset = try reading(
                    "Dataset", budget: budget, { try DatasetSeeds.decode(bytes, foreign: foreign) })
            else { continue }
            try demand(!dataset.records.isEmpty, "an empty split was read")
            try demand(Set(dataset.records.map(\.id)).count == dataset.records.count, "an id stands twice")
            for record in dataset.records { try checkRecord(record) }
            let written = dataset.records.map { DatasetSeeds.line($0) + "\n" }.joined()
            let again = try rereading("Dataset") { try DatasetSeeds.decode(Array(written.utf8), foreign: foreign) }
            let former = dataset.records.map { DatasetSeeds.line($0) }
            try demand(again.records.map { DatasetSeeds.line($0) } == former, "a record changed when it was written")
        }
    }

    private static func checkRecord(_ record: QuestionRecord) throws {
        try demand((2...26).contains(record.options.count), "\(record.options.count) options")
        try demand(record.options.indices.contains(record.answerIndex), "the answer is no option")
        try demand(record.image == nil, "an image was read for a model of text")
        let texts = [record.question, record.patient] + record.options + record.reasoning.values
        try demand(texts.allSatisfy { !$0.utf8.isEmpty }, "a text is empty")
        // The marks of the chat templates are ASCII, so a search through bytes finds them in any spelling of the text.
        let mark = Array("<|".utf8)
        try demand(
            texts.allSatisfy { text in
                let bytes = Array(text.utf8)
                return !bytes.indices.contains { bytes[$0...].starts(with: mark) }
            }, "the beginning of a special token was let through: \(texts)")
    }
}

/// Lines with and without traces, and reference answers.
enum DatasetSeeds {
    static func decode(_ bytes: [UInt8], foreign: ForeignSpecialty) throws -> Dataset {
        var limits = DatasetLimits()
        limits.lineBytes = 2048
        limits.lines = 16
        return try Dataset.decode(
            Data(bytes), path: "fuzz.jsonl", specialties: ["adult", "child"].compactMap { Name($0) },
            allowImages: false, foreign: foreign, limits: limits)
    }

    /// A record as a line of a data file.
    static func line(_ record: QuestionRecord) -> String {
        var members: [(String, JSONValue)] = [
            ("id", .string(record.id)), ("specialty", .string(record.specialty.text)),
            ("question", .string(record.question)), ("options", .array(record.options.map { .string($0) })),
            ("answer", .string(String(record.answer))), ("patient", .string(record.patient)),
            ("source", .string(record.source)), ("license", .string(record.license)),
        ]
        if !record.reasoning.isEmpty {
            let traces = record.reasoning.sorted { $0.key < $1.key }.map { ($0.key.text, JSONValue.string($0.value)) }
            members.append(("reasoning", .object(traces)))
        }
        return JSONValue.object(members).text()
    }

    static func files() -> [(name: String, bytes: [UInt8])] {
        func record(_ id: String, _ specialty: String, trace: String? = nil) -> String {
            let reasoning = trace.map { #","reasoning":{"bayesian":"\#($0)"}"# } ?? ""
            return #"{"id":"\#(id)","specialty":"\#(specialty)","question":"A man of 45 … é?","options":["yes","no"],"#
                + #""answer":"B","patient":"p\#(id)","source":"s","license":"CC0"\#(reasoning)}"#
        }
        let both = record("1", "adult") + "\n" + record("2", "child", trace: "It is likely.") + "\n"
        return [
            ("both", Array(both.utf8)), ("crlf", Array(both.replacing("\n", with: "\r\n").utf8)),
            ("foreign", Array((both + record("3", "eye")).utf8)),
            ("reference", Array(#"{"testAnswers":{"1":"A","2":"B"}}"#.utf8)),
        ]
    }
}
