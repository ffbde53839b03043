import ArgumentParser
import Foundation
import MMedAssembly

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure the learner and the sampler in tokens a second, or what the coordinator costs.",
        discussion: """
            Run it on a quiet machine and read the load average beside it: `make bench` prints both.

            Example:
              mmed-coord bench --threads 2 --rounds 3
              mmed-coord bench --cost --config configs/quickstart.yaml
            """)

    @Option(help: "Model file, folder or pinned name (smollm2-135m-instruct-q4_1).")
    var model: String?

    @Option(help: "Compute threads.")
    var threads = 2

    @Option(help: "Times each row is measured.")
    var rounds = 2

    @Flag(help: "Measure the coordinator instead: acknowledgements, chunks, memory, a thousand workers.")
    var cost = false

    @Option(help: ArgumentHelp("With --cost, a folder on the disk that is measured.", valueName: "folder"))
    var diskFolder = "."

    @Option(help: "With --cost, a run's configuration: what disk and keys cost of its GBA step.")
    var config: String?

    @Flag(help: "Measure the wire alone and print messages of 10,000 bytes a second.")
    var messages = false

    @Option(help: .hidden)
    var crowd: String?

    @Option(help: .hidden)
    var connect: String?

    func validate() throws {
        try requireThreads(threads)
        if config != nil && !cost { throw ValidationError("--config is a part of --cost: give both") }
        guard (1...100).contains(rounds) else { throw ValidationError("--rounds: expected 1 to 100, found \(rounds)") }
    }

    func run() async throws {
        try await reporting {
            if let crowd, let connect {
                return try await CostCrowd.run(keyFile: crowd, address: connect) { line in
                    FileHandle.standardOutput.write(Data((line + "\n").utf8))
                }
            }
            if messages {
                print(Int(try await CostBench.messagesPerSecond()))
                return
            }
            if cost { return try await CostBench.run(folder: diskFolder, config: config, model: model) { print($0) } }
            try BenchTool.run(
                model: model ?? "smollm2-135m-instruct-q4_1", threads: threads, rounds: rounds, say: { print($0) })
        }
    }
}
