import ArgumentParser
import MMedAssembly
import MMedCore

/// `mmed-coord`: the coordinator and its tools.
@main
struct MMedCoordCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mmed-coord",
        abstract: "Train specialty LoRA experts of one language model and merge them: DSA, GBA, CACI, with eval.",
        discussion: """
            Example:
              mmed-coord start --config configs/quickstart.yaml

            Exit codes: 0 done (or stopped in good order, see start --help), 64 usage, 65 bad data, 69 no workers, 70 internal,
            75 try again, 78 bad config, 130 stopped at once.
            """,
        version: Release.text,
        subcommands: [
            StartCommand.self, CheckCommand.self, StatusCommand.self, MergeCommand.self, EvalCommand.self,
            ExportCommand.self, KeygenCommand.self, ScoreCommand.self, SampleCommand.self, AdvantagesCommand.self,
            BenchCommand.self, VerifyCommand.self, LineageCommand.self, TinyModelCommand.self,
            FailpointsCommand.self,
        ])
}

/// Prints an error as one line and ends with its exit code.
func reporting<Value>(_ body: () async throws -> Value) async throws -> Value {
    do {
        try ProcessSetup.prepare()
        return try await body()
    } catch let error as MMedError {
        ProcessSetup.say("mmed-coord: \(error)")
        throw ExitCode(error.kind.rawValue)
    }
}

/// The options that name a run.
struct RunArguments: ParsableArguments {
    @Option(help: "The run's configuration file.")
    var config: String?

    @Option(help: "The cluster file [cluster/local.yaml, else one rollout worker and one learner here].")
    var cluster: String?

    @Option(help: "The folder of keys that `mmed-coord keygen` made, instead of the cluster file's.")
    var keys: String?

    @Option(
        help:
            "A model file, folder or pinned name instead of the cluster file's path; what its model.sha256 pins holds.")
    var model: String?

    @Option(help: ArgumentHelp("Override a key of the configuration; may be repeated.", valueName: "path.to.key=value"))
    var set: [String] = []
}
