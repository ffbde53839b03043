import Foundation
import Testing

extension Processes {
    @Suite struct Lineage {}
}

/// The SQL of docs/LINEAGE.md: indented blocks, a statement from each SELECT at the margin of its block.
private func documentedQueries() throws -> [String] {
    var queries: [String] = []
    for line in text(of: repository + "/docs/LINEAGE.md").components(separatedBy: "\n") {
        if line.hasPrefix("    SELECT ") {
            queries.append(line)
        } else if line.hasPrefix("    "), !line.hasPrefix("    mmed-coord"), !queries.isEmpty {
            queries[queries.count - 1] += "\n" + line
        }
    }
    return queries
}

extension Processes.Lineage {
    /// A digest of the run stands for the page's, so that an answer can be looked at.
    @Test func theQueriesOfThePageAnswer() async throws {
        let scratch = try Scratch()
        _ = try await Lab.unbroken.value
        let folder = try await Lab.shared.value.unbrokenFolder
        func ask(_ query: String) async throws -> [Substring] {
            let asked = try await coordinator(["lineage", folder, query], in: scratch)
            #expect(asked.code == 0, "\(query)\n\(asked)")
            return asked.output.split(separator: "\n")
        }
        let newest = "SELECT digest FROM lineage WHERE kind = 'trajectory' ORDER BY version DESC LIMIT 1"
        let digest = try #require(try await ask(newest).last.map(String.init))
        let queries = try documentedQueries()
        #expect(queries.count >= 6)
        for query in queries {
            let rows = try await ask(query.replacing("6eb799e9", with: digest.prefix(8)))
            #expect(!rows.isEmpty, "not even the names of columns: \(query)")
            if query.contains("6eb799e9") { #expect(rows.count > 1, "nothing was found: \(query)") }
        }
        // The first of them names each trajectory of the version once, with its reward and what that was worth.
        let first = try #require(queries.first).replacing("6eb799e9", with: digest.prefix(8))
        let count = try await ask("SELECT count(*) FROM lineage WHERE digest = '\(digest)' AND kind = 'trajectory'")
        #expect(try await ask(first).count - 1 == Int(try #require(count.last)))
    }
}
