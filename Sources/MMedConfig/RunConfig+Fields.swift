import MMedCore

extension RunConfig: ConfigSection {
    static var empty: RunConfig { RunConfig() }
    static var fields: [ConfigField<RunConfig>] {
        [
            ConfigField("seed", \.seed, .seed, "Seed of every random stream of the run."),
            ConfigField("data", \.data, .section, required: true, ""),
            ConfigField(
                "specialties", \.specialties, .list(of: .name, 1...64, distinct: true), required: true,
                "One adapter each; they are the `specialty` of the data."),
            ConfigField("prompt", \.prompt, .section, ""),
            ConfigField("adapter", \.adapter, .section, ""),
            ConfigField("optimizer", \.optimizer, .section, ""),
            ConfigField("dsa", \.dsa, .section, ""),
            ConfigField("gba", \.gba, .section, ""),
            ConfigField("advantages", \.advantages, .section, ""),
            ConfigField("merge", \.merge, .section, ""),
            ConfigField("eval", \.eval, .section, ""),
            ConfigField("learning", \.learning, .section, ""),
            ConfigField("leases", \.leases, .section, ""),
            ConfigField("storage", \.storage, .section, ""),
            ConfigField("security", \.security, .section, ""),
        ]
    }

    /// Paths of all keys, for the mend of a key in the wrong place.
    static let everyKey = RunConfig().descriptions().map(\.path)
}

extension DataConfig: ConfigSection {
    static var empty: DataConfig { DataConfig() }
    static var fields: [ConfigField<DataConfig>] {
        let path = ConfigCodec.text(1...4096, "a path")
        return [
            ConfigField(
                "train", \.train, path, required: true,
                "JSON lines to train on; this and the next paths are relative to the configuration's folder."),
            ConfigField(
                "validation", \.validation, path, required: true, "JSON lines for the paired judgement of GBA."),
            ConfigField("test", \.test, path, required: true, "JSON lines that only eval reads."),
            ConfigField(
                "reference", \.reference, .text(0...4096, "a path"),
                "JSON with the figures of the reference methods; empty for none."),
        ]
    }
}

extension Guideline: ConfigSection {
    static var empty: Guideline {
        guard let name = Name("unnamed") else { preconditionFailure("a plain word is a name") }
        return Guideline(name: name, text: "")
    }
    static var fields: [ConfigField<Guideline>] {
        [
            ConfigField("name", \.name, .name, required: true, "The name in data, logs and tables."),
            ConfigField("text", \.text, .text(1...4000), required: true, "Follows the question after an empty line."),
        ]
    }
}

extension PromptConfig: ConfigSection {
    static var empty: PromptConfig { PromptConfig() }
    static var fields: [ConfigField<PromptConfig>] {
        [
            ConfigField(
                "system", \.system, .optional(.text(0...8000), none: "the model's default"), "The system text."),
            ConfigField(
                "chatTemplate", \.chatTemplate, .text(1...64),
                "Family of the chat markup, for example `chatml`; `auto` takes the model's own."),
            ConfigField(
                "answerInstruction", \.answerInstruction, .text(1...2000),
                "Ends the question, before the guideline; it must not end in white space."),
            ConfigField(
                "optionStyle", \.optionStyle, .choice,
                "Options as `A. text` (letterFirst) or as `text (A)`, which small models bind better."),
            ConfigField(
                "guidelines", \.guidelines, .list(of: .section, 0...32),
                "The guideline prompts, in the order of their slots."),
        ]
    }
}

extension AdapterConfig: ConfigSection {
    static var empty: AdapterConfig { AdapterConfig() }
    static var fields: [ConfigField<AdapterConfig>] {
        [
            ConfigField("rank", \.rank, .integer(1...1024), "Inner dimension r of LoRA."),
            ConfigField("alpha", \.alpha, .number(0, 65536, above: true), "Numerator of the scale alpha / r."),
            ConfigField("rankStabilised", \.rankStabilised, .flag, "Scale alpha / sqrt(r) instead (rsLoRA)."),
            ConfigField(
                "targets", \.targets, .list(of: .choice, 1...7, distinct: true), "The projections that are adapted."),
        ]
    }
}

extension OptimizerConfig: ConfigSection {
    static var empty: OptimizerConfig { OptimizerConfig() }
    static var fields: [ConfigField<OptimizerConfig>] {
        [
            ConfigField("beta1", \.beta1, .number(0, 1, below: true), "Decay of AdamW's first moment."),
            ConfigField("beta2", \.beta2, .number(0, 1, below: true), "Decay of AdamW's second moment."),
            ConfigField("epsilon", \.epsilon, .number(0, 1, above: true), "Added to the root of the second moment."),
            ConfigField("weightDecay", \.weightDecay, .number(0, 10), "Decoupled weight decay."),
            ConfigField(
                "gradientClipNorm", \.gradientClipNorm, .number(0, 1e6, above: true),
                "Global norm above which a gradient is scaled down."),
        ]
    }
}

extension LearningConfig: ConfigSection {
    static var empty: LearningConfig { LearningConfig() }
    static var fields: [ConfigField<LearningConfig>] {
        [
            ConfigField(
                "gradientShards", \.gradientShards, .integer(1...256),
                "Parts of each update; learners above this number idle. The adapter's bytes depend on it."),
            ConfigField(
                "microbatchTokens", \.microbatchTokens, .integer(16...1_048_576),
                "Tokens of one microbatch at most; a learner's memory grows with it."),
        ]
    }
}

extension StorageConfig: ConfigSection {
    static var empty: StorageConfig { StorageConfig() }
    static var fields: [ConfigField<StorageConfig>] {
        [
            ConfigField(
                "lowWaterMiB", \.lowWaterMiB, .integer(0...1_048_576),
                "With less free room on the run folder's disk (and a step's gradients beside it) a run does not begin; with less, "
                    + "one under way finishes what is leased, commits and ends with 75; 0: never.")
        ]
    }
}

extension SecurityConfig: ConfigSection {
    static var empty: SecurityConfig { SecurityConfig() }
    static var fields: [ConfigField<SecurityConfig>] {
        [
            ConfigField(
                "spotCheck", \.spotCheck, .number(0, 1),
                "Fraction of paths and gradient shards that another worker computes again; 0 checks nothing. The adapter's "
                    + "bytes do not depend on it.")
        ]
    }
}

extension LeasesConfig: ConfigSection {
    static var empty: LeasesConfig { LeasesConfig() }
    static var fields: [ConfigField<LeasesConfig>] {
        [
            ConfigField("slotsPerLease", \.slotsPerLease, .integer(1...1024), "Paths of one rollout lease."),
            ConfigField("seconds", \.seconds, .number(1, 86_400), "Life of a lease that no beat renews."),
            ConfigField("beatSeconds", \.beatSeconds, .number(0.05, 3600), "Time between a worker's signs of life."),
            ConfigField(
                "noWorkersSeconds", \.noWorkersSeconds, .number(1, 604_800),
                "A run without a worker of a role that it needs ends with exit code 69 after this time."),
            ConfigField(
                "stallSeconds", \.stallSeconds, .number(1, 86_400),
                "When nothing moves for this time the log says who waits on whom."),
        ]
    }
}
