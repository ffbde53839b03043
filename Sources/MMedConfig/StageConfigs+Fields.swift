extension ScheduleConfig: ConfigSection {
    static var empty: ScheduleConfig { ScheduleConfig() }
    static var fields: [ConfigField<ScheduleConfig>] {
        [
            ConfigField("kind", \.kind, .choice, "Course of the learning rate after the warm-up."),
            ConfigField(
                "warmupSteps", \.warmupSteps, .integer(0...1_000_000), "Updates over which the rate rises to its peak."),
            ConfigField("finalFraction", \.finalFraction, .number(0, 1), "Last rate as a fraction of the peak."),
        ]
    }
}

extension DSAConfig: ConfigSection {
    static var empty: DSAConfig { DSAConfig() }
    static var fields: [ConfigField<DSAConfig>] {
        [
            ConfigField("enabled", \.enabled, .flag, "False leaves supervision out."),
            ConfigField(
                "examplesPerSpecialty", \.examplesPerSpecialty, .integer(1...1_000_000),
                "Training examples of each specialty; fewer where the file holds fewer."),
            ConfigField("epochs", \.epochs, .integer(1...1000), "Passes over them."),
            ConfigField(
                "examplesPerStep", \.examplesPerStep, .integer(1...4096),
                "Examples of one update; each trains one guideline prompt and the plain prompt."),
            ConfigField(
                "citeLetter", \.citeLetter, .flag,
                "Write the letter beside the option that a trace ends on, as `prompt.optionStyle` has it."),
            ConfigField("learningRate", \.learningRate, .number(0, 1, above: true), "Peak learning rate."),
            ConfigField("schedule", \.schedule, .section, ""),
        ]
    }
}

extension SamplingConfig: ConfigSection {
    static var empty: SamplingConfig { SamplingConfig() }
    static var fields: [ConfigField<SamplingConfig>] {
        [
            ConfigField("temperature", \.temperature, .number(0, 10, above: true), "Temperature of the policy."),
            ConfigField("topK", \.topK, .integer(0...1_000_000), "Most likely tokens kept; 0 keeps all."),
            ConfigField("topP", \.topP, .number(0, 1, above: true), "Probability mass kept; 1 keeps all."),
            ConfigField("maxTokens", \.maxTokens, .integer(1...32_768), "Tokens of a path at most."),
        ]
    }
}

extension ResampleConfig: ConfigSection {
    static var empty: ResampleConfig { ResampleConfig() }
    static var fields: [ConfigField<ResampleConfig>] {
        [
            ConfigField(
                "enabled", \.enabled, .flag, "Replace questions whose answers are all right or all wrong."),
            ConfigField(
                "maximumRounds", \.maximumRounds, .integer(1...64), "Rounds of replacement in one step at most."),
        ]
    }
}

extension GBAConfig: ConfigSection {
    static var empty: GBAConfig { GBAConfig() }
    static var fields: [ConfigField<GBAConfig>] {
        [
            ConfigField("enabled", \.enabled, .flag, "False leaves reinforcement out."),
            ConfigField("steps", \.steps, .integer(1...1_000_000), "Steps of each specialty."),
            ConfigField("questionsPerStep", \.questionsPerStep, .integer(1...4096), "Questions of one step."),
            ConfigField(
                "pathsPerGuideline", \.pathsPerGuideline, .integer(1...1024),
                "Paths below each guideline prompt of a question."),
            ConfigField("learningRate", \.learningRate, .number(0, 1, above: true), "Peak learning rate."),
            ConfigField("schedule", \.schedule, .section, ""),
            ConfigField("sampling", \.sampling, .section, ""),
            ConfigField(
                "mode", \.mode, .choice,
                "Who chooses the version that a path is sampled from: `fixedLag` the configuration (step s samples from the "
                    + "version after max(0, s - maxLag) steps), `freeRunning` timing (a lease asks for the newest version)."
            ),
            ConfigField(
                "maxLag", \.maxLag, .integer(0...1024),
                "Steps by which sampling may run ahead of learning; 0 is exactly on policy, and mode `freeRunning` needs 1."
            ),
            ConfigField(
                "maxStaleness", \.maxStaleness,
                .optional(.integer(1...1_048_576), none: "as many as `maxLag` steps make, so that nothing is too old"),
                "Versions that a path may be behind the adapter it trains, for mode `freeRunning` alone; an older one is "
                    + "dropped as `stale` and its slot asked again."),
            ConfigField(
                "formatBonus", \.formatBonus, .number(0, 0.2), "Paid for a well-formed answer with a known letter."),
            ConfigField(
                "retries", \.retries, .integer(0...100), "Further attempts at a slot that failed, with the same seed."),
            ConfigField(
                "minimumValidSamples", \.minimumValidSamples, .integer(2...1_000_000),
                "Valid paths a question needs to be trained on."),
            ConfigField("resample", \.resample, .section, ""),
        ]
    }
}

extension MergeConfig: ConfigSection {
    static var empty: MergeConfig { MergeConfig() }
    static var fields: [ConfigField<MergeConfig>] {
        [
            ConfigField("method", \.method, .choice, "How task vectors are combined."),
            ConfigField(
                "density", \.density, .number(0, 1, above: true), "Fraction of each task vector that trimming keeps."),
            ConfigField("lambdaSFT", \.lambdaSFT, .number(0, 100), "Factor on the supervised part."),
            ConfigField("lambdaRL", \.lambdaRL, .number(0, 100), "Factor on the reinforced part."),
            ConfigField(
                "rank", \.rank, .integer(1...4096), "Rank of the merged adapter; `linear` keeps the sum of all ranks."),
        ]
    }
}

extension EvalConfig: ConfigSection {
    static var empty: EvalConfig { EvalConfig() }
    static var fields: [ConfigField<EvalConfig>] {
        [
            ConfigField("stages", \.stages, .list(of: .choice, 0...4, distinct: true), "The models that are measured."),
            ConfigField(
                "questionsPerSpecialty", \.questionsPerSpecialty, .integer(1...1_000_000),
                "Test questions of each specialty; fewer where the file holds fewer."),
            ConfigField(
                "prompts", \.prompts, .choice,
                "Only the plain prompt, or every guideline prompt too; the judgement of GBA always asks all."),
            ConfigField("paths", \.paths, .integer(1...1024), "Paths of each prompt."),
            ConfigField("temperature", \.temperature, .number(0, 10), "0 is greedy."),
            ConfigField("maxTokens", \.maxTokens, .integer(1...32_768), "Tokens of an answer at most."),
            ConfigField(
                "judgeQuestions", \.judgeQuestions, .integer(0...1_000_000),
                "Validation questions of each specialty asked before and after GBA, under every guideline prompt and the plain "
                    + "one, with `gba.sampling`; 0 leaves the judgement out."),
            ConfigField(
                "judgePaths", \.judgePaths, .integer(1...1024),
                "Paths of each of those prompts in the judgement."),
        ]
    }
}
