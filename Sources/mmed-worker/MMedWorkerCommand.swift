import ArgumentParser
import MMedAssembly
import MMedCore
import MMedProtocol

/// `mmed-worker`: one pair of hands of a run.
@main
struct MMedWorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mmed-worker",
        abstract: "Join a run: sample rollouts, or compute gradients and apply updates.",
        discussion: """
            A worker may join and leave at any time; what it had leased goes to another. A coordinator that dies is waited
            for; one that is stopped in good order sends its workers home, and after its resume they are started again.
            SIGINT or SIGTERM finishes what it holds and leaves; a second one leaves at once.

            Examples:
              mmed-worker --role rollout --connect tcp://127.0.0.1:5555 --threads 2
              mmed-worker --key learner-1.key --connect tcp://192.0.2.10:7450 --threads 8

            Exit codes: 0 the run is over or the worker was asked to leave, 64 usage, 65 bad model or data,
            75 no coordinator answers, 78 bad key file, the coordinator refuses the worker or its key, another process took
            its name, or the address cannot be called.
            """,
        version: Release.text)

    @Option(
        help: "What it does: rollout or learner [what its key is for].",
        transform: { text in
            guard let role = WorkerRole(rawValue: text) else {
                throw ValidationError("\"\(text)\" is no role, expected rollout or learner")
            }
            return role
        })
    var role: WorkerRole?

    @Option(help: "The coordinator's address, tcp://HOST:PORT or ipc://PATH; beyond this machine with --key only.")
    var connect: String

    @Option(help: "The key file that `mmed-coord keygen` made for this worker.")
    var key: String?

    @Option(help: "Its name among the workers [the key's, or made of role, host and process id].")
    var name: String?

    @Option(help: "Compute threads.")
    var threads = 2

    @Option(help: "Model file, folder or pinned name [the pinned model in MMED_CACHE].")
    var model: String?

    @Option(help: "Adapters a learner holds, separated by commas [all].")
    var adapters: String?

    @Option(help: "Paths sampled at once.")
    var paths = 32

    @Option(
        help:
            "Seconds to wait for a coordinator that does not answer, or does not take the key any more; one that had answered and is gone is waited for until a signal comes."
    )
    var waitSeconds = 300

    @Flag(help: .hidden)
    var exitWithStdin = false

    func run() async throws {
        do {
            try ProcessSetup.prepare()
            try await WorkerSession.run(try options())
        } catch let error as MMedError {
            ProcessSetup.say("mmed-worker: \(error)")
            throw ExitCode(error.kind.rawValue)
        }
    }

    private func options() throws(MMedError) -> WorkerOptions {
        var names: [Name] = []
        for text in (adapters ?? "").split(separator: ",") {
            guard let name = Name(String(text)) else {
                throw MMedError(.usage, at: "--adapters", "\"\(text)\" is no adapter's name", mend: "see the run's log")
            }
            names.append(name)
        }
        guard ComputeThreads.allowed.contains(threads), (1...1_024).contains(paths) else {
            throw MMedError(.usage, at: "--threads, --paths", "expected 1 to 256 threads and 1 to 1024 paths")
        }
        guard (1...31_536_000).contains(waitSeconds) else {
            throw MMedError(.usage, at: "--wait-seconds", "expected 1 to 31536000 (a year), found \(waitSeconds)")
        }
        return WorkerOptions(
            role: role, address: connect, key: key, name: name, threads: threads, model: model, adapters: names,
            exitsWithInput: exitWithStdin, concurrentPaths: paths, waitSeconds: waitSeconds)
    }
}
