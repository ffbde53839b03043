import ArgumentParser
import MMedAssembly

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure the learner and the sampler in tokens a second.",
        discussion: """
            Run it on a quiet machine and read the load average beside it: `make bench` prints both.

            Example:
              mmed-coord bench --threads 2 --rounds 3
            """)

    @Option(help: "Model file, folder or pinned name.")
    var model = "smollm2-135m-instruct-q4_1"

    @Option(help: "Compute threads.")
    var threads = 2

    @Option(help: "Times each row is measured.")
    var rounds = 2

    func validate() throws {
        try requireThreads(threads)
        guard (1...100).contains(rounds) else { throw ValidationError("--rounds: expected 1 to 100, found \(rounds)") }
    }

    func run() async throws {
        try await reporting {
            try BenchTool.run(
                model: model, threads: threads, rounds: rounds, say: { print($0) })
        }
    }
}
