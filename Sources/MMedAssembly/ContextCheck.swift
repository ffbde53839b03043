import MMedCore
import MMedProtocol
import MMedScheduling

/// Refuses what would not fit into the model's context, before anything is computed.
enum ContextCheck {
    /// Throws `badData` naming the first question whose prompt and completion are longer than the context, by its line where
    /// `lineOf` knows the record of this id.
    static func require(
        _ stages: [StagePlan], contextLength: Int, lineOf: (_ id: String) -> String? = { _ in nil }
    ) throws {
        for stage in stages {
            for track in stage.tracks {
                for step in track.steps {
                    for question in step.questions + step.spares {
                        let suffix = (question.suffixIds + [question.plainSuffixIds]).map(\.count).max() ?? 0
                        let total = question.prefixIds.count + suffix + stage.sampling.maxTokens
                        guard total > contextLength else { continue }
                        throw refuse(
                            total, contextLength, lineOf(question.id), "question \(question.id)",
                            "lower maxTokens")
                    }
                    for (index, example) in step.examples.enumerated() {
                        let id = step.exampleIds.indices.contains(index) ? step.exampleIds[index] : nil
                        for path in example.tree.paths {
                            let prompt = example.tree.prefixIds.count + example.tree.suffixIds[path.suffix].count
                            let total = prompt + path.completionIds.count
                            guard total > contextLength else { continue }
                            throw refuse(
                                total, contextLength, id.flatMap(lineOf),
                                "an example of \(track.specialty) in \(stage.name)", "shorten its reasoning")
                        }
                    }
                }
            }
        }
    }

    private static func refuse(
        _ tokens: Int, _ contextLength: Int, _ line: String?, _ what: String, _ orMend: String
    ) -> MMedError {
        MMedError(
            .badData, at: line.map { "\($0): \(what)" } ?? what,
            "its prompt and completion need \(tokens) tokens, the model has \(contextLength)",
            mend: "shorten the question or \(orMend)")
    }
}
