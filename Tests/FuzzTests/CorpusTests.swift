import Foundation
import Testing

/// The committed corpus without a search: every input of every target keeps the properties in each `make test`.
@Suite(.serialized) struct CorpusTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Corpus")

    /// Inputs that a search found, kept by hand beside the seeds that the generator writes.
    private static let foundPrefix = "found-"

    private static func names(_ target: FuzzTarget) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.appendingPathComponent(target.name).path).sorted()
    }

    private static func bytes(_ target: FuzzTarget, _ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: folder.appendingPathComponent(target.name).appendingPathComponent(name)))
    }

    @Test(arguments: FuzzTarget.all.map(\.name))
    func everyInputKeepsTheProperties(name: String) throws {
        let target = try #require(FuzzTarget.named(name))
        let names = try CorpusTests.names(target)
        #expect(names.count >= 4, "the corpus of \(name) is not there")
        for input in names {
            #expect(throws: Never.self, "\(name)/\(input)") { try target.check(CorpusTests.bytes(target, input)) }
        }
        for input: [UInt8] in [[], [0], [0xFF], Array(repeating: 0, count: 64)] {
            #expect(throws: Never.self, "\(name) \(input)") { try target.check(input) }
        }
    }

    /// `MMED_WRITE_CORPUS=1` writes the seeds anew; without it, the folder holds exactly them and what a search found.
    @Test(arguments: FuzzTarget.all.map(\.name))
    func theCorpusIsThatOfItsGenerator(name: String) throws {
        let target = try #require(FuzzTarget.named(name))
        let seeds = try target.seeds()
        #expect(Set(seeds.map(\.name)).count == seeds.count)
        if ProcessInfo.processInfo.environment["MMED_WRITE_CORPUS"] != nil { try write(seeds, of: target) }
        let kept = try CorpusTests.names(target).filter { !$0.hasPrefix(CorpusTests.foundPrefix) }
        #expect(kept == seeds.map(\.name).sorted(), "write them with MMED_WRITE_CORPUS=1")
        for seed in seeds {
            #expect(seed.bytes.count <= target.lengthMost, "\(name)/\(seed.name) is longer than the search makes")
            #expect(
                try CorpusTests.bytes(target, seed.name) == seed.bytes,
                "\(name)/\(seed.name) is not what its generator makes: write it with MMED_WRITE_CORPUS=1")
        }
    }

    private func write(_ seeds: [(name: String, bytes: [UInt8])], of target: FuzzTarget) throws {
        let folder = CorpusTests.folder.appendingPathComponent(target.name)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for name in try CorpusTests.names(target) where !name.hasPrefix(CorpusTests.foundPrefix) {
            try FileManager.default.removeItem(at: folder.appendingPathComponent(name))
        }
        for seed in seeds { try Data(seed.bytes).write(to: folder.appendingPathComponent(seed.name)) }
    }

    @Test func theCorpusIsSmall() throws {
        let sizes = try FuzzTarget.all.flatMap { target in
            try CorpusTests.names(target).map { try CorpusTests.bytes(target, $0).count }
        }
        #expect(sizes.reduce(0, +) < 200_000)
        let folders = try FileManager.default.contentsOfDirectory(atPath: CorpusTests.folder.path).sorted()
        #expect(folders == FuzzTarget.all.map(\.name).sorted(), "a folder is of no target")
    }

    /// The properties are not empty: a careless parser is found.
    @Test func aBrokenPropertyIsAFinding() throws {
        #expect(throws: Finding.self) { try demand(1 > 2, "order") }
        #expect(throws: Finding.self) { _ = try reading("x", budget: 0) { throw CocoaError(.fileNoSuchFile) } }
        #expect(throws: Finding.self) { _ = try rereading("x") { throw CocoaError(.fileNoSuchFile) } }
        let tooMuch = { AllocationMeter.allocatedBytes += 10 }
        #expect(throws: Finding.self) { _ = try reading("x", budget: 9, tooMuch) }
    }
}
