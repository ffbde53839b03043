import Foundation
import Logging
import MMedCore
import Testing

@testable import MMedTelemetry

private let instant = Date(timeIntervalSince1970: 1_767_323_045.678)

private func scratchFile() -> String {
    FileManager.default.temporaryDirectory.appendingPathComponent("mmed-\(UUID().uuidString).log").path
}

private func lines(of path: String) throws -> [String] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
        .map(String.init)
}

@Suite struct ProgressLogTests {
    @Test func aLineIsTimeLevelStageStepAndPairs() throws {
        let path = scratchFile()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let log = try ProgressLog(path: path, now: { instant })
        log.write(.info, stage: "dsa/adult-medicine", step: 12, event: "update", ["loss": 0.512, "tokens": 1024])
        log.write(.warning, stage: "run", event: "waiting", ["on": "a learner", "since": "10 s", "idle": true])
        #expect(
            try lines(of: path) == [
                "2026-01-02T03:04:05.678Z INFO  dsa/adult-medicine 12 event=update loss=0.512 tokens=1024",
                "2026-01-02T03:04:05.678Z WARN  run - event=waiting on=\"a learner\" since=\"10 s\" idle=true", "",
            ])
    }

    @Test func valuesNeverBreakTheLine() {
        #expect(LogValue.text("two\nlines \"x\" \\ \u{2028}").lineText == "\"two\\nlines \\\"x\\\" \\\\ \\u2028\"")
        #expect(LogValue.text("").lineText == "\"\"")
        #expect(LogValue.text("a=b").lineText == "\"a=b\"")
        #expect(LogValue.text("naïve/ü").lineText == "naïve/ü")
        #expect(LogValue.number(.nan).lineText == "nan")
        #expect(LogValue.number(1.0 / 3).lineText == "0.333333")
        #expect(LogValue.number(2e-8).lineText == "2e-08")
        let line = ProgressLog.line(
            instant, .error, stage: "a b\n", step: nil, event: "e", values: [(key: "k k=", value: .integer(1))])
        #expect(line == "2026-01-02T03:04:05.678Z ERROR a_b_ - event=e k_k_=1")
    }

    @Test func aLineThatACrashCutOffIsClosedFirst() throws {
        let path = scratchFile()
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data("2026 INFO half a li".utf8).write(to: URL(fileURLWithPath: path))
        try ProgressLog(path: path, now: { instant }).write(.info, stage: "run", event: "resumed")
        #expect(try lines(of: path).count == 3)
        #expect(try lines(of: path)[1].hasSuffix("event=resumed"))
    }

    @Test func manyWritersKeepLinesWhole() async throws {
        let path = scratchFile()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let filler = String(repeating: "x", count: 300)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<4 {
                let log = try ProgressLog(path: path)
                group.addTask {
                    for step in 0..<200 {
                        log.write(.info, stage: "w\(writer)", step: step, event: "x", ["filler": .text(filler)])
                    }
                }
            }
            try await group.waitForAll()
        }
        let all = try lines(of: path).dropLast()
        #expect(all.count == 800)
        #expect(all.allSatisfy { $0.hasSuffix("filler=\(filler)") && $0.hasPrefix("20") })
    }

    @Test func aFullDiskLosesLinesButNeverThrows() throws {
        // /dev/full takes no byte: every write fails as on a full disk.
        let log = try ProgressLog(path: "/dev/full")
        for step in 0..<3 { log.write(.info, stage: "run", step: step, event: "x") }
        #expect(throws: MMedError.self) { try ProgressLog(path: "/no/such/folder/progress.log") }
    }

    @Test func lostLinesAreCountedUntilTold() throws {
        let file = try AppendFile(path: "/dev/full")
        #expect(!file.append("x"))
        #expect(!file.append("y"))
        #expect(file.takeLostCount() == 2)
        #expect(file.takeLostCount() == 0)
    }

    @Test func swiftLogReachesTheSameFile() throws {
        let path = scratchFile()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let log = try ProgressLog(path: path, now: { instant })
        var logger = Logger(label: "transport") { ProgressLogHandler(label: $0, progress: log) }
        logger[metadataKey: "zeta"] = "1"
        logger.warning("peer gone", metadata: ["peer": "w 1"])
        logger.debug("not shown")
        #expect(
            try lines(of: path) == [
                "2026-01-02T03:04:05.678Z WARN  transport - event=\"peer gone\" peer=\"w 1\" zeta=1", "",
            ])
    }
}

@Suite struct MetricsLogTests {
    @Test func anObjectHasSortedKeysAndFiniteNumbers() throws {
        let path = scratchFile()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let log = try MetricsLog(path: path, now: { instant })
        log.record(["stage": "gba", "reward": 0.25, "loss": .number(.infinity), "step": 3, "kl": .number(.nan)])
        let text = try lines(of: path)
        #expect(
            text == [
                #"{"nonfinite":["kl","loss"],"reward":0.25,"stage":"gba","step":3,"time":"2026-01-02T03:04:05.678Z"}"#,
                "",
            ])
        let object = try JSONSerialization.jsonObject(with: Data(text[0].utf8)) as? [String: Any]
        #expect(object?["reward"] as? Double == 0.25)
    }

    @Test func numbersKeepAllTheirDigits() throws {
        for value in [1.0 / 3, Double.leastNonzeroMagnitude, -1.7976931348623157e308, 1e22, -0.0] {
            let line = MetricsLog.object(instant, values: [(key: "x", value: .number(value))])
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            #expect(object?["x"] as? Double == value)
        }
    }

    @Test func anyTextIsValidJson() throws {
        let nasty = "a\"b\\c\u{0}\u{1F}\u{7F}\n\u{2028}é🙂"
        let line = MetricsLog.object(instant, values: [(key: nasty, value: .text(nasty))])
        #expect(!line.contains("\n"))
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String]
        #expect(object?[nasty] == nasty)
    }
}
