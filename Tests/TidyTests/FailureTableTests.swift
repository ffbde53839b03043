import Foundation
import Testing

/// The table of failures in docs/RELIABILITY.md: all of them are there, each has a test named after its row, and every test
/// that the page names exists.
@Suite struct FailureTableTests {
    private func rows() throws -> [(numbers: [Int], line: String)] {
        let page = try Repository.text("docs/RELIABILITY.md")
        let section = try #require(page.components(separatedBy: "\n## Failures\n").dropFirst().first)
        return section.split(separator: "\n").compactMap { line in
            guard let match = line.firstMatch(of: /^\| (\d+(?:, \d+)*) \|/) else { return nil }
            return (match.1.split(separator: ", ").compactMap { Int($0) }, String(line))
        }
    }

    private func tests() throws -> String {
        try Repository.swiftFiles.get().filter { $0.path.hasPrefix("Tests/") }.map(\.text).joined(separator: "\n")
    }

    @Test func everyFailureHasItsRowAndATestNamedAfterIt() throws {
        let (rows, tests) = (try rows(), try tests())
        #expect(rows.flatMap(\.numbers) == Array(1...24))
        for number in rows.filter({ !$0.line.contains("not built yet") }).flatMap(\.numbers) {
            let name = "func row\(number < 10 ? "0" : "")\(number)_"
            let isThere = tests.contains(name)
            #expect(isThere, "no test is named after row \(number)")
        }
    }

    @Test func everyTestThatThePageNamesIsThere() throws {
        let (page, tests) = (try Repository.text("docs/RELIABILITY.md"), try tests())
        let names = page.matches(of: /`(row\d\d_[A-Za-z0-9_]*)…?`/).map { String($0.1) }
        #expect(names.count >= 20)
        for name in names {
            let isThere = tests.contains("func \(name)")
            #expect(isThere, "\(name) is on the page and nowhere else")
        }
        for suite in page.matches(of: /`([A-Z][A-Za-z]+Tests)`/).map({ String($0.1) }) where !suite.hasPrefix("MMed") {
            let isThere = tests.contains("struct \(suite)")
            #expect(isThere, "\(suite) is on the page and nowhere else")
        }
    }
}
