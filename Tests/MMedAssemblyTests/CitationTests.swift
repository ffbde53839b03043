import MMedConfig
import MMedCore
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedAssembly
@testable import MMedEngine

/// The letter of an answer is the one that stands beside the option in the question and in the trace, whatever the order.
@Suite struct CitationTests {
    private func trees(_ material: Material) throws -> [[PromptTree]] {
        let plan = try material.plan()
        let dsa = try #require(plan.stages.first { $0.name == "dsa" })
        // Two epochs of three steps each.
        return [0, 1].map { epoch in
            dsa.tracks[0].steps[(3 * epoch)..<(3 * epoch + 3)].flatMap(\.examples).map(\.tree)
        }
    }

    @Test(arguments: ["letterFirst", "letterLast"])
    func questionTraceAndAnswerAgree(style: String) throws {
        let material = try Material(["prompt.optionStyle=\(style)"])
        let (prompts, tokenizer) = (try material.prompts, material.host.tokenizer)
        for (epoch, trees) in try trees(material).enumerated() {
            for record in material.data.train.records(of: material.config.specialties[0]) {
                let options = epoch == 0 ? record.options : record.options.reversed()
                let prefix = try prompts.prefixIds(question: record.question, options: options)
                let tree = try #require(trees.first { $0.prefixIds == prefix }, "epoch \(epoch)")
                let right = record.options[record.answerIndex]
                let letter = options[0] == right ? "A" : "B"
                let cited = style == "letterFirst" ? "\(letter). \(right)" : "\(right) (\(letter))"
                #expect(tokenizer.decode(prefix).contains("\n\(cited)\n"))
                for path in tree.paths {
                    let text = tokenizer.decode(path.completionIds)
                    #expect(text.contains("\(cited)</think><answer>\(letter)</answer>"), "\(text)")
                }
            }
        }
    }

    @Test func withoutCitationTheTraceIsTheFilesOwn() throws {
        let material = try Material(["dsa.citeLetter=false"])
        let tokenizer = material.host.tokenizer
        for tree in try trees(material).joined() {
            #expect(tree.paths.allSatisfy { !tokenizer.decode($0.completionIds).contains("(") })
        }
    }
}
