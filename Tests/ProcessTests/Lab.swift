import Foundation
import Testing

/// What the tests share: a tiny random model, made-up questions, and one unbroken run to compare others with. The
/// questions have short traces, so that a few dozen updates teach the tiny model the answer's form and GBA has rewards.
struct Lab: Sendable {
    let path: String
    var model: String { path + "/model" }
    var config: String { path + "/run.yaml" }

    /// Made once for the process, removed at its end.
    static let shared = Task { try await Lab() }
    /// A run with one rollout worker and one learner that nothing disturbed; its folder stays until the end.
    static let unbroken = Task { try await Lab.shared.value.unbrokenRun() }
    var unbrokenFolder: String { path + "/unbroken" }

    private init() async throws {
        path = Lab.place
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        atexit { try? FileManager.default.removeItem(atPath: Lab.place) }
        for (split, count) in [("train", 16), ("validation", 2), ("test", 4)] {
            try write("\(split).jsonl", Lab.questions(split, count))
        }
        try write("run.yaml", Lab.configText)
        let made = try await coordinator(["tiny-model", "--output", model, "--seed", "7"], in: Scratch())
        try #require(made.code == 0, "\(made)")
    }

    private func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path + "/" + name))
    }

    private static let place = NSTemporaryDirectory() + "/mmed-lab-\(ProcessInfo.processInfo.processIdentifier)"

    static let specialties = ["adult-medicine", "pediatrics"]

    static func questions(_ split: String, _ count: Int) -> String {
        var lines: [String] = []
        for (place, specialty) in specialties.enumerated() {
            for index in 0..<count {
                let isHigh = (index * 7 + place) % 2 == 0
                let options = index % 3 == 0 ? ["well", "ill"] : ["ill", "well"]
                let answer = options[0] == (isHigh ? "ill" : "well") ? "A" : "B"
                let traces = split == "train" ? #", "reasoning": {"intuitive": "is", "analytical": "an is"}"# : ""
                lines.append(
                    #"{"id": "\#(specialty)-\#(split)-\#(index)", "specialty": "\#(specialty)", "question": "Value "#
                        + #"\#(isHigh ? "high" : "low") \#(index). Ill?", "options": ["\#(options[0])", "\#(options[1])"], "#
                        + #""answer": "\#(answer)", "patient": "\#(specialty)-\#(split)-\#(index)", "source": "made up", "#
                        + #""license": "Apache-2.0"\#(traces)}"#)
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    static let configText = """
        seed: 5
        data: {train: train.jsonl, validation: validation.jsonl, test: test.jsonl}
        specialties: [adult-medicine, pediatrics]
        prompt:
          answerInstruction: "Reply."
          guidelines:
            - {name: intuitive, text: "At sight."}
            - {name: analytical, text: "In turn."}
        adapter: {rank: 8, alpha: 16}
        dsa: {examplesPerSpecialty: 16, epochs: 10, examplesPerStep: 4, learningRate: 1e-2, schedule: {kind: constant}}
        gba:
          {steps: 6, questionsPerStep: 2, pathsPerGuideline: 4, learningRate: 2e-4, sampling: {maxTokens: 24}}
        eval: {questionsPerSpecialty: 4, maxTokens: 24, judgeQuestions: 2}
        merge: {rank: 8}
        learning: {gradientShards: 4, microbatchTokens: 512}
        leases: {slotsPerLease: 4, seconds: 20, beatSeconds: 0.2, noWorkersSeconds: 60}

        """

    static func cluster(
        rollouts: Int = 1, learners: Int = 1, threads: Int = 1, listen: String = "tcp://127.0.0.1:0",
        adapters: [String]? = nil
    ) -> String {
        var lines = ["listen: \(listen)", "workers:", "  - {role: rollout, count: \(rollouts), threads: \(threads)}"]
        if let adapters {
            lines += adapters.map { "  - {role: learner, threads: \(threads), adapters: [\($0)]}" }
        } else {
            lines.append("  - {role: learner, count: \(learners), threads: \(threads)}")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The arguments of `start` for a cluster file's text.
    func arguments(_ cluster: String, _ run: String, in scratch: Scratch) throws -> [String] {
        let path = try scratch.write("cluster-\(run).yaml", cluster)
        return [
            "start", "--config", config, "--cluster", path, "--model", model, "--run-dir", scratch.path + "/" + run,
        ]
    }

    private func unbrokenRun() async throws -> RunResult {
        let scratch = try Scratch()
        let cluster = try scratch.write("cluster.yaml", Lab.cluster())
        let ended = try await coordinator(
            [
                "start", "--config", config, "--cluster", cluster, "--model", model, "--run-dir", unbrokenFolder,
            ], in: scratch)
        try #require(ended.code == 0, "\(ended)")
        return try RunResult(unbrokenFolder)
    }

    /// A run to its end, and what it made.
    func finishedRun(_ cluster: String = Lab.cluster(), _ more: [String] = []) async throws -> RunResult {
        let scratch = try Scratch()
        let ended = try await coordinator(try arguments(cluster, "run", in: scratch) + more, in: scratch)
        try #require(ended.code == 0, "\(ended)")
        return try RunResult(scratch.path + "/run")
    }
}

/// What a run leaves that must not depend on how it came about.
struct RunResult: Equatable, Sendable {
    /// Every file below `adapters/` and `merged/`.
    var adapters: [String: Data] = [:]
    var report: String

    init(_ folder: String) throws {
        report = text(of: folder + "/report.txt")
        for part in ["adapters", "merged"] {
            for name in FileManager.default.subpaths(atPath: folder + "/" + part) ?? [] {
                let path = "\(part)/\(name)"
                var isFolder: ObjCBool = false
                guard FileManager.default.fileExists(atPath: folder + "/" + path, isDirectory: &isFolder),
                    !isFolder.boolValue
                else { continue }
                adapters[path] = FileManager.default.contents(atPath: folder + "/" + path)
            }
        }
    }

    /// Fails for each file that differs, by its name.
    func expectSame(as other: RunResult, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(adapters.keys.sorted() == other.adapters.keys.sorted(), sourceLocation: sourceLocation)
        for (path, bytes) in adapters {
            #expect(bytes == other.adapters[path], "\(path) differs", sourceLocation: sourceLocation)
        }
        #expect(report == other.report, sourceLocation: sourceLocation)
    }
}

/// One line of `progress.log`.
struct ProgressLine {
    var level: String
    var stage: String
    var step: Int?
    var event: String
    var values: [String: String]

    /// Reads a line by the documented grammar; nil for any other text.
    init?(_ line: Substring) {
        let form =
            /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (DEBUG|INFO |WARN |ERROR) ([^\s="]+) (-|\d+) event=([^\s="]+)((?: [^\s="]+=(?:"(?:[^"\\]|\\.)*"|[^\s"]*))*)/
        guard let match = line.wholeMatch(of: form) else { return nil }
        level = match.2.trimmingCharacters(in: .whitespaces)
        stage = String(match.3)
        step = Int(match.4)
        event = String(match.5)
        values = [:]
        for pair in match.6.matches(of: /\ ([^\s="]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)/) {
            values[String(pair.1)] = String(pair.2)
        }
    }

    static func all(_ folder: String) throws -> [ProgressLine] {
        try text(of: folder + "/progress.log").split(separator: "\n").map {
            try #require(ProgressLine($0), "progress.log has a line of another form: \($0)")
        }
    }
}
