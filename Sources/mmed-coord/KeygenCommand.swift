import ArgumentParser
import Foundation
import MMedAssembly
import MMedCore
import MMedProtocol

struct KeygenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen",
        abstract: "Make keys for a coordinator and its workers; add workers to keys that are there.",
        discussion: """
            Each --worker has its --role, in the same order. The folder has mode 700, its files 600; a key that is there is
            never overwritten. Carry NAME.key to the worker's host, and start the coordinator with --keys. docs/SECURITY.md
            tells the format, and how to revoke a key.

            Examples:
              mmed-coord keygen --output keys --worker sampler-1 --role rollout --worker gpu-7 --role learner
              mmed-coord keygen --output keys --worker gpu-8 --role learner
            """)

    @Option(help: "The folder of keys; made where it is missing.")
    var output: String

    @Option(help: ArgumentHelp("A worker to make a key for; may be repeated.", valueName: "name"))
    var worker: [String] = []

    @Option(
        help: ArgumentHelp("What that worker does: rollout or learner.", valueName: "rollout|learner"),
        transform: { text in
            guard let role = WorkerRole(rawValue: text) else {
                throw ValidationError("\"\(text)\" is no role, expected rollout or learner")
            }
            return role
        })
    var role: [WorkerRole] = []

    func validate() throws {
        guard worker.count == role.count else {
            throw ValidationError("each --worker needs one --role: found \(worker.count) and \(role.count)")
        }
    }

    func run() async throws {
        try await reporting {
            for line in try KeygenTool.run(output: output, workers: Array(zip(worker, role))) { print(line) }
        }
    }
}
