import Foundation
import MMedConfig
import MMedCore
import Testing

private let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("configs/quickstart")
private let specialties = ["adult-medicine", "pediatrics", "brain-and-senses", "oncology-and-surgery"].map { Name($0)! }
private let guidelines = ["differential", "intuitive", "analytical", "bayesian"].map { Name($0)! }
/// Options of the outcome that a source counts as present; the other option is its absence.
private let present: Set<String> = ["diabetes", "death", "relapse", "wheeze", "impaired", "many", "loss", "malignant"]

private func split(_ name: String) throws -> Dataset {
    try Dataset.load(path: folder.appendingPathComponent("\(name).jsonl").path, specialties: specialties)
}

/// Words of the traces that SmolLM2's vocabulary holds whole.
private let wholeWords: Set<Substring> = [
    "Prior", "Together", "amyloid", "baseline", "benign", "breathing", "chemotherapy", "clear", "death", "diabetes",
    "diagnosis", "favorable", "glucose", "healthy", "impaired", "laser", "malignant", "nodes", "nuclei", "positive",
    "ratio", "recent", "relapse", "remission", "seizures", "stage", "survival", "thickness", "unfavorable", "weighs",
    "years",
]

/// Not below the number of SmolLM2 tokens for the vocabulary of these files: a digit, the space before it and a mark count one
/// each, a word one to three by its length.
private func tokenBound(_ text: String) -> Int {
    var bound = 1
    for match in text.matches(of: /[A-Za-z]+|\s(?=[0-9])|[^\sA-Za-z]/) {
        let word = match.output
        let isWord = word.first?.isLetter == true
        bound += !isWord || word.count <= 4 || wholeWords.contains(word) ? 1 : word.count <= 9 ? 2 : 3
    }
    return bound
}

@Test("Any even number of rows from the start is balanced", arguments: ["train", "validation", "test"])
func prefixesAreBalanced(_ name: String) throws {
    let set = try split(name)
    for records in specialties.map({ set.records(of: $0) }) + specialties.map({ set.examples(of: $0) }) + [set.records]
    {
        for index in stride(from: 0, to: records.count, by: 2) {
            let pair = records[index...].prefix(2)
            #expect(pair.count == 2 && Set(pair.map(\.source)).count == 1)
            let outcomes = pair.map { present.contains($0.options[$0.answerIndex]) }
            #expect(outcomes.contains(true) && outcomes.contains(false), "\(name) line \(records[index].line)")
        }
    }
}

@Test func noPatientIsInTwoSplitsAndTestRowsAreIndependent() throws {
    let splits = try ["train", "validation", "test"].map(split)
    try Dataset.requireDisjointPatients(splits)
    for set in splits[1...] {
        #expect(Set(set.records.map(\.patient)).count == set.records.count)
        #expect(set.records.allSatisfy { $0.reasoning.isEmpty })
    }
}

/// The page says how many vignettes a model may have read word for word; it must go on being true.
@Test func repeatedVignettesAreThoseThatThePageTells() throws {
    let learned = Set(try split("train").records.map(\.question))
    func repeated(_ set: Dataset, _ specialty: Name) -> Int {
        set.records(of: specialty).count { learned.contains($0.question) }
    }
    let (test, validation) = (try split("test"), try split("validation"))
    #expect(specialties.map { repeated(test, $0) } == [0, 85, 12, 50])
    #expect(specialties.map { test.records(of: $0).count } == [120, 140, 114, 140])
    #expect(specialties.reduce(0) { $0 + repeated(validation, $1) } == 68)
    let page = try String(contentsOf: folder.appendingPathComponent("README.md"), encoding: .utf8)
    for words in ["147 of the 514", "85 of 140", "50 of 140", "12 of 114", "none of 120", "68 of 260"] {
        #expect(page.contains(words))
    }
}

@Test func sizesSufficeForTheRuns() throws {
    let splits = try ["train", "validation", "test"].map(split)
    for specialty in specialties {
        #expect((180...240).contains(splits[0].examples(of: specialty).count), "\(specialty)")
        #expect(splits[1].records(of: specialty).count >= 64, "\(specialty)")
        let test = splits[2].records(of: specialty)
        #expect(test.count >= 100, "\(specialty)")
        #expect(Set(test.prefix(24).map(\.source)) == Set(test.map(\.source)), "\(specialty)")
        let letters = test.filter { $0.answerIndex == 0 }.count
        #expect((test.count * 2 / 5...test.count * 3 / 5).contains(letters), "letters of \(specialty): \(letters) A")
    }
}

@Test func countsFileMatchesTheRows() throws {
    let data = try Data(contentsOf: folder.appendingPathComponent("counts.json"))
    let counts = try #require(try JSONSerialization.jsonObject(with: data) as? [String: [String: Any]])
    #expect(counts.count == 10)
    for name in ["train", "validation", "test"] {
        let set = try split(name)
        for (source, entry) in counts {
            let rows = set.records.filter { $0.id.hasPrefix(source + "-") }
            let figures = try #require(entry[name] as? [String: Int])
            #expect(rows.count == figures["rows"] && Set(rows.map(\.patient)).count == figures["patients"], "\(source)")
            if name == "train" {
                #expect(rows.filter { !$0.reasoning.isEmpty }.count == entry["traced"] as? Int, "\(source)")
            }
        }
    }
}

@Test("Questions stay within 60 and 130 tokens", arguments: ["train", "validation", "test"])
func questionsAreShort(_ name: String) throws {
    // chat markup with the system text 31, answer instruction 17, longest guideline with its break 22
    let others = 70
    for record in try split(name).records {
        let sentences = record.question.split(separator: ". ")
        #expect(tokenBound(sentences.dropLast().joined(separator: ". ")) <= 60, "\(record.id)")
        let lettered = record.options.enumerated().map { "\(QuestionRecord.letter($0.offset)). \($0.element)" }
        let bound = tokenBound(record.question) + lettered.map { tokenBound($0) }.reduce(0, +)
        #expect(bound + others <= 130, "\(record.id): \(bound)")
        #expect(record.options.count == 2 && !record.license.isEmpty && record.source.contains("::"), "\(record.id)")
    }
}

@Test func tracesAreShortAndEndInTheAnswer() throws {
    let set = try split("train")
    for record in set.records where !record.reasoning.isEmpty {
        #expect(Set(record.reasoning.keys) == Set(guidelines), "\(record.id)")
        let answer = record.options[record.answerIndex]
        for (guideline, trace) in record.reasoning {
            #expect(tokenBound(trace) <= 50, "\(record.id) \(guideline): \(trace)")
            #expect(trace.firstMatch(of: /[0-9]\.[0-9][0-9]/) == nil, "\(record.id) \(guideline): \(trace)")
            let end = guideline.text == "differential" ? ["for \(answer).", "\(answer) weighs more."] : ["\(answer)."]
            #expect(end.contains { trace.hasSuffix($0) }, "\(record.id) \(guideline): \(trace)")
        }
        // the two findings of the shortest form stand in every form, and in the vignette by name and value
        let pattern = try #require(record.reasoning[Name("intuitive")!]).split(separator: ":")[0]
        let findings = pattern.split(separator: ", ")
        #expect(findings.count == 2)
        for finding in findings {
            #expect(record.reasoning.values.allSatisfy { $0.contains(finding) }, "\(record.id)")
            let shown = finding.replacing(#/ is (high|low)$/#, with: "")
            #expect(record.question.contains(shown), "\(record.id): \(shown)")
        }
    }
}

@Test func bayesianTracesAddUp() throws {
    let bayesian = Name("bayesian")!
    for record in try split("train").records {
        guard let trace = record.reasoning[bayesian] else { continue }
        let answer = record.options[record.answerIndex]
        var odds = 1.0
        let ratios = trace.matches(of: /ratio ([0-9.]+) for ([a-z ]+)\./)
        #expect(ratios.count == 2 && trace.hasPrefix("Prior 50%. "), "\(record.id)")
        for ratio in ratios {
            let value = try #require(Double(ratio.output.1))
            odds = ratio.output.2 == answer ? odds * value : odds / value
        }
        let posterior = min(99, max(51, (100 * odds / (1 + odds)).rounded(.toNearestOrEven)))
        #expect(odds > 1 && trace.hasSuffix("Posterior \(Int(posterior))% \(answer)."), "\(record.id): \(trace)")
    }
}

@Test func referenceAnswersCoverTheTestRowsAndMatchItsFigures() throws {
    let path = folder.appendingPathComponent("reference.json").path
    let reference = try ReferenceAnswers.load(path: path)
    let object = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: path)))
    let figures = try #require((object as? [String: Any])?["specialties"] as? [String: [String: Any]])
    let test = try split("test")
    let train = try split("train")
    for specialty in specialties {
        let records = test.records(of: specialty)
        for (key, part) in [("all", records), ("first24", Array(records.prefix(24)))] {
            let entry = try #require(figures[specialty.text]?[key] as? [String: Any])
            let logistic = try #require(entry["logisticRegression"] as? [String: Any])
            #expect(reference.correct(of: part) == logistic["correct"] as? Int && part.count == logistic["of"] as? Int)
            let majority = try #require(entry["majorityLetter"] as? [String: Any])
            #expect(train.majorityLetter(of: specialty).map { String($0) } == majority["letter"] as? String)
        }
    }
    #expect(reference.correct(of: train.records) == nil)
    #expect(throws: MMedError.self) { try ReferenceAnswers.load(path: "/nonexistent/reference.json") }
}
