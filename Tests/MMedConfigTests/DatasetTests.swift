import Foundation
import MMedConfig
import MMedCore
import Testing

private let adult = Name("adult-medicine")!
private let brain = Name("brain-and-senses")!

private func line(_ changes: [String: String?] = [:], id: String = "a-1") -> String {
    var parts: [String: String?] = [
        "id": "\"\(id)\"", "specialty": "\"adult-medicine\"", "question": "\"Glucose 148. Diabetes?\"",
        "options": "[\"yes\", \"no\"]", "answer": "\"A\"", "patient": "\"p-\(id)\"", "source": "\"MASS::Pima.tr\"",
        "license": "\"MIT\"",
    ]
    for (key, value) in changes { parts.updateValue(value, forKey: key) }
    let fields = parts.keys.sorted().compactMap { key in parts[key].flatMap { $0 }.map { "\"\(key)\": \($0)" } }
    return "{" + fields.joined(separator: ", ") + "}"
}

private func withFile<Result>(_ bytes: Data, _ body: (String) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("dataset-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("data.jsonl")
    try bytes.write(to: file)
    return try body(file.path)
}

private func load(
    _ text: String, specialties: [Name] = [adult], allowImages: Bool = false, foreign: ForeignSpecialty = .refuse,
    limits: DatasetLimits = DatasetLimits()
) throws -> Dataset {
    try withFile(Data(text.utf8)) {
        try Dataset.load(
            path: $0, specialties: specialties, allowImages: allowImages, foreign: foreign, limits: limits)
    }
}

/// A line that must be refused, and what its error must say.
struct BadLine: Sendable, CustomTestStringConvertible {
    let name: String
    let text: String
    let says: String
    var testDescription: String { name }
}

private let badLines: [BadLine] = [
    BadLine(name: "unknown key", text: line(["optins": "[]"]), says: "did you mean `options`"),
    BadLine(name: "missing key", text: line(["license": nil]), says: "the key `license` is missing"),
    BadLine(name: "bad JSON", text: "{\"id\": ", says: "not valid JSON"),
    BadLine(name: "not an object", text: "[1, 2]", says: "expected a JSON object"),
    BadLine(name: "a bare text", text: "\"hello\"", says: "expected a JSON object"),
    BadLine(name: "empty line", text: "  ", says: "the line is empty"),
    BadLine(name: "letter beyond the options", text: line(["answer": "\"C\""]), says: "expected a letter from A to B"),
    BadLine(name: "small letter", text: line(["answer": "\"a\""]), says: "expected a letter from A to B"),
    BadLine(name: "answer as number", text: line(["answer": "1"]), says: "`answer` is no text"),
    BadLine(name: "one option", text: line(["options": "[\"yes\"]"]), says: "1 entries, expected 2 to 26"),
    BadLine(name: "options as text", text: line(["options": "\"yes\""]), says: "must be a list of texts"),
    BadLine(name: "option not a text", text: line(["options": "[\"yes\", 3]"]), says: "must be a list of texts"),
    BadLine(name: "the same option twice", text: line(["options": "[\"no\", \"no\"]"]), says: "same text twice"),
    BadLine(
        name: "foreign specialty", text: line(["specialty": "\"adult-medicin\""], id: "b"),
        says: "did you mean `adult-medicine`"
    ),
    BadLine(name: "specialty not a name", text: line(["specialty": "\"../x\""]), says: "which is no name"),
    BadLine(name: "image on a text model", text: line(["image": "\"x.png\""]), says: "the model reads text only"),
    BadLine(name: "empty question", text: line(["question": "\" \""]), says: "`question` is empty"),
    BadLine(name: "null question", text: line(["question": "null"]), says: "`question` must be a text"),
    BadLine(name: "number as id", text: line(["id": "7"]), says: "`id` must be a text"),
    BadLine(name: "chat markup", text: line(["question": "\"a<|im_end|>b\""]), says: "special token"),
    BadLine(name: "accented chat markup", text: line(["question": "\"a<|\u{301}b\""]), says: "special token"),
    BadLine(
        name: "accented tag", text: line(["reasoning": "{\"bayesian\": \"a</think>\u{301}\"}"]),
        says: "contains </think>"),
    BadLine(name: "reasoning as text", text: line(["reasoning": "\"x\""]), says: "`reasoning` must map"),
    BadLine(name: "empty reasoning", text: line(["reasoning": "{}"]), says: "`reasoning` must map"),
    BadLine(
        name: "tag in a trace", text: line(["reasoning": "{\"bayesian\": \"a</think>\"}"]), says: "contains </think>"),
    BadLine(name: "guideline not a name", text: line(["reasoning": "{\"B C\": \"a\"}"]), says: "which is no name"),
    BadLine(name: "duplicate id", text: line(), says: "the id `a-1` is already on line 1"),
]

@Test("A bad line is one error that names file, line and mend", arguments: badLines)
func badLineIsRefused(_ bad: BadLine) throws {
    let error = try #require(throws: MMedError.self) {
        try load(line() + "\n" + bad.text + "\n")
    }
    #expect(error.kind == .badData)
    #expect(error.place.hasSuffix("data.jsonl:2"), "\(error)")
    #expect(error.description.contains(bad.says), "\(error)")
    #expect(!error.mend.isEmpty)
}

@Test func wellFormedLinesKeepTheirOrderAndFields() throws {
    let text = [
        line(["reasoning": "{\"bayesian\": \"Prior 50%.\"}", "answer": "\"B\""], id: "z"), line(id: "b"), line(id: "c"),
    ].joined(separator: "\r\n")
    let set = try load(text)
    #expect(set.records.map(\.id) == ["z", "b", "c"])
    #expect(set.records.map(\.line) == [1, 2, 3])
    let first = set.records[0]
    #expect(first.answer == "B" && first.answerIndex == 1 && first.options == ["yes", "no"])
    #expect(first.reasoning == [Name("bayesian")!: "Prior 50%."] && first.image == nil && first.patient == "p-z")
    #expect(set.examples(of: adult).map(\.id) == ["z"])
    #expect(set.majorityLetter(of: adult) == "A" && set.majorityLetter(of: brain) == nil)
}

@Test func specialtiesOfOthersAreLeftOutOnlyWhenAsked() throws {
    let text = line(id: "a") + "\n" + line(["specialty": "\"brain-and-senses\""], id: "b") + "\n"
    #expect(try load(text, foreign: .leaveOut).records.map(\.id) == ["a"])
    #expect(try load(text, specialties: [brain, adult]).records(of: brain).map(\.id) == ["b"])
}

@Test func aSlipInASpecialtyIsRefusedAndOthersAreCounted() throws {
    let site = [Name("site-1")!, Name("er")!, adult]
    let rows = ["\"site-1\"", "\"er\"", "\"adult-medicine\"", "\"site-2\"", "\"ent\"", "\"site-2\"", "\"cardiology\""]
    let text = rows.enumerated().map { line(["specialty": $1], id: "r-\($0)") }.joined(separator: "\n")
    let set = try load(text, specialties: site, foreign: .leaveOut)
    #expect(set.records.count == 3)
    #expect(set.leftOut == [Name("site-2")!: 2, Name("ent")!: 1, Name("cardiology")!: 1])
    for slip in ["adult-medicin", "adlut-medicine", "adult_medicine"] {
        #expect {
            _ = try load(
                line() + "\n" + line(["specialty": "\"\(slip)\""], id: "b"), specialties: [adult], foreign: .leaveOut)
        } throws: { error in
            let text = "\(error)"
            return text.contains("data.jsonl:2") && text.contains(slip)
                && text.contains("did you mean `adult-medicine`")
        }
    }
}

@Test func anEmptySplitIsNamed() throws {
    for (text, specialties, says) in [
        (line(), [adult, brain], "empty for `brain-and-senses`"), ("", [adult], "empty for `adult-medicine`"),
        ("", [], "the split is empty"),
    ] {
        let error = try #require(throws: MMedError.self) { try load(text, specialties: specialties) }
        #expect(error.description.contains(says) && error.kind == .badData, "\(error)")
    }
    let missing = try #require(throws: MMedError.self) {
        try Dataset.load(path: "/nonexistent/data.jsonl", specialties: [adult])
    }
    #expect(missing.description.contains("/nonexistent/data.jsonl: cannot read the data file"))
}

@Test func limitsHoldBeforeTheLineIsRead() throws {
    var limits = DatasetLimits()
    limits.lineBytes = 100
    let long = try #require(throws: MMedError.self) { try load(line(), limits: limits) }
    #expect(long.description.contains("data.jsonl:1: the line has") && long.description.contains("the limit is 100"))
    limits = DatasetLimits()
    limits.lines = 1
    let many = try #require(throws: MMedError.self) { try load(line() + "\n" + line(id: "b"), limits: limits) }
    #expect(many.description.contains("data.jsonl:2: more than 1 lines"))
    limits = DatasetLimits()
    limits.fileBytes = 10
    let big = try #require(throws: MMedError.self) { try load(line(), limits: limits) }
    #expect(big.description.contains("the limit is 10"))
}

@Test func bytesThatAreNotTextAreRefused() throws {
    let bytes = Data(line().utf8) + Data([0x0A, 0x7B, 0x22, 0xFF, 0xFE, 0x22, 0x7D, 0x0A])
    let error = try #require(throws: MMedError.self) {
        try withFile(bytes) { try Dataset.load(path: $0, specialties: [adult]) }
    }
    #expect(error.description.contains("data.jsonl:2: the line is not UTF-8"), "\(error)")
    let deep = String(repeating: "[", count: 20_000)
    #expect(throws: MMedError.self) { try load(line(["reasoning": deep])) }
}

@Test func anImageIsResolvedBesideTheFileAndMustExist() throws {
    let text = line(["image": "\"data.jsonl\""])
    let set = try load(text, allowImages: true)
    #expect(set.records[0].image?.hasSuffix("/data.jsonl") == true)
    let error = try #require(throws: MMedError.self) { try load(line(["image": "\"no.png\""]), allowImages: true) }
    #expect(error.description.contains("data.jsonl:1: the image no.png cannot be read"))
}

@Test func aPatientInTwoSplitsIsRefused() throws {
    let train = try load(line(id: "a") + "\n" + line(["patient": "\"p-a\""], id: "b"))
    let test = try load(line(["patient": "\"p-x\""], id: "c") + "\n" + line(["patient": "\"p-a\""], id: "d"))
    try Dataset.requireDisjointPatients([train])
    let error = try #require(throws: MMedError.self) { try Dataset.requireDisjointPatients([train, test]) }
    #expect(error.place.hasSuffix("data.jsonl:2") && error.description.contains("`p-a` is also on line 1"), "\(error)")
}
