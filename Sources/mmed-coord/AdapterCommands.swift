import ArgumentParser
import Foundation
import MMedAssembly
import MMedCore

struct MergeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge",
        abstract: "Merge experts by CACI (or ties, taskArithmetic, linear) into one PEFT folder.",
        discussion: """
            Example:
              mmed-coord merge --expert pediatrics=runs/a/adapters/pediatrics/v30,runs/a/adapters/pediatrics/v33 \\
                --expert adult-medicine=runs/a/adapters/adult-medicine/v30 --output merged --set merge.density=0.5 \\
                --config configs/quickstart.yaml
            """)

    @Option(help: ArgumentHelp("One specialty's experts; may be repeated.", valueName: "name=DSA_FOLDER[,GBA_FOLDER]"))
    var expert: [String]

    @Option(help: "A configuration whose `merge` section is used [the defaults].")
    var config: String?

    @Option(help: ArgumentHelp("Override a key of the configuration.", valueName: "path.to.key=value"))
    var set: [String] = []

    @Option(help: "Model file, folder or pinned name.")
    var model = "smollm2-135m-instruct-q4_1"

    @Option(help: "Folder of the merged adapter.")
    var output: String

    @Flag(help: "Replace an adapter, or baked weights, that are there already.")
    var overwrite = false

    @Option(
        help: ArgumentHelp(
            "Also write the model's full weights with the exact merge added.", valueName: "file.safetensors"))
    var bake: String?

    func run() async throws {
        try await reporting {
            guard config != nil || set.isEmpty else {
                throw MMedError(.usage, at: "--set", "there is no --config to override")
            }
            print(
                try MergeTool.run(
                    experts: try expert.map { try MergeTool.Expert($0) }, config: config, overrides: set, model: model,
                    output: output, bake: bake, isReplacing: overwrite))
        }
    }
}

struct EvalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval",
        abstract: "Evaluate an adapter, or the base model, on a configuration's test questions.",
        discussion: """
            Example:
              mmed-coord eval --config configs/quickstart.yaml --adapter runs/quickstart/merged
            """)

    @Option(help: "The configuration that names the questions and the prompts.")
    var config: String

    @Option(help: ArgumentHelp("Override a key of the configuration.", valueName: "path.to.key=value"))
    var set: [String] = []

    @Option(help: "Model file, folder or pinned name [the pinned model in MMED_CACHE].")
    var model: String?

    @Option(help: "PEFT folder of the adapter [none: the base model].")
    var adapter: String?

    @Option(help: "Compute threads.")
    var threads = 2

    func validate() throws { try requireThreads(threads) }

    func run() async throws {
        try await reporting {
            print(
                try await EvalTool.run(
                    config: config, overrides: set, model: model, adapter: adapter, threads: threads))
        }
    }
}

struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write an adapter of a run, at its newest committed version, as a PEFT folder.",
        discussion: """
            Example:
              mmed-coord export runs/quickstart --adapter pediatrics --output pediatrics-adapter
            """)

    @Argument(help: "The run's folder.")
    var folder: String

    @Option(help: "A specialty, or merged.")
    var adapter: String

    @Option(help: "The folder to write.")
    var output: String

    @Flag(help: "Replace an adapter that is there already.")
    var overwrite = false

    func run() async throws {
        try await reporting {
            guard let name = Name(adapter) else {
                throw MMedError(.usage, at: "--adapter", "\"\(adapter)\" is no adapter's name")
            }
            print(try ExportTool.run(folder: folder, name: name, output: output, isReplacing: overwrite))
        }
    }
}

struct TinyModelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tiny-model",
        abstract: "Write a tiny random model as a Hugging Face folder, for trying the processes without a download.",
        discussion: """
            Example:
              mmed-coord tiny-model --output tiny --seed 1
            """)

    @Option(help: "The folder to write.")
    var output: String

    @Option(help: "Seed of its weights.")
    var seed: UInt64 = 1

    func run() async throws {
        try await reporting { print(try TinyModelTool.write(to: output, seed: seed)) }
    }
}
