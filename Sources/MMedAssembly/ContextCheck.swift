import MMedCore
import MMedProtocol
import MMedScheduling

/// Refuses what would not fit into the model's context, before anything is computed.
enum ContextCheck {
    /// Throws `badData` naming the first question whose prompt and completion are longer than the context.
    static func require(_ stages: [StagePlan], contextLength: Int) throws {
        for stage in stages {
            for track in stage.tracks {
                for step in track.steps {
                    for question in step.questions + step.spares {
                        let suffix = (question.suffixIds + [question.plainSuffixIds]).map(\.count).max() ?? 0
                        let total = question.prefixIds.count + suffix + stage.sampling.maxTokens
                        try require(total, contextLength, "question \(question.id)", "lower maxTokens")
                    }
                    for example in step.examples {
                        for path in example.tree.paths {
                            let prompt = example.tree.prefixIds.count + example.tree.suffixIds[path.suffix].count
                            let place = "an example of \(track.specialty) in \(stage.name)"
                            try require(
                                prompt + path.completionIds.count, contextLength, place, "shorten its reasoning")
                        }
                    }
                }
            }
        }
    }

    private static func require(_ tokens: Int, _ contextLength: Int, _ place: String, _ orMend: String) throws {
        guard tokens <= contextLength else {
            throw MMedError(
                .badData, at: place, "its prompt and completion need \(tokens) tokens, the model has \(contextLength)",
                mend: "shorten the question or \(orMend)")
        }
    }
}
