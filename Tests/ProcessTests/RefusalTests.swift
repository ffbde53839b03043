import Foundation
import Testing

extension Processes {
    @Suite(.serialized) struct Refusals {}
}

/// What a bad input must come to.
struct Refusal: Sendable, CustomTestStringConvertible {
    var what: String
    var code: Int32
    /// All of them stand in the message.
    var says: [String]
    /// Lines that replace those of the same first word in the shared configuration.
    var config: [String] = []
    /// Text of a split instead of the shared one, by its key.
    var data: (key: String, text: String)?
    var more: [String] = []

    var testDescription: String { what }
}

private let question =
    #"{"id": "a", "specialty": "pediatrics", "question": "Ill?", "options": ["ill", "well"], "answer": "A", "patient": "p", "source": "s", "license": "l"}"#

let refusals: [Refusal] = [
    Refusal(
        what: "mistyped key", code: 78, says: ["run.yaml:", "mergge", "did you mean merge"],
        config: ["mergge: {rank: 8}"]),
    Refusal(
        what: "mistyped inner key", code: 78, says: ["run.yaml:", "merge.rnk", "rank"], config: ["merge: {rnk: 8}"]),
    Refusal(what: "wrong type", code: 78, says: ["seed", "whole number"], config: ["seed: soon"]),
    Refusal(what: "wrong type by --set", code: 78, says: ["gba.steps", "many"], more: ["--set", "gba.steps=many"]),
    Refusal(what: "unknown key by --set", code: 78, says: ["gba.stpes", "gba.steps"], more: ["--set", "gba.stpes=3"]),
    Refusal(what: "no number", code: 78, says: ["gba.learningRate"], more: ["--set", "gba.learningRate=.nan"]),
    Refusal(
        what: "specialty without data", code: 65, says: ["train.jsonl", "neurology", "specialties"],
        config: ["specialties: [adult-medicine, neurology]"]),
    Refusal(
        what: "letter outside of the options", code: 65, says: ["split.jsonl:2", "`C`", "A to B"],
        data: ("train", question + "\n" + question.replacing(#""answer": "A""#, with: #""answer": "C""#))),
    Refusal(
        what: "mistyped specialty of a row", code: 65,
        says: ["split.jsonl:2", "`pediatrcs`", "did you mean `pediatrics`"],
        data: (
            "test",
            question.replacing("pediatrics", with: "adult-medicine") + "\n"
                + question.replacing("pediatrics", with: "pediatrcs").replacing(#""id": "a""#, with: #""id": "b""#)
        )),
    Refusal(what: "empty split", code: 65, says: ["split.jsonl", "the split is empty"], data: ("test", "")),
    Refusal(
        what: "image for a text model", code: 65, says: ["split.jsonl:1", "image"],
        data: ("test", question.replacing(#""license""#, with: #""image": "x.png", "license""#))),
    Refusal(what: "no JSON", code: 65, says: ["split.jsonl:1", "JSON"], data: ("validation", "question one")),
    Refusal(
        what: "missing data file", code: 65, says: ["gone.jsonl"], more: ["--set", "data.train=gone.jsonl"]),
    Refusal(
        what: "prompt longer than the context", code: 65, says: ["tokens", "1024", "maxTokens", "jsonl:"],
        more: ["--set", "gba.sampling.maxTokens=1000"]),
    Refusal(what: "folder as configuration", code: 78, says: ["/tmp", "folder"], more: ["--config", "/tmp"]),
    Refusal(what: "missing configuration", code: 78, says: ["nowhere.yaml"], more: ["--config", "nowhere.yaml"]),
    Refusal(what: "missing model", code: 65, says: ["no-model", "--model"], more: ["--model", "no-model"]),
    Refusal(what: "no such option", code: 64, says: ["--frobnicate"], more: ["--frobnicate"]),
]

extension Processes.Refusals {
    @Test(arguments: refusals, ["check", "start"])
    func badInputIsRefusedBeforeAnyWork(refusal: Refusal, command: String) async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        var lines = Lab.configText.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        for line in refusal.config {
            let key = line.prefix { $0 != ":" }
            lines.removeAll { $0.hasPrefix("\(key):") }
            lines.append(line)
        }
        for index in lines.indices where lines[index].hasPrefix("data:") {
            for split in ["train", "validation", "test"] {
                let path = refusal.data?.key == split ? scratch.path + "/split.jsonl" : "\(lab.path)/\(split).jsonl"
                lines[index] = lines[index].replacing("\(split).jsonl", with: path)
            }
        }
        if let data = refusal.data { try scratch.write("split.jsonl", data.text) }
        let config = try scratch.write("run.yaml", lines.joined(separator: "\n"))
        let cluster = try scratch.write("cluster.yaml", Lab.cluster())
        var arguments = [command, "--config", config, "--cluster", cluster, "--model", lab.model] + refusal.more
        if command == "start" { arguments += ["--run-dir", scratch.path + "/run"] }
        let ended = try await coordinator(arguments, in: scratch)
        #expect(ended.code == refusal.code, "\(ended)")
        for part in refusal.says { #expect(ended.errors.contains(part), "no \"\(part)\" in: \(ended.errors)") }
        #expect(ended.output.isEmpty, "\(ended)")
        if refusal.code != 64 {
            #expect(ended.errors.split(separator: "\n").count == 1, "not one sentence: \(ended.errors)")
        }
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/run"), "work had begun")
    }

    @Test func aClusterBeyondThisMachineIsRefused() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let ended = try await coordinator(
            [
                "start", "--config", lab.config, "--set", "specialties=[adult-medicine, pediatrics]", "--cluster",
                repository + "/cluster/two-hosts.yaml", "--model", lab.model, "--run-dir", scratch.path + "/run",
            ], in: scratch)
        #expect(ended.code == 78, "\(ended)")
        // Its learners also hold adapters that this run has not.
        #expect(ended.errors.contains("two-hosts.yaml"), "\(ended)")
        let keyless = try await coordinator(
            [
                "check", "--config", repository + "/configs/smoke.yaml", "--cluster",
                repository + "/cluster/two-hosts.yaml",
            ],
            in: scratch)
        #expect(keyless.code == 78, "\(keyless)")
        #expect(keyless.errors.contains("mmed-coord keygen --output \(repository)/cluster/keys"), "\(keyless)")
        for listen in ["tcp://0.0.0.0:0", "tcp://192.0.2.10:7450"] {
            let open = try await coordinator(
                try lab.arguments(Lab.cluster(listen: listen), "open", in: scratch), in: scratch)
            #expect(open.code == 78, "\(open)")
            #expect(open.errors.contains("need keys"), "\(open)")
        }
    }

    /// The folder is not made: the same command works once the address is free.
    @Test func aPortInUseLeavesNothingBehind() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let small = ["--set", "dsa.epochs=1", "--set", "gba.steps=1", "--set", "leases.noWorkersSeconds=600"]
        let holder = try Program(
            "mmed-coord", try lab.arguments("listen: tcp://127.0.0.1:0\nworkers: []\n", "holder", in: scratch) + small,
            in: scratch)
        let address = try await boundAddress(of: holder)
        let arguments = try lab.arguments(Lab.cluster(listen: address), "run", in: scratch) + small
        let refused = try await coordinator(arguments, in: scratch)
        #expect(refused.code == 75, "\(refused)")
        #expect(refused.errors.contains(address) && refused.errors.contains("port 0 takes a free one"), "\(refused)")
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/run"), "the folder was made")
        holder.signal(SIGKILL)
        _ = try await holder.end()
        let free = try await coordinator(arguments, in: scratch)
        #expect(free.code == 0, "\(free)")
    }

    /// What `start` cannot listen at, `check` refuses too.
    @Test(
        arguments: ["check", "start"],
        ["tcp://0.0.0.0:0", "tcp://lo:0", "ipc:///tmp/mmed.sock", "ipc:///no/folder/s"])
    func anAddressThatCannotBeServedIsRefusedBeforeAnyWork(command: String, listen: String) async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        var arguments = try lab.arguments(Lab.cluster(listen: listen), "run", in: scratch)
        if command == "check" { arguments = ["check"] + arguments[1..<7] }
        let ended = try await coordinator(arguments, in: scratch)
        #expect(ended.code == 78, "\(ended)")
        #expect(ended.errors.contains(listen), "\(ended)")
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/run"), "the folder was made")
    }

    @Test func anotherModelThanTheClusterFilePinsIsRefused() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let digest = String(repeating: "ab", count: 32)
        let cluster = Lab.cluster() + "model: {path: \(lab.model), sha256: \(digest)}\n"
        let path = try scratch.write("cluster.yaml", cluster)
        let ended = try await coordinator(["check", "--config", lab.config, "--cluster", path], in: scratch)
        #expect(ended.code == 65, "\(ended)")
        #expect(ended.errors.contains(digest), "\(ended)")
        let other = try await coordinator(
            ["check", "--config", lab.config, "--cluster", path, "--model", lab.model], in: scratch)
        #expect(other.code == 65, "\(other)")
        #expect(other.errors.contains(digest) && other.errors.contains("--cluster"), "\(other)")
    }

    @Test func aDamagedModelIsRefused() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let text = try scratch.write("model.gguf", "this is not a model at all, whatever its name says")
        let ended = try await coordinator(["check", "--config", lab.config, "--model", text], in: scratch)
        #expect(ended.code == 65, "\(ended)")
        #expect(ended.errors.contains("model.gguf"), "\(ended)")
        let folder = scratch.path + "/cut"
        try FileManager.default.copyItem(atPath: lab.model, toPath: folder)
        let weights = try #require(FileManager.default.contents(atPath: folder + "/model.safetensors"))
        try weights.prefix(weights.count / 2).write(to: URL(fileURLWithPath: folder + "/model.safetensors"))
        let cut = try await coordinator(["check", "--config", lab.config, "--model", folder], in: scratch)
        #expect(cut.code == 65, "\(cut)")
        #expect(cut.errors.contains("model.safetensors"), "\(cut)")
    }

    @Test func aFolderWithARunIsNotOverwritten() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let arguments = try lab.arguments(Lab.cluster(), "run", in: scratch)
        let small = ["--set", "dsa.epochs=1", "--set", "gba.steps=1"]
        let first = try await coordinator(arguments + small, in: scratch)
        #expect(first.code == 0, "\(first)")
        let before = try RunResult(scratch.path + "/run")
        let second = try await coordinator(arguments + small, in: scratch)
        #expect(second.code == 64, "\(second)")
        #expect(second.errors.contains("--resume"), "\(second)")
        // A finished run says its result again.
        let resumed = try await coordinator(["start", "--resume", scratch.path + "/run"], in: scratch)
        #expect(resumed.code == 0, "\(resumed)")
        #expect(resumed.output == first.output)
        try RunResult(scratch.path + "/run").expectSame(as: before)
        let changed = try await coordinator(
            ["start", "--resume", scratch.path + "/run", "--set", "seed=9"], in: scratch)
        #expect(changed.code == 64, "\(changed)")
        let none = try await coordinator(["start", "--resume", scratch.path + "/nothing"], in: scratch)
        #expect(none.code == 65, "\(none)")
        #expect(none.errors.contains("no run to go on with"), "\(none)")
    }

    @Test func aResumedRunKeepsItsConfigurationAndData() async throws {
        let lab = try await Lab.shared.value
        let scratch = try Scratch()
        let reference = try scratch.write("reference.json", #"{"testAnswers": {}}"#)
        let small = ["--set", "dsa.epochs=1", "--set", "gba.steps=1", "--set", "data.reference=\(reference)"]
        let ended = try await coordinator(try lab.arguments(Lab.cluster(), "run", in: scratch) + small, in: scratch)
        #expect(ended.code == 0, "\(ended)")
        // What no result rests on may be another from now on; what results rest on may not.
        let patient = try await coordinator(
            ["start", "--resume", scratch.path + "/run", "--set", "leases.noWorkersSeconds=9"], in: scratch)
        #expect(patient.code == 0, "\(patient)")
        let overridden = try ProgressLine.all(scratch.path + "/run").last { $0.event == "overridden" }
        #expect(overridden?.values["set"] == "\"leases.noWorkersSeconds=9\"")
        let misspelt = try await coordinator(
            ["start", "--resume", scratch.path + "/run", "--set", "leasez.seconds=9"], in: scratch)
        #expect(misspelt.code == 78 && misspelt.errors.contains("did you mean"), "\(misspelt)")
        let longer = try await coordinator(
            ["start", "--resume", scratch.path + "/run", "--set", "gba.steps=2"], in: scratch)
        #expect(longer.code == 64 && longer.errors.contains("--set gba.steps=2"), "\(longer)")
        // No step rests on it, and the report would be another.
        _ = try scratch.write("reference.json", #"{"testAnswers": {"none": "A"}}"#)
        let other = try await coordinator(["start", "--resume", scratch.path + "/run"], in: scratch)
        #expect(other.code == 78, "\(other)")
        #expect(other.errors.contains("not those the run began with: data.reference (\(reference))"), "\(other)")
        _ = try scratch.write("reference.json", #"{"testAnswers": {}}"#)
        let path = scratch.path + "/run/config.resolved.yaml"
        try text(of: path).replacing("steps: 1", with: "steps: 2").write(
            toFile: path, atomically: true, encoding: .utf8)
        let resumed = try await coordinator(["start", "--resume", scratch.path + "/run"], in: scratch)
        #expect(resumed.code == 78, "\(resumed)")
        #expect(resumed.errors.contains("not those the run began with: configuration (\(path))"), "\(resumed)")
        let verified = try await coordinator(["verify", scratch.path + "/run"], in: scratch)
        #expect(verified.code == 65 && verified.errors.contains(path), "\(verified)")
        try FileManager.default.removeItem(atPath: path)
        let without = try await coordinator(["start", "--resume", scratch.path + "/run"], in: scratch)
        #expect(without.code == 65 && without.errors.contains("\(path): it is missing; restore"), "\(without)")

        // A run that lost the file by which it would go on must not be taken for one that never began.
        let journal = scratch.path + "/run/journal.db"
        let before = FileManager.default.contents(atPath: journal)
        for name in ["checkpoint.json", "launch.json"] {
            try FileManager.default.removeItem(atPath: scratch.path + "/run/" + name)
        }
        let anew = try await coordinator(try lab.arguments(Lab.cluster(), "run", in: scratch) + small, in: scratch)
        #expect(anew.code == 64 && anew.errors.contains("its checkpoint.json is missing"), "\(anew)")
        #expect(FileManager.default.contents(atPath: journal) == before)
    }
}
