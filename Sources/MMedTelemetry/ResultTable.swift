import MMedCore

/// The table at the end of a run: base, DSA, GBA and merged by specialty, with intervals, as text for `report.txt` and a terminal.
public struct ResultTable: Sendable {
    private let interval: @Sendable (_ share: Double, _ trials: Int) -> Interval

    /// The interval of a mean over independent trials is passed in (Wilson's, from the algorithms' room), so that there is one
    /// definition of it.
    public init(interval: @escaping @Sendable (_ share: Double, _ trials: Int) -> Interval) {
        self.interval = interval
    }

    /// All tables that have rows, one below the other. Rows come in the order given, specialties in that of their first row.
    public func text(
        results: [StageResult], references: [ReferenceResult] = [], paired: [PairedResult] = []
    ) -> String {
        var blocks: [String] = []
        if !results.isEmpty { blocks.append(resultBlock(results)) }
        if !references.isEmpty { blocks.append(referenceBlock(references)) }
        if !paired.isEmpty { blocks.append(pairedBlock(paired)) }
        return blocks.joined(separator: "\n")
    }

    private func resultBlock(_ results: [StageResult]) -> String {
        var specialties: [Name] = []
        for result in results where !specialties.contains(result.specialty) { specialties.append(result.specialty) }
        var rows = [
            ["specialty", "stage", "prompt", "n", "strict [95 %]", "balanced", "lenient", "choice [95 %]", "unparsed"]
        ]
        for specialty in specialties {
            for result in results where result.specialty == specialty { rows.append(row(result)) }
        }
        return "Test accuracy in percent; n counts sampled answers; intervals are Wilson's over questions.\n"
            + ResultTable.aligned(rows, leftColumns: 3)
    }

    private func row(_ result: StageResult) -> [String] {
        [
            result.specialty.text, result.stage, result.prompt, String(result.samples),
            // Further answers to a question are no trials of their own.
            percentWithInterval(result.strict, of: result.samples, trials: result.questions),
            result.samples > 0 ? fixed(result.balancedAccuracy * 100, 1) : "-",
            percent(result.lenient, result.samples),
            percentWithInterval(result.choice, of: result.questions, trials: result.questions),
            percent(result.unparsed, result.samples),
        ]
    }

    private func referenceBlock(_ references: [ReferenceResult]) -> String {
        var rows = [["specialty", "majority", "logistic regression"]]
        for reference in references {
            rows.append([
                reference.specialty.text, fixed(reference.majority * 100, 1),
                reference.logisticRegression.map { fixed($0 * 100, 1) } ?? "-",
            ])
        }
        return "Reference methods on the same test questions, in percent.\n" + ResultTable.aligned(rows, leftColumns: 1)
    }

    private func pairedBlock(_ paired: [PairedResult]) -> String {
        var rows = [["specialty", "prompts", "questions", "before", "after", "difference [95 %]"]]
        for pair in paired {
            let ends = pair.interval.map { "[\(signed($0.low)), \(signed($0.high))]" } ?? "all equal"
            rows.append([
                pair.specialty.text, pair.prompts, String(pair.pairs), fixed(pair.before, 3), fixed(pair.after, 3),
                "\(signed(pair.difference)) \(ends)",
            ])
        }
        return """
            Mean reward of the same validation questions before and after GBA, by its own sampling, under every guideline prompt
            and under the plain one. Intervals are over questions (each counts by the mean of its paths); where all differences
            are equal there is none.

            """ + ResultTable.aligned(rows, leftColumns: 2)
    }

    private func percent(_ part: Int, _ whole: Int) -> String {
        whole > 0 ? fixed(Double(part) / Double(whole) * 100, 1) : "-"
    }

    private func percentWithInterval(_ part: Int, of whole: Int, trials: Int) -> String {
        guard whole > 0 else { return "-" }
        let ends = interval(Double(part) / Double(whole), trials)
        return "\(percent(part, whole)) [\(fixed(ends.low * 100, 1)), \(fixed(ends.high * 100, 1))]"
    }

    private func signed(_ value: Double) -> String { value < 0 ? fixed(value, 3) : "+" + fixed(value, 3) }

    /// Columns as wide as their widest cell, a rule below the head; the first columns stand left, the others right.
    static func aligned(_ rows: [[String]], leftColumns: Int) -> String {
        guard let head = rows.first else { return "" }
        let widths = head.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        var lines = rows.map { row in
            var line = row.indices.map { column in
                let space = String(repeating: " ", count: widths[column] - row[column].count)
                return column < leftColumns ? row[column] + space : space + row[column]
            }.joined(separator: "  ")
            while line.hasSuffix(" ") { line.removeLast() }
            return line
        }
        lines.insert(widths.map { String(repeating: "-", count: $0) }.joined(separator: "  "), at: 1)
        return lines.joined(separator: "\n") + "\n"
    }
}
