import Foundation
import MMedCore
import MMedFormats
import MMedTelemetry

/// The figures of report.txt for programs: `report.json`. Shares are in 0...1, intervals are [low, high].
struct ReportRecord: Encodable {
    struct Result: Encodable {
        var stage: String
        var specialty: String
        var prompt: String
        var answers: Int
        var questions: Int
        var strict: Double
        var strictInterval: [Double]
        var balanced: Double
        var lenient: Double
        var choice: Double
        var choiceInterval: [Double]
        var unparsed: Double
    }
    struct Reference: Encodable {
        var specialty: String
        var majority: Double
        var logisticRegression: Double?
    }
    struct Paired: Encodable {
        var specialty: String
        var prompts: String
        var pairs: Int
        var before: Double
        var after: Double
        var difference: Double
        /// Left out where all differences are equal.
        var interval: [Double]?
    }
    var results: [Result]
    var references: [Reference]
    var paired: [Paired]

    init(_ figures: RunReport.Figures) {
        results = figures.results.map(ReportRecord.result)
        references = figures.references.map {
            Reference(
                specialty: $0.specialty.text, majority: $0.majority, logisticRegression: $0.logisticRegression)
        }
        paired = figures.paired.map {
            Paired(
                specialty: $0.specialty.text, prompts: $0.prompts, pairs: $0.pairs, before: $0.before, after: $0.after,
                difference: $0.difference, interval: $0.interval.map { [$0.low, $0.high] })
        }
    }

    private static func result(_ result: StageResult) -> Result {
        func share(_ part: Int, _ whole: Int) -> Double { Double(part) / Double(max(1, whole)) }
        func ends(_ share: Double) -> [Double] {
            let interval = RunReport.interval(share: share, trials: result.questions)
            return [interval.low, interval.high]
        }
        let (strict, choice) = (share(result.strict, result.samples), share(result.choice, result.questions))
        return Result(
            stage: result.stage, specialty: result.specialty.text, prompt: result.prompt, answers: result.samples,
            questions: result.questions, strict: strict, strictInterval: ends(strict),
            balanced: result.balancedAccuracy,
            lenient: share(result.lenient, result.samples), choice: choice, choiceInterval: ends(choice),
            unparsed: share(result.unparsed, result.samples))
    }

    /// The file's bytes.
    func bytes() throws -> [UInt8] { try SortedJSON.bytes(self, laidOut: true) + [0x0A] }
}
