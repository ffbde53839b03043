import Foundation
import Testing

extension Processes {
    @Suite(.serialized) struct CommandLines {}
}

extension Processes.CommandLines {
    @Test(arguments: [
        "start", "check", "status", "merge", "eval", "export", "score", "sample", "advantages", "bench", "tiny-model",
        "keygen",
    ])
    func everyCommandHasHelpWithAnExample(command: String) async throws {
        let scratch = try Scratch()
        let ended = try await coordinator([command, "--help"], in: scratch)
        #expect(ended.code == 0, "\(ended)")
        #expect(ended.output.contains(#/\nExamples?:\n +\S/#), "\(ended)")
        #expect(ended.errors.isEmpty, "\(ended)")
        let overview = try await coordinator(["--help"], in: scratch)
        #expect(overview.output.contains("\n  \(command) "), "\(overview)")
    }

    @Test func startTellsThatAStoppedRunAlsoEndsWithZero() async throws {
        let ended = try await coordinator(["start", "--help"], in: Scratch())
        #expect(ended.output.contains("SIGTERM") && ended.output.contains(#"status --json"#), "\(ended)")
    }

    @Test(arguments: ["mmed-coord", "mmed-worker"])
    func theProgramsExplainTheirExitCodes(name: String) async throws {
        let scratch = try Scratch()
        let ended = try await Program(name, ["--help"], in: scratch).end()
        #expect(ended.code == 0, "\(ended)")
        #expect(ended.output.contains(#/Examples?:\n +\S*mmed-/#), "\(ended)")
        #expect(ended.output.contains("Exit codes: 0"), "\(ended)")
    }

    @Test(arguments: [["no-such-command"], ["start"], ["score"], ["start", "--resume", "a", "--config", "b"]])
    func wrongUseIsCode64(arguments: [String]) async throws {
        let scratch = try Scratch()
        let ended = try await coordinator(arguments, in: scratch)
        #expect(ended.code == 64, "\(ended)")
        #expect(!ended.errors.isEmpty, "\(ended)")
    }

    @Test(arguments: ["eval", "score", "bench"], ["0", "257", "4000"])
    func threadsHaveOneLimit(command: String, threads: String) async throws {
        let scratch = try Scratch()
        let inputs = ["eval": ["--config", "none.yaml"], "score": ["--input", "none"]][command] ?? []
        let ended = try await coordinator([command, "--threads", threads] + inputs, in: scratch)
        #expect(ended.code == 64, "\(ended)")
        #expect(ended.errors.contains("1 to 256"), "\(ended)")
    }

    @Test func aDryRunShowsThePlanAndStartsNothing() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let ended = try await coordinator(
            try lab.arguments(Lab.cluster(), "run", in: scratch) + ["--dry-run"], in: scratch)
        #expect(ended.code == 0, "\(ended)")
        for stage in ["eval-base", "dsa", "eval-dsa", "gba", "eval-gba", "merge", "eval-merged"] {
            #expect(ended.output.contains(try Regex("(?m)^\(stage) +\\d+ ")), "no \(stage) in \(ended)")
        }
        #expect(ended.output.contains("predicted time"), "\(ended)")
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/run"), "a dry run made its folder")
        let check = try await coordinator(
            ["check", "--config", lab.config, "--model", lab.model], in: scratch)
        #expect(check.output.hasSuffix(ended.output), "check and dry run tell different plans")
    }

    @Test func statusOfNoRunIsRefused() async throws {
        let scratch = try Scratch()
        let ended = try await coordinator(["status", scratch.path], in: scratch)
        #expect(ended.code == 65, "\(ended)")
        #expect(ended.errors.contains("there is no checkpoint"), "\(ended)")
    }

    @Test func theTinyModelIsTheSameForTheSameSeed() async throws {
        let scratch = try Scratch()
        for (name, seed) in [("a", "1"), ("b", "1"), ("c", "2")] {
            let ended = try await coordinator(
                ["tiny-model", "--output", scratch.path + "/" + name, "--seed", seed], in: scratch)
            #expect(ended.code == 0, "\(ended)")
        }
        let weights = ["a", "b", "c"].map {
            FileManager.default.contents(atPath: scratch.path + "/\($0)/model.safetensors")
        }
        #expect(weights[0] != nil && weights[0] == weights[1] && weights[0] != weights[2])
        // It would replace the folder as a whole, whatever else is in it.
        let again = try await coordinator(["tiny-model", "--output", scratch.path + "/a", "--seed", "3"], in: scratch)
        #expect(again.code == 64 && again.errors.contains("there is something already"), "\(again)")
        #expect(FileManager.default.contents(atPath: scratch.path + "/a/model.safetensors") == weights[0])
    }
}
