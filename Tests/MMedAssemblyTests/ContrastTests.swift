import MMedConfig
import MMedCore
@testable import MMedEngine
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedAssembly

/// The letter follows the conclusion: each trace is also seen with the options exchanged, and then the next letter is right.
@Suite struct ContrastTests {
    private func trees(_ material: Material) throws -> [[LearningTree]] {
        let plan = try material.plan()
        let dsa = try #require(plan.stages.first { $0.name == "dsa" })
        // Two epochs of three steps each.
        return [0, 1].map { epoch in dsa.tracks[0].steps[(3 * epoch)..<(3 * epoch + 3)].flatMap(\.examples) }
    }

    @Test func everyPromptHasTheLettersOfBothConclusions() throws {
        let material = try Material(["dsa.answerWeight=5"])
        let (prompts, tokenizer) = (try material.prompts, material.host.tokenizer)
        for tree in try trees(material).joined() {
            #expect(tree.tree.paths.map(\.completionIds.count).enumerated().allSatisfy { $0 % 3 == 0 || $1 == 1 })
            for prompt in [0, 3] {
                let whole = tree.tree.paths[prompt].completionIds
                let (leaf, other) = (tree.tree.paths[prompt + 1], tree.tree.paths[prompt + 2])
                let letters = try ["A", "B"].map { try tokenizer.letterId($0) }
                #expect(Set(leaf.completionIds + other.completionIds) == Set(letters), "one each, so none is favoured")
                let head = tree.tree.suffixIds[prompt].count
                let trace = tokenizer.decode(Array(whole.dropLast(prompts.idsAfterLetter + 1)))
                let seen = tokenizer.decode(Array(tree.tree.suffixIds[other.suffix].dropFirst(head)))
                let exchanged = trace.replacing("ill", with: "#").replacing("well", with: "ill").replacing(
                    "#", with: "well")
                #expect(seen == exchanged && trace != exchanged)
            }
            let unit = tree.targets[0].weight
            #expect(tree.targets.map { ($0.weight / unit * 1e9).rounded() / 1e9 } == [1, 4, 4, 1, 4, 4])
        }
    }

    @Test func eachEpochTurnsTheOptionsAndTheLetterWithThem() throws {
        let material = try Material(["dsa.answerWeight=5"])
        let (prompts, tokenizer) = (try material.prompts, material.host.tokenizer)
        let epochs = try trees(material)
        for record in material.data.train.records(of: material.config.specialties[0]) {
            for (epoch, options) in [record.options, Array(record.options.reversed())].enumerated() {
                let prefix = try prompts.prefixIds(question: record.question, options: options)
                let tree = try #require(epochs[epoch].first { $0.tree.prefixIds == prefix }, "epoch \(epoch)")
                let right = record.options[record.answerIndex]
                let letter = try tokenizer.letterId(options[0] == right ? "A" : "B")
                #expect(tree.tree.paths[1].completionIds == [letter] && tree.tree.paths[4].completionIds == [letter])
            }
        }
    }

    @Test func withoutItTheRecordsOwnOrderStays() throws {
        let material = try Material(["dsa.answerWeight=5", "dsa.contrast=false"])
        let epochs = try trees(material)
        #expect(Set(epochs[0].map(\.tree.prefixIds)) == Set(epochs[1].map(\.tree.prefixIds)))
        #expect(epochs.joined().allSatisfy { $0.tree.paths.count == 4 })
    }
}
