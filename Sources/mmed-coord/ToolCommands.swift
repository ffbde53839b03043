import ArgumentParser
import Foundation
import MMedAssembly
import MMedCore
import MMedFormats

/// Refuses a number of threads that no process computes with.
func requireThreads(_ threads: Int) throws {
    let allowed = ComputeThreads.allowed
    guard allowed.contains(threads) else {
        throw ValidationError("--threads: expected \(allowed.lowerBound) to \(allowed.upperBound), found \(threads)")
    }
}

/// The model that the comparing commands compute with.
struct ModelArguments: ParsableArguments {
    @Option(help: "Model file, folder or pinned name.")
    var model = "smollm2-135m-instruct-q4_1"

    @Option(help: "PEFT folder of an adapter.")
    var adapter: String?

    @Option(help: "Compute threads.")
    var threads = 2

    func validate() throws { try requireThreads(threads) }
}

struct ScoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "score",
        abstract: "Log-probs of given completions, JSON lines in and out.",
        discussion: """
            Each line {"prompt_ids":[…],"completion_ids":[…]} is answered by {"logprobs":[…]}.

            Example:
              echo '{"prompt_ids":[504,3575,282,4649,314],"completion_ids":[7042]}' | mmed-coord score --input -
            """)

    @OptionGroup var arguments: ModelArguments

    @Option(help: "File of JSON lines; - is standard input.")
    var input: String

    @Option(help: "Softmax temperature.")
    var temperature = 1.0

    func run() async throws {
        try await reporting {
            guard temperature > 0, temperature.isFinite else {
                throw MMedError(.usage, at: "--temperature", "\(temperature) is not a number above 0")
            }
            let requests = try JSONLines.readNumbered(input, as: ScoreTool.Request.self)
            let tool = ScoreTool(
                try LoadedModel(model: arguments.model, adapter: arguments.adapter, threads: arguments.threads))
            for (line, request) in requests {
                do {
                    print(try SortedJSON.line(try tool.score(request, temperature: Float(temperature))))
                } catch let error as MMedError {
                    throw MMedError(error.kind, at: "\(input):\(line)", "\(error)")
                }
            }
        }
    }
}

struct SampleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sample",
        abstract: "Draw completions of a prompt.",
        discussion: """
            Examples:
              mmed-coord sample --prompt 'The capital of France is' --max-tokens 8 --temperature 0
              mmed-coord sample --chat --prompt 'Name one cause of anaemia.' --n 4 --seed 7 --json
            """)

    @OptionGroup var arguments: ModelArguments

    @Option(help: "The prompt.")
    var prompt: String

    @Option(name: .customLong("n"), help: "Completions.")
    var count = 1

    @Option(help: "Tokens of a completion at most.")
    var maxTokens = 64

    @Option(help: "Temperature; 0 is greedy.")
    var temperature = 1.0

    @Option(help: "Seed of the random streams.")
    var seed: UInt64 = 1

    @Flag(help: "Write the prompt as a user's turn of the model's chat template.")
    var chat = false

    @Flag(help: "Print JSON lines with token ids and log-probs.")
    var json = false

    func validate() throws {
        guard (1...4_096).contains(count) else { throw ValidationError("--n: expected 1 to 4096") }
        guard (1...8_192).contains(maxTokens) else { throw ValidationError("--max-tokens: expected 1 to 8192") }
        guard temperature >= 0, temperature.isFinite else { throw ValidationError("--temperature: expected 0 or more") }
    }

    func run() async throws {
        try await reporting {
            let loaded = try LoadedModel(
                model: arguments.model, adapter: arguments.adapter, threads: arguments.threads)
            let replies = try SampleTool.sample(
                loaded, prompt: prompt,
                SampleTool.Settings(
                    count: count, maxTokens: maxTokens, temperature: temperature, seed: seed, isChat: chat))
            for reply in replies { print(json ? try SortedJSON.line(reply) : reply.text) }
        }
    }
}

struct AdvantagesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "advantages",
        abstract: "Rewards to advantages by a configuration's `advantages` section, JSON lines in and out.",
        discussion: """
            Each line {"question":"q1","samples":[{"guideline":"bayesian","reward":1.0},{"guideline":"intuitive","reward":null}]}
            comes back with `advantage` and `masked` on each sample; null is a failed sample. Each line is one step for
            baseline auto; the whole file is the batch of scale batch.

            Example:
              mmed-coord advantages --config configs/quickstart.yaml --set advantages.baseline=pooled --input rewards.jsonl
            """)

    @Option(help: "The configuration.")
    var config: String

    @Option(help: ArgumentHelp("Override a key; may be repeated.", valueName: "path.to.key=value"))
    var set: [String] = []

    @Option(help: "File of JSON lines; - is standard input.")
    var input: String

    func run() async throws {
        try await reporting {
            for line in try AdvantagesTool.run(config: config, overrides: set, input: input) { print(line) }
        }
    }
}

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "What a run's folder tells, while it runs or after.",
        discussion: """
            Example:
              mmed-coord status runs/quickstart --json
            """)

    @Argument(help: "The run's folder.")
    var folder: String

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        try await reporting { print(try StatusTool.run(folder: folder, asJSON: json)) }
    }
}
