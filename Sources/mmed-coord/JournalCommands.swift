import ArgumentParser
import Foundation
import MMedAssembly
import MMedCore

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check a run's journal, record by record, its checkpoint, and its adapters' blobs and folders.",
        discussion: """
            Example:
              mmed-coord verify runs/five
            """)

    @Argument(help: "The run's folder; no coordinator may be at work in it.")
    var folder: String

    func run() async throws { try await reporting { print(try JournalTool.verify(folder: folder)) } }
}

struct LineageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lineage",
        abstract: "Ask a run's journal what trained an adapter version, or anything else in SQL.",
        discussion: """
            Tables and examples: docs/LINEAGE.md. The answer is tab-separated. It believes the journal; whether the journal
            can be believed, `mmed-coord verify` tells.

            Examples:
              mmed-coord lineage runs/five --digest 6eb799e9c42d
              mmed-coord lineage runs/five "SELECT reason, count(*) FROM drops GROUP BY reason"
            """)

    @Argument(help: "The run's folder; no coordinator may be at work in it.")
    var folder: String

    @Argument(help: "A query over the journal's tables and views.")
    var query: String?

    @Option(
        help: "First digits of an adapter version's digest: list the questions, patients and images that trained it.")
    var digest: String?

    func validate() throws {
        if query == nil && digest == nil {
            throw ValidationError("give a query, or an adapter version with --digest; docs/LINEAGE.md has queries")
        }
        if query != nil && digest != nil { throw ValidationError("give a query or --digest, not both") }
    }

    func run() async throws {
        try await reporting {
            if let query {
                print(try JournalTool.lineage(folder: folder, query: query))
            } else {
                print(try JournalTool.lineage(folder: folder, ofDigest: digest ?? ""))
            }
        }
    }
}

struct FailpointsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failpoints",
        abstract: "List the places where a test can hit the programs: process, name, deeds.",
        discussion: """
            MMED_FAILPOINT=name:n kills the process with SIGKILL at the n-th passage; name:n:stop stops it with SIGSTOP,
            name:n:trap crashes it, name:n:error makes the step fail; a comma separates several; `count` counts passages. See docs/RELIABILITY.md.

            Example:
              MMED_FAILPOINT=journal-committed:3 mmed-coord start --config configs/quickstart.yaml
            """)

    func run() throws { print(Failpoints.list) }
}
