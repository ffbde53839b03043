import Foundation
import Testing

private func report(_ violations: [Violation]) -> Comment {
    Comment(rawValue: violations.map(\.description).joined(separator: "\n"))
}

@Suite struct HouseTests {
    @Test func everyImportIsInTheTable() throws {
        let table = importTable(ofManifest: try Repository.text("Package.swift"))
        #expect(table.count >= 15, "the rooms of Package.swift could not be read")
        let files = try Repository.swiftFiles.get()
        let violations = files.flatMap { importViolations(in: $0, table: table) }
        #expect(violations.isEmpty, report(violations))
        #expect(sharedCModules(files) == [])
    }

    @Test func theTableKeepsTheFloorsApart() throws {
        #expect(floorViolations(importTable(ofManifest: try Repository.text("Package.swift"))) == [])
    }

    @Test func theArchitecturePageShowsTheSameTable() throws {
        let manifest = importTable(ofManifest: try Repository.text("Package.swift"))
        let page = importTable(ofPage: try Repository.text("docs/ARCHITECTURE.md"))
        for room in Set(manifest.keys).union(page.table.keys).sorted() {
            #expect(
                manifest[room] == page.table[room], "\(room) differs between Package.swift and docs/ARCHITECTURE.md")
        }
        for (room, floor) in page.floors {
            let isRight =
                switch floor {
                case "pure": House.pure.contains(room)
                case "base": House.base.contains(room)
                case "edge": House.edges.contains(room)
                case "runtime": House.runtimes.contains(room)
                case "root": House.roots.contains(room)
                case "kit": House.kits.contains(room)
                default:
                    !House.pure.union(House.base).union(House.edges).union(House.runtimes).union(House.roots).union(
                        House.kits
                    )
                    .contains(room)
                }
            #expect(isRight, "\(room) is not on the floor \(floor)")
        }
    }

    @Test func everyFileKeepsTheRules() throws {
        let files = try Repository.swiftFiles.get()
        #expect(files.count > 50, "the sources could not be found")
        let violations = files.flatMap { codeViolations(in: $0) }
        #expect(violations.isEmpty, report(violations))
    }

    @Test func everyOtherTextKeepsTheRulesForTexts() throws {
        let kernels = try Repository.files(in: ["Sources/CKernels"], extensions: ["c", "h"])
        let pages = try Repository.files(
            in: ["configs", "cluster", "docs", ".ci"], extensions: ["yaml", "md", "sh", "py"])
        let topLevel = try ["README.md", "Makefile", "Package.swift"].map {
            SourceFile(path: $0, text: try Repository.text($0))
        }
        let violations =
            kernels.flatMap { lengthViolations(in: $0) }
            + (kernels + pages + topLevel).flatMap { wordViolations(in: $0) }
        #expect(violations.isEmpty, report(violations))
    }

    @Test func theTopLevelHoldsOnlyWhatBelongsThere() throws {
        let known: Set<String> = [
            "Package.swift", "Package.resolved", "Sources", "Tests", "Benchmarks", "cluster", "configs", "docs",
            "Makefile",
            "README.md", "LICENSE", "runs",
        ]
        let names = try FileManager.default.contentsOfDirectory(atPath: Repository.top.path)
        #expect(names.filter { !$0.hasPrefix(".") && !known.contains($0) }.sorted() == [])
    }
}
