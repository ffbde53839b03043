import Foundation
import MMedAlgorithms
import MMedConfig
import MMedCore
import MMedEngine
import MMedFormats
import MMedProtocol
import MMedStore
import Testing

@testable import MMedAssembly

@Suite struct LittleEndianTests {
    private let shape = ModelShape(layerCount: 2, hiddenSize: 8, queryWidth: 8, keyValueWidth: 4, intermediateSize: 12)
    private var layout: AdapterLayout {
        AdapterLayout(settings: AdapterSettings(rank: 2, alpha: 3.5, targets: [.q, .down]), shape: shape)
    }

    @Test func everyBitPatternComesBack() throws {
        let values: [Float] = [
            0, -0.0, 1, -1.5, .infinity, -.infinity, .leastNonzeroMagnitude, .greatestFiniteMagnitude,
            Float(bitPattern: 0x7FC0_1234),
        ]
        let bytes = LittleEndian.bytes(of: values)
        #expect(bytes.count == 36)
        #expect(Array(bytes[8..<12]) == [0, 0, 0x80, 0x3F])
        let back = try LittleEndian.floats(of: bytes[...], place: "x")
        #expect(back.map(\.bitPattern) == values.map(\.bitPattern))
        #expect(try LittleEndian.floats(of: bytes[4..<12], place: "x").map(\.bitPattern) == [0x8000_0000, 0x3F80_0000])
        #expect(try LittleEndian.floats(of: [], place: "x").isEmpty)
        expectError(.badData, "gradient", "5 bytes") {
            _ = try LittleEndian.floats(of: [1, 2, 3, 4, 5], place: "gradient")
        }
    }

    @Test func anAdaptersContentComesBack() throws {
        let weights = noise(layout.parameterCount, seed: 3)
        let content = AdapterContent.bytes(layout, weights)
        let loaded = try LittleEndian.adapter(content: content, shape: shape, place: "a")
        #expect(loaded.layout == layout)
        #expect(loaded.weights == weights)
        #expect(try LittleEndian.weights(content: content, layout: layout, place: "a") == weights)
    }

    @Test func contentOfAnotherKindIsRefused() throws {
        let content = AdapterContent.bytes(layout, noise(layout.parameterCount, seed: 3))
        let wider = ModelShape(layerCount: 2, hiddenSize: 9, queryWidth: 8, keyValueWidth: 4, intermediateSize: 12)
        expectError(.badData, "not those of an adapter of this model") {
            _ = try LittleEndian.adapter(content: content, shape: wider, place: "a")
        }
        let cuts = [0, 1, 20, content.count - 4, content.count - 1].map { Array(content[..<$0]) }
        for bad in cuts + [content + [0], content + [0, 0, 0, 0], [UInt8](repeating: 0xFF, count: 9_000)] {
            expectError(.badData, "adapter") { _ = try LittleEndian.adapter(content: bad, shape: shape, place: "a") }
            expectError(.badData, "adapter") { _ = try LittleEndian.weights(content: bad, layout: layout, place: "a") }
        }
        let higher = AdapterLayout(settings: AdapterSettings(rank: 4, alpha: 3.5, targets: [.q, .down]), shape: shape)
        expectError(.badData, higher.signature) {
            _ = try LittleEndian.weights(content: content, layout: higher, place: "a")
        }
    }

    @Test(arguments: [1, 2, 64], [0.5, 16, 1e-3])
    func aSignatureIsReadBack(rank: Int, alpha: Double) throws {
        for targets in [Projection.allCases, [.q], [.down, .k]] {
            for rankStabilised in [false, true] {
                let layout = AdapterLayout(
                    settings: AdapterSettings(
                        rank: rank, alpha: alpha, rankStabilised: rankStabilised, targets: targets), shape: shape)
                #expect(AdapterLayout(signature: layout.signature) == layout, "\(layout.signature)")
            }
        }
    }

    @Test func onlyTheOneSpellingIsASignature() {
        let good = layout.signature
        #expect(AdapterLayout(signature: good) != nil)
        for bad in [
            "", "lora", good + " ", " " + good, good.replacing("r=2", with: "r=02"), good.replacing("r=2", with: "r=0"),
            good.replacing("r=2", with: "r=-1"), good.replacing("r=2", with: "r=99999"),
            good.replacing("alpha=3.5", with: "alpha=3.50"), good.replacing("alpha=3.5", with: "alpha=nan"),
            good.replacing("q_proj,down_proj", with: "down_proj,q_proj"), good.replacing("q_proj", with: "x_proj"),
            good.replacing("2x8", with: "0x8"), good.replacing("2x8", with: "99999999999999999999x8"),
            good.replacing("2x8", with: "1025x8"), good.replacing("2x8", with: "1000000x8"),
            good.replacing("rs=false", with: "rs=no"), good.replacing(" ", with: "  "),
        ] {
            #expect(AdapterLayout(signature: bad) == nil, "\(bad)")
        }
    }
}

@Suite struct ModelHostTests {
    @Test func aFoldersDigestNamesItsFilesAndNotItsPlace() throws {
        let scratch = try Scratch()
        let first = try Material.host(in: scratch, name: "a")
        let second = try Material.host(in: scratch, name: "b")
        #expect(first.digest == second.digest)
        #expect(try Material.host(in: scratch, seed: 8, name: "c").digest != first.digest)
        // As sha256sum would do it by hand: a line of name and digest for each file, in the order of the names.
        var lines = ""
        for file in first.source.files.sorted() {
            lines += "\(URL(fileURLWithPath: file).lastPathComponent) \(try ContentDigest.ofFile(file).hex)\n"
        }
        #expect(first.digest == ContentDigest.of(Array(lines.utf8)))
        #expect(first.source.files.count >= 2, "the configuration belongs to the model too")
    }

    @Test func aForeignModelIsRefused() throws {
        let scratch = try Scratch()
        let host = try Material.host(in: scratch)
        var cluster = MMedConfig.ModelConfig()
        cluster.path = host.path
        cluster.sha256 = host.digest
        #expect(try ModelHost(cluster: cluster, override: nil).digest == host.digest)
        cluster.sha256 = ContentDigest.of([1, 2, 3])
        expectError(.badData, host.path, host.digest.hex, ContentDigest.of([1, 2, 3]).hex) {
            _ = try ModelHost(cluster: cluster, override: nil)
        }
        // A command says where the pinned model is; another one is refused there too.
        expectError(.badData, host.path, host.digest.hex) { _ = try ModelHost(cluster: cluster, override: host.path) }
        cluster.sha256 = host.digest
        #expect(try ModelHost(cluster: cluster, override: host.path).digest == host.digest)
        cluster.path = scratch.path + "/gone"
        expectError(.badData, "gone", "--model") { _ = try ModelHost(cluster: cluster, override: nil) }
    }

    @Test func thePinnedModelIsTheOneInTheCache() throws {
        let root = ModelCache.root(environment: ProcessInfo.processInfo.environment)
        let file = root + "/" + PinnedModel.smolLM2.cachePath
        try #require(
            FileManager.default.fileExists(atPath: file), "\(file) is missing: run `make setup`, or set MMED_CACHE")
        let host = try ModelHost(cluster: MMedConfig.ModelConfig(), override: nil)
        #expect(host.path == file)
        #expect(host.digest == PinnedModel.smolLM2.digest)
        #expect(try host.stopTokenIds().count >= 1)
    }
}

@Suite struct RewardJudgeTests {
    private func path(_ ids: [Int32], _ stop: MMedProtocol.StopReason) -> Trajectory {
        Trajectory(
            slot: SlotID(stage: 0, track: 0, step: 0, question: 0, guideline: 0, sample: 0), version: 0,
            adapterDigest: nil, completionIds: ids, logprobs: ids.map { _ in -1 }, stop: stop, choiceLogprobs: [],
            reward: 0)
    }

    @Test func theEndTokenIsNoTextAndOtherControlTokensAre() throws {
        let material = try Material()
        let judge = RewardJudge(tokenizer: material.host.tokenizer)
        let task = RewardTask(answerIndex: 1, options: ["ill", "well"], formatBonus: 0.1, probeChoices: false)
        let right = try material.prompts.completionIds(trace: "seen", letter: "B")
        let wrong = try material.prompts.completionIds(trace: "seen", letter: "A")
        #expect(try judge.judge(path(right, .endToken), task: task).total == 1.1)
        #expect(try judge.judge(path(wrong, .endToken), task: task).total == 0.1)
        #expect(try judge.judge(path(Array(right.dropLast()), .budget), task: task).total == 0, "it was cut off")
        let control = try #require(right.last)
        #expect(try judge.judge(path([control] + right, .endToken), task: task).total == 0)
        #expect(try judge.judge(path([], .endToken), task: task).total == 0)
        for foreign in [Int32(-1), Int32(material.host.tokenizer.vocabularySize), .max] {
            expectError(.badData, "token \(foreign)") { _ = try judge.judge(path([foreign], .budget), task: task) }
        }
    }
}

@Suite struct JSONLinesTests {
    private struct Pair: Codable, Equatable {
        var name: String
        var value: Double?
    }

    @Test func linesAreReadAndBlankOnesAreCounted() throws {
        let scratch = try Scratch()
        let path = try scratch.write("a.jsonl", "{\"name\":\"a\",\"value\":1}\r\n\r\n  \n{\"name\":\"b/c\"}\r\n")
        let pairs = try JSONLines.read(path, as: Pair.self)
        #expect(pairs == [Pair(name: "a", value: 1), Pair(name: "b/c", value: nil)])
        #expect(try JSONLines.readNumbered(path, as: Pair.self).map(\.line) == [1, 4])
    }

    @Test func errorsNameFileLineAndKey() throws {
        let scratch = try Scratch()
        for (line, says) in [
            ("{}", "the key name is missing"), (#"{"name":5}"#, "name"), (#"{"name":"a","value":"x"}"#, "value"),
            ("nonsense", "JSON"), (#"{"name":"a""#, "JSON"),
        ] {
            let path = try scratch.write("a.jsonl", "{\"name\":\"a\"}\n\n\(line)\n")
            expectError(.badData, "\(path):3", says) { _ = try JSONLines.read(path, as: Pair.self) }
        }
        expectError(.badData, "there is no line") {
            _ = try JSONLines.read(try scratch.write("b.jsonl", "\n\n"), as: Pair.self)
        }
        expectError(.badData, "nowhere", "standard input") { _ = try JSONLines.read("nowhere", as: Pair.self) }
    }
}
