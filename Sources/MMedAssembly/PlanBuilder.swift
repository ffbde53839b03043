import MMedAlgorithms
public import MMedConfig
import MMedCore
import MMedEngine
import MMedProtocol
import MMedScheduling

/// The three splits of a run's questions.
public struct RunData: Sendable {
    /// Learned from.
    public let train: Dataset
    /// For the paired judgement of GBA.
    public let validation: Dataset
    /// For the evaluations.
    public let test: Dataset

    /// One sentence for each specialty of a split's lines that the run does not have.
    public var leftOut: [String] {
        [train, validation, test].flatMap { split in
            split.leftOut.sorted { $0.key.text < $1.key.text }.map { name, count in
                "\(split.path): \(count) lines of \(name), which is not among the specialties of this run, are left out"
            }
        }
    }

    /// Loads and checks the splits that a configuration names; a patient may be in one of them only.
    public init(_ config: RunConfig) throws {
        train = try Dataset.load(path: config.data.train, specialties: config.specialties, foreign: .leaveOut)
        validation = try Dataset.load(path: config.data.validation, specialties: config.specialties, foreign: .leaveOut)
        test = try Dataset.load(path: config.data.test, specialties: config.specialties, foreign: .leaveOut)
        try Dataset.requireDisjointPatients([train, validation, test])
    }
}

/// Decides everything a run will do, before it starts: which question is asked when, by which prompt, at which rate.
struct PlanBuilder {
    let config: RunConfig
    let data: RunData
    let prompts: PromptBuilder
    let run: Name

    /// File and line of a record; ids are unique in a file, and the builder of a data set makes them so beyond it.
    func line(of id: String) -> String? {
        for split in [data.train, data.validation, data.test] {
            if let record = split.records.first(where: { $0.id == id }) { return "\(split.path):\(record.line)" }
        }
        return nil
    }

    func plan() throws -> RunPlan {
        var settings = SchedulingSettings()
        settings.slotsPerLease = config.leases.slotsPerLease
        settings.leaseMilliseconds = UInt64(config.leases.seconds * 1_000)
        settings.beatMilliseconds = UInt64(config.leases.beatSeconds * 1_000)
        settings.noWorkersMilliseconds = UInt64(config.leases.noWorkersSeconds * 1_000)
        settings.stallMilliseconds = UInt64(config.leases.stallSeconds * 1_000)
        settings.retries = config.gba.retries
        settings.gradientShards = config.learning.gradientShards
        settings.microbatchTokens = config.learning.microbatchTokens
        settings.maxLag = config.gba.maxLag
        settings.mode = config.gba.mode == .freeRunning ? .freeRunning : .fixedLag
        settings.maxStaleness = config.gba.maxStaleness
        settings.resampleRounds = config.gba.resample.enabled ? config.gba.resample.maximumRounds : 0
        settings.minimumValidSamples = config.gba.minimumValidSamples
        settings.spotCheck = config.security.spotCheck
        return RunPlan(
            run: run, seed: config.seed,
            adapters: config.specialties.map { AdapterDescription(name: $0, settings: config.adapter.settings) },
            advantages: config.advantages.advantageSettings, loss: config.advantages.lossSettings,
            stages: try stages(), settings: settings)
    }

    private func stages() throws -> [StagePlan] {
        var stages: [StagePlan] = []
        if config.eval.stages.contains(.base) { stages.append(try evaluation("eval-base", .base)) }
        if config.dsa.enabled {
            stages.append(try supervision())
            if config.eval.stages.contains(.dsa) { stages.append(try evaluation("eval-dsa", .specialty)) }
        }
        if config.gba.enabled {
            if config.eval.judgeQuestions > 0 { stages.append(try judgement("judge-before")) }
            stages.append(try reinforcement())
            if config.eval.judgeQuestions > 0 { stages.append(try judgement("judge-after")) }
            if config.eval.stages.contains(.gba) { stages.append(try evaluation("eval-gba", .specialty)) }
        }
        if config.dsa.enabled || config.gba.enabled {
            stages.append(StagePlan(name: "merge", kind: .merge, sampling: evalSampling, tracks: []))
            if config.eval.stages.contains(.merged) { stages.append(try evaluation("eval-merged", .merged)) }
        }
        return stages
    }

    // MARK: Evaluation

    private var evalSampling: SamplingSettings {
        SamplingSettings(temperature: config.eval.temperature, topK: 0, topP: 1, maxTokens: config.eval.maxTokens)
    }

    func evaluation(_ name: String, _ adapter: TrackAdapter) throws -> StagePlan {
        let tracks = try config.specialties.map { specialty in
            let records = data.test.records(of: specialty).prefix(config.eval.questionsPerSpecialty)
            return TrackPlan(
                specialty: specialty, adapter: adapter,
                steps: [
                    StepPlan(
                        questions: try records.map {
                            try evalQuestion($0, everyGuideline: config.eval.prompts == .all, paths: config.eval.paths)
                        })
                ])
        }
        return StagePlan(name: name, kind: .evaluate, sampling: evalSampling, tracks: tracks)
    }

    /// What is trained is what is judged: every guideline prompt with GBA's own sampling, and the plain prompt besides.
    private func judgement(_ name: String) throws -> StagePlan {
        let tracks = try config.specialties.map { specialty in
            let records = data.validation.records(of: specialty).prefix(config.eval.judgeQuestions)
            return TrackPlan(
                specialty: specialty, adapter: .specialty,
                steps: [
                    StepPlan(
                        questions: try records.map {
                            try evalQuestion($0, everyGuideline: true, paths: config.eval.judgePaths)
                        })
                ])
        }
        return StagePlan(name: name, kind: .evaluate, sampling: policySampling, tracks: tracks)
    }

    private func evalQuestion(_ record: QuestionRecord, everyGuideline: Bool, paths: Int) throws -> QuestionPlan {
        let guidelines: [Guideline] = everyGuideline ? config.prompt.guidelines : []
        let plain = try prompts.suffixIds(guideline: nil)
        return QuestionPlan(
            id: record.id, prefixIds: try prompts.prefixIds(question: record.question, options: record.options),
            suffixIds: [plain] + (try guidelines.map { try prompts.suffixIds(guideline: $0.text) }),
            promptNames: [RunReport.plainPrompt] + guidelines.map(\.name.text), plainSuffixIds: plain,
            pathsPerPrompt: paths,
            reward: RewardTask(
                answerIndex: record.answerIndex, options: record.options, formatBonus: config.gba.formatBonus,
                probeChoices: true))
    }

    // MARK: DSA

    private func supervision() throws -> StagePlan {
        let tracks = try config.specialties.map { specialty in
            TrackPlan(specialty: specialty, adapter: .specialty, steps: try supervisedSteps(specialty))
        }
        return StagePlan(
            name: "dsa", kind: .supervise,
            sampling: SamplingSettings(temperature: 1, topK: 0, topP: 1, maxTokens: config.eval.maxTokens),
            tracks: tracks)
    }

    // MARK: GBA

    private var policySampling: SamplingSettings {
        SamplingSettings(
            temperature: config.gba.sampling.temperature, topK: config.gba.sampling.topK,
            topP: config.gba.sampling.topP, maxTokens: config.gba.sampling.maxTokens)
    }

    private func reinforcement() throws -> StagePlan {
        let tracks = try config.specialties.map { specialty in
            TrackPlan(specialty: specialty, adapter: .specialty, steps: try policySteps(specialty))
        }
        return StagePlan(name: "gba", kind: .reinforce, sampling: policySampling, tracks: tracks)
    }

    private func policySteps(_ specialty: Name) throws -> [StepPlan] {
        let records = data.train.records(of: specialty)
        let perStep = config.gba.questionsPerStep
        guard perStep <= records.count else {
            throw MMedError(
                .badConfig, at: "gba.questionsPerStep",
                "\(perStep) questions a step, but \(data.train.path) has \(records.count) of \(specialty)",
                mend: "lower it, or add questions")
        }
        let wanted = config.gba.resample.enabled ? perStep * config.gba.resample.maximumRounds : 0
        let spares = min(wanted, records.count - perStep)
        let updates = config.advantages.updatesPerStep
        let schedule = learningRates(
            config.gba.learningRate, config.gba.schedule, updates: config.gba.steps * updates)
        var deck = QuestionDeck(count: records.count) { shuffled(records.count, "gba", specialty, round: $0) }
        return try (0..<config.gba.steps).map { step in
            let asked = try deck.next(perStep + spares).map { try policyQuestion(records[$0]) }
            return StepPlan(
                questions: Array(asked[..<perStep]), spares: Array(asked[perStep...]),
                learningRates: (0..<updates).map { schedule.rate(update: step * updates + $0) })
        }
    }

    private func policyQuestion(_ record: QuestionRecord) throws -> QuestionPlan {
        QuestionPlan(
            id: record.id, prefixIds: try prompts.prefixIds(question: record.question, options: record.options),
            suffixIds: try config.prompt.guidelines.map { try prompts.suffixIds(guideline: $0.text) },
            promptNames: config.prompt.guidelines.map(\.name.text),
            plainSuffixIds: try prompts.suffixIds(guideline: nil),
            pathsPerPrompt: config.gba.pathsPerGuideline,
            reward: RewardTask(
                answerIndex: record.answerIndex, options: record.options, formatBonus: config.gba.formatBonus,
                probeChoices: false))
    }

    // MARK: Shared

    func learningRates(_ peak: Double, _ schedule: ScheduleConfig, updates: Int) -> LearningRateSchedule {
        let decay: LearningRateSchedule.Decay =
            switch schedule.kind {
            case .constant: .constant
            case .linear: .linear
            case .cosine: .cosine
            }
        return LearningRateSchedule(
            peak: peak, warmUpUpdates: schedule.warmupSteps, totalUpdates: updates, decay: decay,
            floorFraction: schedule.finalFraction)
    }

    /// A Fisher-Yates shuffle whose draws are named by what is shuffled, the same on every machine.
    func shuffled(_ count: Int, _ what: String, _ specialty: Name, round: Int) -> [Int] {
        let random = CounterRandom(key: stableHash(Array("\(config.seed)/\(what)/\(specialty)/\(round)".utf8)))
        var order = Array(0..<count)
        for last in stride(from: count - 1, to: 0, by: -1) {
            order.swapAt(last, Int(random.uniform(UInt64(last)) * Double(last + 1)))
        }
        return order
    }
}
