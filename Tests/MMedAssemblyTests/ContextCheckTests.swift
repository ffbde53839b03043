import MMedCore
import MMedProtocol
import MMedScheduling
import Testing

@testable import MMedAssembly

@Suite struct ContextCheckTests {
    @Test func whatDoesNotFitTheContextIsRefused() throws {
        let material = try Material()
        let stages = try material.plan().stages
        try ContextCheck.require(stages, contextLength: 1_024)
        var longest = 0
        for stage in stages {
            for step in stage.tracks.flatMap(\.steps) {
                for question in step.questions {
                    let suffix = question.suffixIds.map(\.count).max() ?? 0
                    longest = max(longest, question.prefixIds.count + suffix + stage.sampling.maxTokens)
                }
                for tree in step.examples.map(\.tree) {
                    for path in tree.paths {
                        let prompt = tree.prefixIds.count + tree.suffixIds[path.suffix].count
                        longest = max(longest, prompt + path.completionIds.count)
                    }
                }
            }
        }
        try ContextCheck.require(stages, contextLength: longest)
        expectError(.badData, "need \(longest) tokens, the model has \(longest - 1)") {
            try ContextCheck.require(stages, contextLength: longest - 1)
        }
        let spare = try Material(["gba.resample.enabled=true"]).plan().stages.filter { $0.name == "gba" }
        expectError(.badData, "question adult-medicine-train-") { try ContextCheck.require(spare, contextLength: 20) }
        let examples = stages.filter { $0.name == "dsa" }
        expectError(.badData, "an example of adult-medicine in dsa", "shorten its reasoning") {
            try ContextCheck.require(examples, contextLength: 20)
        }
        // A user looks for a line, not for an id.
        let builder = try material.builder()
        for stages in [spare, examples] {
            expectError(.badData, "/train.jsonl:") {
                try ContextCheck.require(stages, contextLength: 20, lineOf: builder.line(of:))
            }
        }
    }
}
