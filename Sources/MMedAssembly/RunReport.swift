import MMedAlgorithms
import MMedConfig
import MMedCore
import MMedScheduling
import MMedTelemetry

/// The table at the end: base, DSA, GBA and merged by specialty, the reference methods, and GBA's paired judgement.
struct RunReport {
    let config: RunConfig
    let data: RunData

    /// The name, in a question's plan and its paths, of the prompt without a guideline.
    static let plainPrompt = "plain"

    /// What the table is made of.
    struct Figures {
        var results: [StageResult] = []
        var references: [ReferenceResult] = []
        var paired: [PairedResult] = []
        /// Some test questions have the words of a training question; each result then has a second row without them.
        var hasRepeated = false
    }

    /// All figures of what is evaluated so far.
    func figures(of state: RunState) throws -> Figures {
        let known = repeatedQuestions()
        var figures = Figures(references: try references(), paired: paired(state.evaluations))
        for record in state.evaluations where record.stage.hasPrefix("eval-") {
            figures.results += RunReport.results(of: record)
            guard record.paths.contains(where: { known.contains($0.question) }) else { continue }
            figures.hasRepeated = true
            figures.results += RunReport.results(of: record, note: " (new)") { !known.contains($0) }
        }
        return figures
    }

    /// The text of report.txt.
    func text(of state: RunState) throws -> String {
        let figures = try figures(of: state)
        let table = ResultTable(interval: RunReport.interval)
        var text = table.text(results: figures.results, references: figures.references, paired: figures.paired)
        if figures.hasRepeated {
            text +=
                "\n(new): only the test questions whose text no training question has, so that remembering cannot help.\n"
        }
        text += "\nResearch software; not medical advice.\n"
        return text
    }

    @Sendable static func interval(share: Double, trials: Int) -> MMedTelemetry.Interval {
        let interval = wilsonInterval(share: share, trials: trials)
        return MMedTelemetry.Interval(low: interval.low, high: interval.high)
    }

    /// Test questions whose words a training question has too: other patients with the same findings.
    private func repeatedQuestions() -> Set<String> {
        let learned = Set(data.train.records.map(\.question))
        return Set(data.test.records.filter { learned.contains($0.question) }.map(\.id))
    }

    /// One row for each prompt that was asked, in the order of first asking, over the questions that count.
    static func results(
        of record: EvaluationRecord, note: String = "", where isCounted: (String) -> Bool = { _ in true }
    ) -> [StageResult] {
        var prompts: [String] = []
        for path in record.paths where !prompts.contains(path.prompt) { prompts.append(path.prompt) }
        return prompts.map { prompt in
            let paths = record.paths.filter { $0.prompt == prompt && isCounted($0.question) }
            let summary = EvaluationSummary(RunReport.items(paths))
            // The choice depends on the prompt alone: further paths of a question repeat it and are no trials of their own.
            var first: [EvaluatedPath] = []
            for path in paths where first.last?.question != path.question { first.append(path) }
            let choice = EvaluationSummary(RunReport.items(first)).choice
            return StageResult(
                stage: record.stage.hasPrefix("eval-") ? String(record.stage.dropFirst("eval-".count)) : record.stage,
                specialty: record.specialty, prompt: prompt + note,
                questions: choice?.count ?? first.count, strict: summary.strict.correct,
                lenient: summary.lenient.correct, choice: choice?.correct ?? 0,
                unparsed: paths.reduce(0) { $0 + ($1.parsed == nil ? 1 : 0) },
                balancedAccuracy: summary.balancedAccuracy, samples: paths.count)
        }
    }

    /// Classes are option texts: the letters of an answer differ from record to record.
    private static func items(_ paths: [EvaluatedPath]) -> [EvaluationItem] {
        var classes: [String] = []
        for path in paths { classes += [path.answer, path.parsed, path.lenient, path.choice].compactMap { $0 } }
        classes = Array(Set(classes)).sorted()
        let index = Dictionary(uniqueKeysWithValues: classes.enumerated().map { ($1, $0) })
        return paths.map { path in
            EvaluationItem(
                truth: index[path.answer] ?? 0, strict: path.parsed.flatMap { index[$0] },
                lenient: path.lenient.flatMap { index[$0] }, choice: path.choice.flatMap { index[$0] })
        }
    }

    private func references() throws -> [ReferenceResult] {
        guard !config.data.reference.isEmpty else { return [] }
        let answers = try ReferenceAnswers.load(path: config.data.reference)
        return config.specialties.map { specialty in
            let records = Array(data.test.records(of: specialty).prefix(config.eval.questionsPerSpecialty))
            return ReferenceResult(
                specialty: specialty, majority: RunReport.majority(records),
                logisticRegression: answers.correct(of: records).map { Double($0) / Double(max(1, records.count)) })
        }
    }

    /// The accuracy of always naming the most frequent answer of each kind of question (the same options, in any order).
    private static func majority(_ records: [QuestionRecord]) -> Double {
        let kinds = Dictionary(grouping: records) { $0.options.sorted() }
        var correct = 0.0
        for kind in kinds.values {
            let truths = kind.map { $0.options[$0.answerIndex] }
            let classes = Array(Set(truths)).sorted()
            correct += majorityBaseline(truths: truths.map { classes.firstIndex(of: $0) ?? 0 }) * Double(kind.count)
        }
        return records.isEmpty ? 0 : correct / Double(records.count)
    }

    /// Mean reward of each validation question before and after, paired by question; the prompts that GBA trains and the
    /// plain one are judged apart.
    private func paired(_ evaluations: [EvaluationRecord]) -> [PairedResult] {
        config.specialties.flatMap { specialty -> [PairedResult] in
            guard let before = evaluations.first(where: { $0.stage == "judge-before" && $0.specialty == specialty }),
                let after = evaluations.first(where: { $0.stage == "judge-after" && $0.specialty == specialty })
            else { return [] }
            return [
                paired(specialty, "guidelines", before, after) { $0 != RunReport.plainPrompt },
                paired(specialty, RunReport.plainPrompt, before, after) { $0 == RunReport.plainPrompt },
            ].compactMap { $0 }
        }
    }

    private func paired(
        _ specialty: Name, _ prompts: String, _ before: EvaluationRecord, _ after: EvaluationRecord,
        of isMeant: (String) -> Bool
    ) -> PairedResult? {
        let first = RunReport.meanRewards(before.paths.filter { isMeant($0.prompt) })
        let second = RunReport.meanRewards(after.paths.filter { isMeant($0.prompt) })
        let shared = first.filter { pair in second.contains { $0.question == pair.question } }
        let later = shared.compactMap { pair in second.first { $0.question == pair.question }?.reward }
        guard !shared.isEmpty,
            let difference = try? pairedDifference(
                before: shared.map(\.reward), after: later, seed: config.seed)
        else { return nil }
        // Resampling equal differences gives an interval of width 0, a certainty that nobody has.
        let differences = zip(later, shared).map { $0 - $1.reward }
        let isEqual = (differences.max() ?? 0) - (differences.min() ?? 0) < 1e-12
        let reach = difference.bootstrapInterval
        return PairedResult(
            specialty: specialty, prompts: prompts, before: shared.reduce(0) { $0 + $1.reward } / Double(shared.count),
            after: later.reduce(0, +) / Double(later.count), difference: difference.mean,
            interval: isEqual ? nil : MMedTelemetry.Interval(low: reach.low, high: reach.high), pairs: shared.count)
    }

    /// A question's paths are no trials of their own: what is compared is their mean.
    private static func meanRewards(_ paths: [EvaluatedPath]) -> [(question: String, reward: Double)] {
        var sums: [(question: String, reward: Double, count: Int)] = []
        for path in paths {
            if let last = sums.last, last.question == path.question {
                sums[sums.count - 1].reward += path.reward
                sums[sums.count - 1].count += 1
            } else {
                sums.append((path.question, path.reward, 1))
            }
        }
        return sums.map { ($0.question, $0.reward / Double($0.count)) }
    }
}
