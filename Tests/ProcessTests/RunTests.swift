import Foundation
import Testing

extension Processes {
    @Suite(.serialized) struct Runs {}
}

extension Processes.Runs {
    @Test func aRunLeavesEverythingThatIsPromised() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let folder = scratch.path + "/run"
        let ended = try await coordinator(try lab.arguments(Lab.cluster(learners: 2), "run", in: scratch), in: scratch)
        #expect(ended.code == 0, "\(ended)")
        #expect(ended.output.hasPrefix("Test accuracy in percent"), "\(ended)")
        #expect(ended.output.contains("not medical advice"), "\(ended)")
        #expect(ended.errors.contains("tail -f \(folder)/progress.log"), "\(ended)")
        #expect(ended.errors.contains("run run is complete"), "\(ended)")
        #expect(ended.output == text(of: folder + "/report.txt") + "\n")
        for stage in ["base", "dsa", "gba", "merged"] {
            for specialty in Lab.specialties {
                let row = try Regex("(?m)^\(specialty) +\(stage) +plain +4 ")
                #expect(ended.output.contains(row), "no row \(specialty) \(stage)\n\(ended.output)")
            }
        }
        try expectAdapters(folder)
        try expectMetrics(folder)
        try expectFigures(folder)
        let resolved = folder + "/config.resolved.yaml"
        let again = try await coordinator(["check", "--config", resolved, "--model", lab.model], in: scratch)
        #expect(again.code == 0, "\(again)")
        #expect(again.output.hasPrefix(text(of: resolved)), "the resolved configuration loads to another one")
    }

    /// Users move and delete what they take away; a resume of the finished run makes it again, and `verify` says what is missing.
    @Test func aFinishedRunWritesLostFoldersAgain() async throws {
        let unbroken = try await Lab.unbroken.value
        let scratch = try Scratch()
        let folder = scratch.path + "/copy"
        try FileManager.default.copyItem(
            atPath: try await Lab.shared.value.unbrokenFolder, toPath: folder)
        let whole = try await coordinator(["verify", folder], in: scratch)
        let blobs = try FileManager.default.contentsOfDirectory(atPath: folder + "/blobs").count
        #expect(whole.code == 0 && whole.output.contains("\nblobs        \(blobs), each"), "\(whole)")
        #expect(!whole.output.contains("journal.end"))
        try FileManager.default.removeItem(atPath: folder + "/journal.end")
        let unsure = try await coordinator(["verify", folder], in: scratch)
        #expect(unsure.code == 0 && unsure.output.contains("journal.end is missing"), "\(unsure)")
        let supervised = folder + "/adapters/pediatrics/v40/adapter_model.safetensors"
        try Data("no tensors".utf8).write(to: URL(filePath: supervised))
        let damaged = try await coordinator(["verify", folder], in: scratch)
        #expect(damaged.code == 65 && damaged.errors.contains("pediatrics/v40"), "\(damaged)")
        try FileManager.default.removeItem(atPath: folder + "/merged")
        let lost = try await coordinator(["verify", folder], in: scratch)
        // Either is the first that is met, in the order of the blobs.
        #expect(lost.code == 65 && lost.errors.contains(/pediatrics\/v40|merged\/adapter_config.json/), "\(lost)")
        // The cluster file of that run is gone with its test.
        let cluster = try scratch.write("cluster.yaml", Lab.cluster())
        let again = try await coordinator(
            ["start", "--resume", folder, "--adopt", "--cluster", cluster], in: scratch)
        #expect(again.code == 0, "\(again)")
        try RunResult(folder).expectSame(as: unbroken)
        try await expectVerified(folder, in: scratch)
        let restored = try ProgressLine.all(folder).filter { $0.event == "folder-restored" }
        #expect(restored.compactMap { $0.values["path"] } == ["adapters/pediatrics/v40", "merged"], "\(restored)")
    }

    private func expectAdapters(_ folder: String) throws {
        // 16 examples in steps of 4, ten times over.
        let supervised = Lab.specialties.map { "adapters/\($0)/v40" }
        for place in supervised + ["merged"] {
            let config = try #require(FileManager.default.contents(atPath: folder + "/\(place)/adapter_config.json"))
            let object = try #require(try JSONSerialization.jsonObject(with: config) as? [String: Any])
            #expect(object["peft_type"] as? String == "LORA", "\(place)")
            let weights = try #require(
                FileManager.default.contents(atPath: folder + "/\(place)/adapter_model.safetensors"))
            #expect(weights.count > 1_000, "\(place)")
        }
        for specialty in Lab.specialties {
            let versions = try FileManager.default.contentsOfDirectory(atPath: folder + "/adapters/\(specialty)")
            let numbers = versions.compactMap { Int($0.dropFirst()) }.sorted()
            #expect(numbers.count == 2 && numbers[0] == 40, "GBA made no version of \(specialty): \(versions)")
        }
    }

    /// What the table tells, for programs.
    private func expectFigures(_ folder: String) throws {
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(text(of: folder + "/report.json").utf8)) as? [String: Any])
        let results = try #require(object["results"] as? [[String: Any]])
        let merged = try #require(
            results.first {
                $0["stage"] as? String == "merged" && $0["specialty"] as? String == "pediatrics"
                    && $0["prompt"] as? String == "plain"
            })
        let (strict, ends) = (merged["strict"] as? Double ?? -1, merged["strictInterval"] as? [Double] ?? [])
        #expect(ends.count == 2 && ends[0] <= strict && strict <= ends[1] && merged["balanced"] is Double, "\(merged)")
        #expect(merged["answers"] as? Int == 4 && merged["choiceInterval"] is [Double])
        let paired = try #require(object["paired"] as? [[String: Any]])
        #expect(paired.count == 4, "two specialties, guideline prompts and the plain one: \(paired)")
        #expect(paired.allSatisfy { $0["difference"] is Double && $0["pairs"] as? Int == 2 })
        for name in ["merge.txt", "merge.json"] { #expect(!text(of: folder + "/" + name).isEmpty, "\(name)") }
    }

    private func expectMetrics(_ folder: String) throws {
        var updates = 0
        for line in text(of: folder + "/metrics.jsonl").split(separator: "\n") {
            let object = try #require(
                try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
            #expect(object["time"] is String && object["stage"] is String && object["event"] is String, "\(line)")
            if object["event"] as? String == "update" {
                updates += 1
                #expect((object["loss"] as? Double)?.isFinite == true, "\(line)")
            }
        }
        #expect(updates > 80)
    }

    @Test func progressTellsTheStory() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let ended = try await coordinator(try lab.arguments(Lab.cluster(), "run", in: scratch), in: scratch)
        #expect(ended.code == 0, "\(ended)")
        let lines = try ProgressLine.all(scratch.path + "/run")
        #expect(lines.first?.event == "run-begins")
        #expect(lines.last?.event == "completed")
        let stages = lines.filter { $0.event == "stage-begins" }.map(\.stage)
        #expect(
            stages == [
                "eval-base", "dsa", "eval-dsa", "judge-before", "gba", "judge-after", "eval-gba", "merge",
                "eval-merged",
            ])
        #expect(lines.filter { $0.level == "WARN" || $0.level == "ERROR" }.isEmpty, "a quiet run warns of nothing")
        for specialty in Lab.specialties {
            let updates = lines.filter { $0.stage == "dsa/\(specialty)" && $0.event == "update" }
            #expect(updates.map(\.step) == (1...40).map { $0 })
            let first = updates.first.flatMap { Double($0.values["loss"] ?? "") } ?? 0
            let last = updates.last.flatMap { Double($0.values["loss"] ?? "") } ?? .infinity
            #expect(last < first / 3, "supervision did not learn: loss \(first) to \(last)")
            // The learner scores what the rollout worker sampled to the same bits.
            let gaps = lines.filter { $0.stage == "gba/\(specialty)" }.compactMap { $0.values["logprob_gap"] }
            #expect(!gaps.isEmpty && gaps.allSatisfy { $0 == "0" }, "\(gaps)")
        }
    }

    @Test func theSmokeConfigurationRuns() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let ended = try await coordinator(
            [
                "start", "--config", repository + "/configs/smoke.yaml", "--cluster",
                repository + "/cluster/smoke.yaml", "--model",
                lab.model, "--run-dir", scratch.path + "/smoke",
            ], in: scratch)
        #expect(ended.code == 0, "\(ended)")
        let specialties = Set(try ProgressLine.all(scratch.path + "/smoke").map(\.stage)).filter {
            $0.hasPrefix("dsa/")
        }
        #expect(specialties.count == 4)
    }

    /// Learners, rollout workers, their threads and who holds which adapter: none of it may change a bit of the result.
    @Test(arguments: [
        Lab.cluster(rollouts: 2, learners: 2), Lab.cluster(rollouts: 4, learners: 4),
        Lab.cluster(learners: 4, threads: 2),
        Lab.cluster(rollouts: 2, threads: 2, adapters: ["pediatrics", "adult-medicine"]),
    ])
    func theClusterDoesNotChangeABit(cluster: String) async throws {
        let expected = try await Lab.unbroken.value
        #expect(expected.adapters.count == 10)
        try await Lab.shared.value.finishedRun(cluster).expectSame(as: expected)
    }

    @Test func anotherSeedIsAnotherRun() async throws {
        let other = try await Lab.shared.value.finishedRun(Lab.cluster(), ["--set", "seed=6"])
        let expected = try await Lab.unbroken.value
        let path = "adapters/pediatrics/v40/adapter_model.safetensors"
        #expect(other.adapters[path] != nil)
        #expect(other.adapters[path] != expected.adapters[path])
    }

    @Test func aRunOverAFileSocketIsTheSame() async throws {
        // A socket's path is short, and nobody else may enter its folder.
        let folder = "/tmp/mmed-\(ProcessInfo.processInfo.processIdentifier)"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let run = try await Lab.shared.value.finishedRun(Lab.cluster(listen: "ipc://\(folder)/s"))
        run.expectSame(as: try await Lab.unbroken.value)
    }
}
