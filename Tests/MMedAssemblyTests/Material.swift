import Foundation
import MMedConfig
import MMedCoordinator
import MMedCore
import MMedEngine
import MMedFormats
import MMedProtocol
import MMedScheduling
import MMedStore
import Testing

@testable import MMedAssembly

/// A folder of a test's own, removed at the end.
final class Scratch {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "/mmed-assembly-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String {
        let path = path + "/" + name
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return path
    }
}

/// A run's inputs on the disk: a tiny random model, made-up questions, a configuration.
struct Material {
    let scratch: Scratch
    let host: ModelHost
    let config: RunConfig
    let data: RunData

    init(_ overrides: [String] = [], trainCount: Int = 10) throws {
        scratch = try Scratch()
        host = try Material.host(in: scratch)
        for (split, count) in [("train", trainCount), ("validation", 3), ("test", 4)] {
            try scratch.write("\(split).jsonl", Material.questions(split, count))
        }
        config = try RunConfig.load(
            path: try scratch.write("run.yaml", Material.configText), overrides: overrides)
        data = try RunData(config)
    }

    static func host(in scratch: Scratch, seed: UInt64 = 7, name: String = "model") throws -> ModelHost {
        let path = scratch.path + "/" + name
        try TinyModel.write(to: path, seed: seed)
        return try ModelHost(cluster: MMedConfig.ModelConfig(), override: path)
    }

    var prompts: PromptBuilder { get throws { try host.prompts(config.prompt) } }

    func builder() throws -> PlanBuilder {
        PlanBuilder(config: config, data: data, prompts: try prompts, run: try name("run"))
    }

    func plan() throws -> RunPlan { try builder().plan() }

    static func questions(_ split: String, _ count: Int) -> String {
        var text = ""
        for specialty in ["adult-medicine", "pediatrics"] {
            for index in 0..<count {
                let end = index % 2 == 0 ? "ill" : "well"
                let traces =
                    split == "train"
                    ? #", "reasoning": {"intuitive": "seen \#(index): \#(end)", "analytical": "one, then \#(index), so \#(end)"}"#
                    : ""
                text +=
                    #"{"id": "\#(specialty)-\#(split)-\#(index)", "specialty": "\#(specialty)", "question": "#
                    + #""Value \#(index)?", "options": ["ill", "well"], "answer": "\#(index % 2 == 0 ? "A" : "B")", "#
                    + #""patient": "\#(specialty)-\#(split)-\#(index)", "source": "made up", "license": "Apache-2.0"\#(traces)}"#
                    + "\n"
            }
        }
        return text
    }

    static let configText = """
        seed: 3
        data: {train: train.jsonl, validation: validation.jsonl, test: test.jsonl}
        specialties: [adult-medicine, pediatrics]
        prompt:
          answerInstruction: "Reply with a letter."
          guidelines:
            - {name: intuitive, text: "At first sight."}
            - {name: analytical, text: "One by one."}
        adapter: {rank: 2, alpha: 4}
        dsa: {examplesPerSpecialty: 10, epochs: 2, examplesPerStep: 4}
        gba: {steps: 6, questionsPerStep: 3, pathsPerGuideline: 2, sampling: {maxTokens: 16}}
        eval: {questionsPerSpecialty: 4, maxTokens: 16, judgeQuestions: 2}
        merge: {rank: 4}

        """
}

/// A name that a test writes down.
func name(_ text: String) throws -> Name { try #require(Name(text), "\(text)") }

/// Expects one error of a kind whose sentence holds all parts.
func expectError(
    _ kind: ExitKind, _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
    do {
        try body()
        Issue.record("nothing was thrown, expected \(parts)", sourceLocation: sourceLocation)
    } catch let error as MMedError {
        #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
        for part in parts {
            #expect(error.description.contains(part), "\(error)", sourceLocation: sourceLocation)
        }
    } catch {
        Issue.record("\(error)", sourceLocation: sourceLocation)
    }
}

/// Numbers that fill a vector, the same for the same seed.
func noise(_ count: Int, seed: UInt64, size: Double = 1) -> [Float] {
    let random = CounterRandom(key: seed)
    return (0..<count).map { Float((2 * random.uniform(UInt64($0)) - 1) * size) }
}

extension RunStore {
    /// The bytes of a blob as a worker pulls them; nil when there is none.
    func blob(_ digest: Digest) throws -> [UInt8]? {
        guard let first = try piece(of: digest, at: 0, bytesMax: 1_000) else { return nil }
        var bytes = first.bytes
        while bytes.count < first.totalBytes, let next = try piece(of: digest, at: bytes.count, bytesMax: 1 << 16) {
            bytes += next.bytes
        }
        return bytes
    }

    func content(of digest: Digest) throws -> [UInt8] { try #require(try blob(digest)) }
}
