import Foundation
import Testing

extension Processes {
    @Suite(.serialized) struct Tools {}
}

private struct Sampled: Decodable {
    var promptIDs: [Int32]
    var completionIDs: [Int32]
    var logprobs: [Float]
    var stop: String

    enum CodingKeys: String, CodingKey {
        case promptIDs = "prompt_ids"
        case completionIDs = "completion_ids"
        case logprobs
        case stop
    }
}

private struct Scored: Decodable {
    var logprobs: [Float]
}

private func decoded<Line: Decodable>(_ ended: Ended, as type: Line.Type) throws -> [Line] {
    try #require(ended.code == 0, "\(ended)")
    return try ended.output.split(separator: "\n").map { try JSONDecoder().decode(type, from: Data($0.utf8)) }
}

extension Processes.Tools {
    private func unbrokenFolder() async throws -> String {
        _ = try await Lab.unbroken.value
        return try await Lab.shared.value.unbrokenFolder
    }

    /// The newest exported version of a specialty's adapter, and the one before it where there is one.
    private func versions(_ folder: String, _ specialty: String) throws -> [String] {
        let place = folder + "/adapters/" + specialty
        return try FileManager.default.contentsOfDirectory(atPath: place).compactMap { Int($0.dropFirst()) }.sorted()
            .map { "\(place)/v\($0)" }
    }

    @Test func whatIsSampledIsScoredToTheSameBits() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let folder = try await unbrokenFolder()
        let adapter = try #require(try versions(folder, "pediatrics").first)
        for (more, temperature) in [([], "1"), (["--adapter", adapter], "1"), (["--adapter", adapter], "0.7")] {
            let model = ["--model", lab.model] + more
            let options = [
                "--prompt", "The answer is in the", "--n", "5", "--max-tokens", "20", "--seed", "3", "--json",
            ]
            let ended = try await coordinator(
                ["sample"] + model + options + ["--temperature", temperature, "--threads", "2"], in: scratch)
            let sampled = try decoded(ended, as: Sampled.self)
            #expect(sampled.count == 5)
            #expect(Set(sampled.map(\.completionIDs)).count > 1, "five streams draw the same")
            let lines = sampled.map { #"{"prompt_ids":\#($0.promptIDs),"completion_ids":\#($0.completionIDs)}"# }
            let scored = try decoded(
                try await coordinator(
                    ["score"] + model + ["--input", "-", "--temperature", temperature, "--threads", "1"], in: scratch,
                    input: lines.joined(separator: "\n") + "\n"), as: Scored.self)
            #expect(scored.map { $0.logprobs.map(\.bitPattern) } == sampled.map { $0.logprobs.map(\.bitPattern) })
            #expect(scored.allSatisfy { $0.logprobs.allSatisfy { $0 <= 0 && $0.isFinite } })
        }
    }

    @Test func samplesDependOnTheirSeedAlone() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        func draw(_ more: [String]) async throws -> [[Int32]] {
            let arguments = ["sample", "--model", lab.model, "--prompt", "a", "--max-tokens", "12", "--json"]
            return try decoded(try await coordinator(arguments + more, in: scratch), as: Sampled.self).map(
                \.completionIDs)
        }
        let five = try await draw(["--n", "5", "--seed", "1", "--threads", "1"])
        #expect(try await draw(["--n", "5", "--seed", "1", "--threads", "2"]) == five)
        #expect(try await draw(["--n", "2", "--seed", "1"]) == Array(five[..<2]))
        #expect(try await draw(["--n", "5", "--seed", "2"]) != five)
        let greedy = try await draw(["--n", "2", "--temperature", "0", "--seed", "1"])
        #expect(greedy[0] == greedy[1])
    }

    @Test func scoresNameTheLineThatIsWrong() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let good = #"{"prompt_ids":[1,2],"completion_ids":[3]}"#
        for (line, says) in [
            (#"{"prompt_ids":[1]}"#, "completion_ids"), ("[1]", "Dictionary"), ("{", "JSON"),
            (#"{"prompt_ids":[1],"completion_ids":[]}"#, "at least one token"),
            (#"{"prompt_ids":[1],"completion_ids":[99999]}"#, "99999"),
        ] {
            let path = try scratch.write("lines.jsonl", "\(good)\n\(line)\n")
            let ended = try await coordinator(["score", "--model", lab.model, "--input", path], in: scratch)
            #expect(ended.code == 65, "\(ended)")
            #expect(ended.errors.contains("lines.jsonl:2"), "\(ended)")
            #expect(ended.errors.contains(says), "\(ended)")
        }
    }

    @Test(arguments: [
        (
            [],
            #"{"question":"q1","samples":[{"advantage":1,"guideline":"intuitive","masked":false,"reward":1},{"advantage":-1,"guideline":"intuitive","masked":false,"reward":0},{"advantage":0,"guideline":"intuitive","masked":true,"reward":null},{"advantage":0,"guideline":"analytical","masked":false,"reward":1},{"advantage":0,"guideline":"analytical","masked":false,"reward":1}]}"#
        ),
        (
            ["--set", "advantages.preset=GRPO"],
            #"{"question":"q1","samples":[{"advantage":0.5,"guideline":"intuitive","masked":false,"reward":1},{"advantage":-1.5,"guideline":"intuitive","masked":false,"reward":0},{"advantage":0,"guideline":"intuitive","masked":true,"reward":null},{"advantage":0.5,"guideline":"analytical","masked":false,"reward":1},{"advantage":0.5,"guideline":"analytical","masked":false,"reward":1}]}"#
        ),
        (
            ["--set", "advantages.baseline=pooled", "--set", "advantages.leaveOneOut=false"],
            #"{"question":"q1","samples":[{"advantage":0.25,"guideline":"intuitive","masked":false,"reward":1},{"advantage":-0.75,"guideline":"intuitive","masked":false,"reward":0},{"advantage":0,"guideline":"intuitive","masked":true,"reward":null},{"advantage":0.25,"guideline":"analytical","masked":false,"reward":1},{"advantage":0.25,"guideline":"analytical","masked":false,"reward":1}]}"#
        ),
        (
            ["--set", "advantages.baseline=blend", "--set", "advantages.lambda=0.75"],
            #"{"question":"q1","samples":[{"advantage":0.5,"guideline":"intuitive","masked":false,"reward":1},{"advantage":-1,"guideline":"intuitive","masked":false,"reward":0},{"advantage":0,"guideline":"intuitive","masked":true,"reward":null},{"advantage":0.25,"guideline":"analytical","masked":false,"reward":1},{"advantage":0.25,"guideline":"analytical","masked":false,"reward":1}]}"#
        ),
    ])
    func advantagesAreThoseOfTheDefinition(settings: [String], line: String) async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let input =
            #"{"question":"q1","samples":[{"guideline":"intuitive","reward":1.0},{"guideline":"intuitive","reward":0},{"guideline":"intuitive","reward":null},{"guideline":"analytical","reward":1},{"guideline":"analytical","reward":1}]}"#
        let ended = try await coordinator(
            ["advantages", "--config", lab.config, "--input", "-"] + settings, in: scratch, input: input + "\n")
        #expect(ended.code == 0, "\(ended)")
        #expect(ended.output == line + "\n")
    }

    @Test func advantagesRefuseWhatIsNoReward() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        for (line, says) in [
            (#"{"question":"q1","samples":[{"guideline":"intuitive","reward":"one"}]}"#, "reward"),
            (#"{"question":"q1","samples":[{"guideline":"intuitive","reward":1e999}]}"#, "reward is 1e999"),
            (#"{"question":"q1","samples":[{"guideline":"intuitive","reward":NaN}]}"#, "reward is NaN"),
            (#"{"question":"q1","samples":[{"guideline":"intuitive","reward":-Infinity}]}"#, "reward is -Infinity"),
            (#"{"question":"q1","samples":[{"guideline":"intuitive"}]}"#, "the key reward is missing"),
            (
                #"{"question":"q1","samples":[{"guideline":"intutive","reward":1}]}"#,
                "-:1: \"intutive\" is no guideline of"
            ),
        ] {
            let ended = try await coordinator(
                ["advantages", "--config", lab.config, "--input", "-"], in: scratch, input: line + "\n")
            #expect(ended.code == 65, "\(ended)")
            #expect(ended.errors.contains(says), "\(ended)")
        }
    }

    @Test func exportMergeAndEvalAgreeWithTheRun() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let folder = try await unbrokenFolder()
        for (adapter, place) in [
            ("pediatrics", try versions(folder, "pediatrics").last ?? ""), ("merged", folder + "/merged"),
        ] {
            let output = scratch.path + "/exported-\(adapter)"
            let ended = try await coordinator(
                ["export", folder, "--adapter", adapter, "--output", output], in: scratch)
            #expect(ended.code == 0, "\(ended)")
            for name in ["adapter_model.safetensors", "adapter_config.json"] {
                #expect(
                    FileManager.default.contents(atPath: output + "/" + name)
                        == FileManager.default.contents(atPath: place + "/" + name), "\(adapter): \(name)")
            }
        }
        let twice = [folder, "--adapter", "merged", "--output", scratch.path + "/exported-pediatrics"]
        let refused = try await coordinator(["export"] + twice, in: scratch)
        #expect(refused.code == 64 && refused.errors.contains("--overwrite"), "\(refused)")
        let replaced = try await coordinator(["export", "--overwrite"] + twice, in: scratch)
        #expect(replaced.code == 0, "\(replaced)")
        // The folder is put in place as a whole: what else is in it would be gone.
        let others = try scratch.write("exported-pediatrics/notes.txt", "mine")
        let careless = try await coordinator(["export", "--overwrite"] + twice, in: scratch)
        #expect(careless.code == 64 && careless.errors.contains("notes.txt"), "\(careless)")
        #expect(text(of: others) == "mine")
        let unknown = try await coordinator(
            ["export", folder, "--adapter", "cardiology", "--output", scratch.path + "/x"], in: scratch)
        #expect(unknown.code == 65 && unknown.errors.contains("pediatrics"), "\(unknown)")

        let experts = try Lab.specialties.flatMap { specialty in
            ["--expert", "\(specialty)=" + (try versions(folder, specialty)).joined(separator: ",")]
        }
        let merge = try await coordinator(
            ["merge", "--config", lab.config, "--model", lab.model, "--output", scratch.path + "/merged"] + experts,
            in: scratch)
        #expect(merge.code == 0, "\(merge)")
        #expect(merge.output == text(of: folder + "/merge.txt") + "\n")
        let again = try await coordinator(
            ["merge", "--config", lab.config, "--model", lab.model, "--output", scratch.path + "/merged"] + experts,
            in: scratch)
        #expect(again.code == 64 && again.errors.contains("--overwrite"), "\(again)")
        #expect(
            FileManager.default.contents(atPath: scratch.path + "/merged/adapter_model.safetensors")
                == FileManager.default.contents(atPath: folder + "/merged/adapter_model.safetensors"))

        let eval = try await coordinator(
            ["eval", "--config", lab.config, "--model", lab.model, "--adapter", scratch.path + "/merged"], in: scratch)
        #expect(eval.code == 0, "\(eval)")
        func rows(_ text: String) -> [[Substring]] {
            text.split(separator: "\n").map { $0.split(separator: " ") }.filter { $0.count > 2 && $0[1] == "merged" }
        }
        // Every test question of the lab has the text of a training question, so each row has one without any.
        #expect(rows(eval.output).count == 4)
        #expect(rows(eval.output) == rows(text(of: folder + "/report.txt")))
    }

    @Test func mergeBakesWeightsThatActLikeTheMergedAdapter() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let folder = try await unbrokenFolder()
        let newest = try #require(try versions(folder, "pediatrics").last)
        let baked = scratch.path + "/baked"
        try FileManager.default.copyItem(atPath: lab.model, toPath: baked)
        let merge = try await coordinator(
            [
                "merge", "--config", lab.config, "--set", "merge.method=linear", "--model", lab.model, "--expert",
                "pediatrics=\(newest)", "--output", scratch.path + "/one", "--bake", baked + "/model.safetensors",
                "--overwrite",
            ], in: scratch)
        #expect(merge.code == 0, "\(merge)")
        let line = #"{"prompt_ids":[1,70,80,90],"completion_ids":[100,110,120,2]}"# + "\n"
        func score(_ more: [String]) async throws -> [Float] {
            let ended = try await coordinator(["score", "--input", "-"] + more, in: scratch, input: line)
            return try decoded(ended, as: Scored.self)[0].logprobs
        }
        let base = try await score(["--model", lab.model])
        let adapted = try await score(["--model", lab.model, "--adapter", newest])
        let whole = try await score(["--model", baked])
        #expect(zip(adapted, whole).allSatisfy { abs($0 - $1) < 1e-4 }, "\(adapted) \(whole)")
        #expect(zip(base, whole).contains { abs($0 - $1) > 1e-2 }, "the adapter changes nothing: \(base) \(whole)")
    }
}
