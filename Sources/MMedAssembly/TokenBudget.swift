public import MMedScheduling
import MMedCore
import MMedProtocol

/// What a plan will compute, told before it starts. Sampled lengths are not known yet, so completions count at half their budget.
public struct TokenBudget: Sendable {
    /// One stage's tokens.
    public struct Stage: Sendable {
        /// The stage's name.
        public let name: String
        /// Prompt tokens to prefill, each shared token once.
        public let promptTokens: Int
        /// Tokens to draw, at half the budget of each path.
        public let drawnTokens: Int
        /// Tokens that learners compute.
        public let learnedTokens: Int
        /// Paths or supervised targets.
        public let paths: Int
    }

    /// In the order of the plan.
    public let stages: [Stage]

    /// Counts a plan's tokens.
    public init(_ plan: RunPlan) {
        stages = plan.stages.map { stage in
            var prompt = 0
            var drawn = 0
            var learned = 0
            var paths = 0
            for track in stage.tracks {
                for step in track.steps {
                    for tree in step.examples {
                        learned += tree.tree.tokenCount
                        paths += tree.targets.count
                    }
                    for question in step.questions {
                        let shared = question.prefixIds.count + question.suffixIds.reduce(0) { $0 + $1.count }
                        let count = question.suffixIds.count * question.pathsPerPrompt
                        let completion = count * max(1, stage.sampling.maxTokens / 2)
                        prompt += shared
                        drawn += completion
                        paths += count
                        if stage.kind == .reinforce { learned += shared + completion }
                    }
                }
            }
            return Stage(
                name: stage.name, promptTokens: prompt, drawnTokens: drawn, learnedTokens: learned, paths: paths)
        }
    }

    /// Seconds predicted for a stage from speeds in tokens a second: figures of two quiet Zen 4 cores and SmolLM2-135M.
    public static func seconds(_ stage: Stage, prefill: Double = 450, draw: Double = 260, learn: Double = 200) -> Double
    {
        Double(stage.promptTokens) / prefill + Double(stage.drawnTokens) / draw + Double(stage.learnedTokens) / learn
    }
}
