import Foundation
import MMedAlgorithms
import MMedCore
import Testing

@testable import MMedConfig

/// A complete file with the fewest keys, to which tests append.
let minimalRun = """
    data: {train: a.jsonl, validation: b.jsonl, test: c.jsonl}
    specialties: [adult-medicine, pediatrics]
    prompt:
      guidelines:
        - {name: bayesian, text: "Weigh the odds."}
        - {name: intuitive, text: "Name the pattern."}

    """

/// Decodes text as if it were the file `run.yaml` in `/study`.
func decodeRun(_ yaml: String, _ overrides: [String] = []) throws -> RunConfig {
    var root = try ConfigNode(yaml: yaml, source: "run.yaml")
    for text in overrides { root = root.overridden(by: try ConfigNode(override: text)) }
    return try RunConfig.decode(root, folder: "/study")
}

/// The error of a bad file; nil when it loads after all.
func runError(_ yaml: String, _ overrides: [String] = []) -> MMedError? {
    do {
        _ = try decodeRun(yaml, overrides)
        return nil
    } catch { return error as? MMedError }
}

@Suite struct RunConfigTests {
    @Test func defaultsBelowFileBelowOverrides() throws {
        let yaml = minimalRun + "gba: {steps: 5, questionsPerStep: 3}\n"
        let config = try decodeRun(yaml, ["gba.steps=9", "gba.sampling.topP=0.5", "eval.stages=[base, merged]"])
        #expect(config.gba.steps == 9)
        #expect(config.gba.questionsPerStep == 3)
        #expect(config.gba.pathsPerGuideline == 4)
        #expect(config.gba.sampling.topP == 0.5)
        #expect(config.eval.stages == [.base, .merged])
        #expect(config.data.train == "/study/a.jsonl")
        #expect(config.data.reference == "")
    }

    @Test func aLaterOverrideWins() throws {
        #expect(try decodeRun(minimalRun, ["seed=4", "seed=18446744073709551615"]).seed == .max)
    }

    @Test func resolvedTextReloadsEqual() throws {
        let presets = [
            "", "advantages: {preset: DAPO, weights: [1, 2.5], truncation: null}\n",
            "prompt: {system: \"a\\n\\\"b\\\" é\\t#: x\"}\n",
        ]
        for (index, extra) in presets.enumerated() {
            let yaml =
                index == 2
                ? minimalRun.replacingOccurrences(
                    of: "prompt:\n",
                    with: "prompt:\n  system: \"a\\n\\\"b\\\" é\\t#: x \\uFFFF \\uFFFE \\uFEFF \\x85 \\U0001F642\"\n")
                : minimalRun + extra
            let config = try decodeRun(yaml)
            let again = try decodeRun(config.resolvedYAML)
            #expect(again == config)
            #expect(again.resolvedYAML == config.resolvedYAML)
        }
    }

    @Test func resolvedTextNamesEveryKey() throws {
        let root = try ConfigNode(yaml: try decodeRun(minimalRun).resolvedYAML, source: "resolved")
        for path in RunConfig.everyKey where !path.contains("[]") {
            #expect(root.entry(at: path.split(separator: ".").map(String.init)) != nil, "\(path)")
        }
    }

    @Test func unknownKeyNamesLineAndNearestKey() {
        let error = runError(minimalRun + "gba:\n  stpes: 5\n")
        #expect(error?.kind == .badConfig)
        #expect(error?.place == "run.yaml:8: gba.stpes")
        #expect(error?.mend == "did you mean gba.steps?")
    }

    @Test func unknownKeyThatBelongsElsewhereIsSentThere() {
        let error = runError(minimalRun + "rank: 5\n")
        #expect(error?.problem.contains("adapter.rank and merge.rank") == true)
    }

    @Test func unknownKeyWithoutNeighbourListsTheKnownOnes() {
        #expect(
            runError(minimalRun + "adapter: {zebra: 1}\n")?.problem.contains("rank, alpha, rankStabilised, targets")
                == true)
    }

    @Test func unknownKeyOfAnOverrideIsNamed() {
        let error = runError(minimalRun, ["gba.step=5"])
        #expect(error?.place == "--set gba.step")
        #expect(error?.mend == "did you mean gba.steps?")
    }

    @Test(arguments: ["gba.steps", "=5", "gba..steps=1", "", ".=2"])
    func overrideOfAnotherFormIsRefused(text: String) {
        #expect(runError(minimalRun, [text])?.problem.contains("path.to.key=value") == true)
    }

    @Test(arguments: [
        ("gba: {steps: five}", "gba.steps", "expected a whole number in 1...1000000, found five"),
        ("gba: {steps: \"5\"}", "gba.steps", "found the text \"5\""),
        ("gba: {steps: 1.5}", "gba.steps", "found 1.5"),
        ("gba: {steps: 0}", "gba.steps", "1...1000000, found 0"),
        ("gba: {steps: 99999999999999999999}", "gba.steps", "found 99999999999999999999"),
        ("gba: {learningRate: 0}", "gba.learningRate", "a number above 0 and at most 1, found 0"),
        ("gba: {learningRate: .nan}", "gba.learningRate", "found .nan"),
        ("gba: {learningRate: 1e999}", "gba.learningRate", "found 1e999"),
        ("gba: {learningRate: 0x1p-3}", "gba.learningRate", "found 0x1p-3"),
        ("gba: {enabled: yes}", "gba.enabled", "expected true or false, found yes"),
        ("gba: {formatBonus: 0.21}", "gba.formatBonus", "at most 0.2, found 0.21"),
        ("gba: [1, 2]", "gba", "expected a group of keys, found a list of 2"),
        ("merge: {method: tie}", "merge.method", "one of caci, ties, taskArithmetic, linear"),
        ("optimizer: {beta1: 1}", "optimizer.beta1", "below 1, found 1"),
        ("seed: -1", "seed", "found -1"),
        ("adapter: {targets: [q_proj, q_proj]}", "adapter.targets[1]", "stands twice"),
        ("adapter: {targets: []}", "adapter.targets", "a list of 1 to 7"),
        ("advantages: {weights: [1, x]}", "advantages.weights[1]", "found x"),
        ("advantages: {weights: equal}", "advantages.weights", "uniform, count, or a list"),
    ])
    func badValueNamesKeyAndRange(line: String, key: String, words: String) {
        let error = runError(minimalRun + line + "\n")
        #expect(error?.place == "run.yaml:7: \(key)")
        #expect(error?.problem.contains(words) == true, "\(error.map(\.description) ?? "it loaded")")
    }

    @Test func nearChoiceIsProposed() {
        #expect(runError(minimalRun + "merge: {method: tie}\n")?.mend == "did you mean ties?")
    }

    @Test(arguments: ["train", "validation", "test"])
    func missingRequiredKeyIsNamed(key: String) {
        let error = runError(minimalRun.replacingOccurrences(of: "\(key): ", with: "reference: "))
        #expect(error?.place.hasSuffix("data.\(key)") == true)
        #expect(error?.problem == "this key is missing and has no default")
    }

    @Test func syntaxErrorsAndDuplicatesNameTheLine() {
        #expect(runError("seed: [1\n")?.place.hasPrefix("run.yaml:") == true)
        let duplicate = runError(minimalRun + "seed: 1\nseed: 2\n")
        #expect(duplicate?.problem.contains("twice: seed") == true)
        #expect(duplicate?.place.hasPrefix("run.yaml:") == true)
    }

    @Test func unfoldingAliasesAreBounded() {
        var yaml = "a0: &a0 [1,1,1,1,1,1,1,1]\n"
        for level in 1...8 {
            let items = Array(repeating: "*a\(level - 1)", count: 8).joined(separator: ",")
            yaml += "a\(level): &a\(level) [\(items)]\n"
        }
        #expect(runError(yaml)?.problem.contains("more than 20000 values") == true)
    }

    @Test func missingFileAndForeignBytesAreOneClearError() throws {
        #expect(throws: MMedError.self) { try RunConfig.load(path: "/no/such/file.yaml") }
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("mmed-\(UUID()).yaml").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data([0x73, 0xFF, 0xFE]).write(to: URL(fileURLWithPath: path))
        #expect { try RunConfig.load(path: path) } throws: { ($0 as? MMedError)?.problem.contains("UTF-8") == true }
    }

    @Test(arguments: [
        ("gba: {minimumValidSamples: 9}", "gba.minimumValidSamples"),
        ("gba: {questionsPerStep: 4096, pathsPerGuideline: 1024}", "gba.questionsPerStep"),
        ("advantages: {baseline: blend}", "advantages"),
        ("advantages: {lambda: 0.5}", "advantages.lambda"),
        ("advantages: {clipLow: null}", "advantages.clipLow"),
        ("advantages: {updatesPerStep: 3}", "advantages.updatesPerStep"),
        ("advantages: {weights: [1, 2, 3]}", "advantages.weights"),
        ("advantages: {target: stripped, prox: roll}", "advantages.prox"),
        ("advantages: {kl: k1, beta: 0.1}", "advantages.kl"),
        ("gba: {enabled: false}\neval: {stages: [gba]}", "eval.stages"),
        ("gba: {mode: freeRunning}", "gba.mode"),
        ("gba: {maxLag: 2, maxStaleness: 1}", "gba.maxStaleness"),
        ("gba: {mode: freeRunning, maxLag: 2, maxStaleness: 3}", "gba.maxStaleness"),
        ("gba: {mode: freeRunning, maxLag: 2, maxStaleness: 0}", "gba.maxStaleness"),
        ("gba: {mode: freerunning, maxLag: 2}", "gba.mode"),
        ("leases: {seconds: 2}", "leases.seconds"),
    ])
    func keysThatDoNotFitEachOther(lines: String, key: String) {
        let error = runError(minimalRun + lines + "\n")
        #expect(error?.kind == .badConfig)
        #expect(error?.place.contains(key) == true, "\(error.map(\.description) ?? "it loaded")")
        #expect(error?.place.hasPrefix("run.yaml:") == true)
    }

    @Test func freeRunningTakesABoundInVersions() throws {
        let bare = try decodeRun(minimalRun, ["gba.mode=freeRunning", "gba.maxLag=2"])
        #expect(bare.gba.mode == .freeRunning && bare.gba.maxStaleness == nil)
        let twoUpdates = ["gba.mode=freeRunning", "gba.maxLag=1", "advantages.updatesPerStep=2", "gba.maxStaleness=2"]
        #expect(try decodeRun(minimalRun, twoUpdates).gba.maxStaleness == 2)
        let error = runError(minimalRun + "gba: {maxLag: 1, maxStaleness: 1}\n")
        #expect(error?.problem.contains("only mode freeRunning takes maxStaleness") == true)
        #expect(error?.mend.contains("set gba.mode to freeRunning") == true)
    }

    @Test func textsThatWouldBreakThePromptAreRefused() {
        let space = minimalRun.replacingOccurrences(of: "\"Weigh the odds.\"", with: "\"Weigh the odds. \"")
        #expect(runError(space)?.problem.contains("white space") == true)
        let twice = minimalRun.replacingOccurrences(of: "name: intuitive", with: "name: bayesian")
        #expect(runError(twice)?.problem.contains("stands twice") == true)
        #expect(runError(minimalRun, ["prompt.answerInstruction='x '"])?.place == "--set prompt.answerInstruction")
    }

    @Test func stagesThatAreNotTrainedLeaveTheDefaultOfEval() throws {
        #expect(try decodeRun(minimalRun, ["gba.enabled=false"]).eval.stages == [.base, .dsa, .merged])
    }
}
