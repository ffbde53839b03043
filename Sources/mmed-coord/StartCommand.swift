import ArgumentParser
import MMedAssembly
import MMedCore

struct StartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Run the whole plan, or go on with one that was stopped.",
        discussion: """
            Examples:
              mmed-coord start --config configs/quickstart.yaml
              mmed-coord start --config configs/quickstart.yaml --set gba.steps=5 --run-dir runs/five
              mmed-coord start --resume runs/five
              mmed-coord start --resume runs/five --set leases.noWorkersSeconds=3600
              mmed-coord start --config configs/full.yaml --cluster cluster/two-hosts.yaml --keys keys

            Ctrl-C (SIGINT) or SIGTERM finishes what is leased, commits, says how to go on, and ends with exit code 0 although
            the run is not complete: a script asks `status --json` for "complete", or looks for report.txt, which is
            written at the end alone. A second one stops at once with 130, at the last committed step. With keys, SIGHUP
            reads the folder's workers.allow again; without, it is as SIGTERM (a terminal was closed), and `nohup` goes on.
            """)

    @OptionGroup var arguments: RunArguments

    @Option(help: "The run's folder [runs/<configuration>-<time>].")
    var runDir: String?

    @Option(
        help:
            "Go on with the run in this folder from its last committed step; --set may then change keys of leases, storage and security, for this time."
    )
    var resume: String?

    @Flag(help: "With --resume: go on in this copy of the folder; the run must not go on in another.")
    var adopt = false

    @Flag(help: "Check everything and print the plan; start nothing.")
    var dryRun = false

    func run() async throws {
        try await reporting {
            ProcessSetup.giveLargeBlocksBack()
            let launch = try RunLaunch(
                config: arguments.config, overrides: arguments.set, cluster: arguments.cluster, keys: arguments.keys,
                model: arguments.model, runFolder: runDir, resume: resume, isAdopted: adopt)
            if dryRun {
                print(launch.summary)
                return
            }
            let code = try await launch.run { ProcessSetup.say($0) }
            if code != 0 { throw ExitCode(code) }
        }
    }
}

struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract:
            "Validate a configuration with its data, model and cluster; print the resolved configuration, the token budget and a predicted time.",
        discussion: """
            Example:
              mmed-coord check --config configs/full.yaml --set dsa.epochs=3
            """)

    @OptionGroup var arguments: RunArguments

    func run() async throws {
        try await reporting {
            let launch = try RunLaunch(
                config: arguments.config, overrides: arguments.set, cluster: arguments.cluster, keys: arguments.keys,
                model: arguments.model, runFolder: nil, resume: nil)
            print(launch.resolvedConfig)
            print(launch.summary)
        }
    }
}
