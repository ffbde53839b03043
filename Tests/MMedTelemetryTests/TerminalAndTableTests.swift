import Foundation
import MMedCore
import Testing

@testable import MMedTelemetry

@Suite struct TerminalProgressTests {
    private let status = ProgressStatus(
        stage: "gba/pediatrics", step: 2, steps: 3, reward: 0.3125, tokensPerSecond: 251.4, secondsLeft: 245)

    @Test func theLineSaysWhereTheRunIs() {
        #expect(
            TerminalProgress.line(status, width: 79) == "gba/pediatrics 2/3  reward 0.312  251 tok/s  ETA 4:05")
        let loss = ProgressStatus(stage: "dsa/x", step: 0, steps: 8, loss: 1.5)
        #expect(TerminalProgress.line(loss, width: 79) == "dsa/x 0/8  loss 1.500")
    }

    @Test(arguments: 0...60) func theLineIsCutToTheWidth(width: Int) {
        #expect(TerminalProgress.line(status, width: width).count <= width)
    }

    @Test func timesAreReadable() {
        #expect(TerminalProgress.clockTime(3723) == "1:02:03")
        #expect(TerminalProgress.clockTime(59.6) == "1:00")
        #expect(TerminalProgress.clockTime(.infinity) == "--")
        #expect(TerminalProgress.clockTime(-1) == "--")
    }

    @Test func onlyATerminalIsWrittenTo() throws {
        for isTerminal in [true, false] {
            let pipe = Pipe()
            let progress = TerminalProgress(
                descriptor: pipe.fileHandleForWriting.fileDescriptor, isTerminal: isTerminal)
            progress.show(status)
            progress.clear()
            try pipe.fileHandleForWriting.close()
            let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            #expect(
                text
                    == (isTerminal
                        ? "\rgba/pediatrics 2/3  reward 0.312  251 tok/s  ETA 4:05\u{1B}[K\r\u{1B}[K" : ""))
        }
    }
}

@Suite struct ResultTableTests {
    private func name(_ text: String) throws -> Name { try #require(Name(text)) }

    /// An interval that is easy to see in the text: ten points to each side.
    private let table = ResultTable { share, _ in Interval(low: max(0, share - 0.1), high: min(1, share + 0.1)) }

    @Test func rowsStandBySpecialtyThenStage() throws {
        let results = [
            StageResult(
                stage: "base", specialty: try name("alpha"), prompt: "plain", questions: 24, strict: 6, lenient: 12,
                choice: 12, unparsed: 12, balancedAccuracy: 0.25, samples: 24),
            StageResult(
                stage: "base", specialty: try name("beta"), prompt: "plain", questions: 10, strict: 0, lenient: 5,
                choice: 5, unparsed: 10, balancedAccuracy: 0, samples: 10),
            StageResult(
                stage: "dsa", specialty: try name("alpha"), prompt: "plain", questions: 24, strict: 18, lenient: 18,
                choice: 20, unparsed: 0, balancedAccuracy: 0.75, samples: 24),
        ]
        let text = table.text(
            results: results,
            references: [ReferenceResult(specialty: try name("alpha"), majority: 0.5, logisticRegression: nil)],
            paired: [
                PairedResult(
                    specialty: try name("beta"), prompts: "guidelines", before: 0.5, after: 0.4375,
                    difference: -0.0625, interval: Interval(low: -0.2, high: 0.075), pairs: 64),
                PairedResult(
                    specialty: try name("beta"), prompts: "plain", before: 0.5, after: 0.5, difference: 0,
                    interval: nil, pairs: 64),
            ])
        #expect(
            text == """
                Test accuracy in percent; n counts sampled answers; intervals are Wilson's over questions.
                specialty  stage  prompt   n      strict [95 %]  balanced  lenient      choice [95 %]  unparsed
                ---------  -----  ------  --  -----------------  --------  -------  -----------------  --------
                alpha      base   plain   24  25.0 [15.0, 35.0]      25.0     50.0  50.0 [40.0, 60.0]      50.0
                alpha      dsa    plain   24  75.0 [65.0, 85.0]      75.0     75.0  83.3 [73.3, 93.3]       0.0
                beta       base   plain   10    0.0 [0.0, 10.0]       0.0     50.0  50.0 [40.0, 60.0]     100.0

                Reference methods on the same test questions, in percent.
                specialty  majority  logistic regression
                ---------  --------  -------------------
                alpha          50.0                    -

                Mean reward of the same validation questions before and after GBA, by its own sampling, under every guideline prompt
                and under the plain one. Intervals are over questions (each counts by the mean of its paths); where all differences
                are equal there is none.
                specialty  prompts     questions  before  after        difference [95 %]
                ---------  ----------  ---------  ------  -----  -----------------------
                beta       guidelines         64   0.500  0.438  -0.062 [-0.200, +0.075]
                beta       plain              64   0.500  0.500         +0.000 all equal

                """)
    }

    @Test func nothingAskedIsADashAndNoRowsIsNoText() throws {
        let empty = StageResult(
            stage: "gba", specialty: try name("alpha"), prompt: "plain", questions: 0, strict: 0, lenient: 0, choice: 0,
            unparsed: 0, balancedAccuracy: .nan, samples: 0)
        let last = table.text(results: [empty]).split(separator: "\n").last.map(String.init) ?? ""
        #expect(last.filter { $0 == "-" }.count == 5)
        #expect(table.text(results: []) == "")
    }
}
