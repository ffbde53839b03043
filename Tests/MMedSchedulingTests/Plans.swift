import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling

/// Small plans with every kind of stage.
enum Plans {
    static let specialties = ["adult", "brain", "onco"].map { Name($0)! }

    static func initialState(_ plan: RunPlan) -> RunState {
        RunState(
            heads: plan.adapters.map { adapter in
                var bytes = Bytes()
                bytes.add(adapter.name.text)
                return AdapterHead(
                    reference: AdapterReference(name: adapter.name, version: 0, digest: bytes.digest),
                    momentsDigest: nil, optimizerSteps: 0)
            })
    }

    static func question(_ id: String, prompts: Int, paths: Int, isTied: Bool = false, probe: Bool = false)
        -> QuestionPlan
    {
        let key = stableHash(Array(id.utf8))
        return QuestionPlan(
            id: id, prefixIds: (0..<6).map { Int32((key >> UInt64($0 * 7)) % 500) },
            suffixIds: (0..<prompts).map { [Int32($0), 7] }, promptNames: (0..<prompts).map { "p\($0)" },
            plainSuffixIds: [9], pathsPerPrompt: paths,
            reward: RewardTask(
                answerIndex: 1, options: [isTied ? "tied" : "yes", "no", "maybe"], formatBonus: 0.1,
                probeChoices: probe))
    }

    static func example(_ number: Int, tokens: Int) -> LearningTree {
        LearningTree(
            tree: PromptTree(
                prefixIds: [Int32(number), 1, 2], suffixIds: [[3], [4]],
                paths: [
                    TreePath(suffix: 0, completionIds: (0..<tokens).map(Int32.init)),
                    TreePath(suffix: 1, completionIds: [5, 6]),
                ]),
            targets: (0..<2).map { _ in
                PathTarget(weight: 0.1, advantage: 1, rollLogprobs: [], proxLogprobs: [], counts: true)
            })
    }

    static func evaluate(_ name: String, _ adapter: TrackAdapter, steps: Int = 2) -> StagePlan {
        StagePlan(
            name: name, kind: .evaluate, sampling: SamplingSettings(temperature: 0, topK: 0, topP: 1, maxTokens: 6),
            tracks: specialties.map { specialty in
                TrackPlan(
                    specialty: specialty, adapter: adapter,
                    steps: (0..<steps).map { step in
                        StepPlan(
                            questions: (0..<3).map {
                                question("\(specialty)-e\(step)-\($0)", prompts: 2, paths: 1, probe: true)
                            })
                    })
            })
    }

    static func supervise(steps: Int = 3, updates: Int) -> StagePlan {
        StagePlan(
            name: "dsa", kind: .supervise, sampling: SamplingSettings(temperature: 1, topK: 0, topP: 1, maxTokens: 6),
            tracks: specialties.enumerated().map { index, specialty in
                TrackPlan(
                    specialty: specialty, adapter: .specialty,
                    steps: (0..<steps).map { step in
                        // The middle step of the second track is empty: it must not stop the run.
                        let count = index == 1 && step == 1 ? 0 : 5 + step
                        return StepPlan(
                            examples: (0..<count).map { example(step * 10 + $0, tokens: 3 + $0 * 4) },
                            learningRates: (0..<updates).map { 1e-3 / Double($0 + step + 1) })
                    })
            })
    }

    static func reinforce(steps: Int = 4, updates: Int, spares: Int = 2) -> StagePlan {
        StagePlan(
            name: "gba", kind: .reinforce, sampling: SamplingSettings(temperature: 1, topK: 0, topP: 1, maxTokens: 6),
            tracks: specialties.enumerated().map { index, specialty in
                TrackPlan(
                    specialty: specialty, adapter: .specialty,
                    steps: (0..<(index == 2 ? 2 : steps)).map { step in
                        StepPlan(
                            questions: (0..<3).map { number in
                                // Step 1 of the first track is all tied: without resampling it teaches nothing.
                                question(
                                    "\(specialty)-g\(step)-\(number)", prompts: 2, paths: 2,
                                    isTied: (index == 0 && step == 1) || (number == 2 && step == 0))
                            },
                            spares: (0..<spares).map {
                                question("\(specialty)-s\(step)-\($0)", prompts: 2, paths: 2, isTied: $0 == 0)
                            }, learningRates: (0..<updates).map { 1e-4 / Double($0 + 1) })
                    })
            })
    }

    static func whole(lag: Int, updates: Int, loss: LossSettings? = nil, resample: Int = 0) -> RunPlan {
        var settings = SchedulingSettings()
        settings.maxLag = lag
        settings.resampleRounds = resample
        settings.slotsPerLease = 5
        settings.microbatchTokens = 24
        // Faults of the cluster must not drop a sample: what is compared is the result of the same samples.
        settings.retries = 10_000
        var loss = loss ?? LossSettings()
        loss.updatesPerStep = updates
        let merge = StagePlan(
            name: "merge", kind: .merge, sampling: SamplingSettings(temperature: 0, topK: 0, topP: 1, maxTokens: 1),
            tracks: [])
        return RunPlan(
            run: Name("test")!, seed: 11,
            adapters: specialties.map {
                AdapterDescription(
                    name: $0, settings: AdapterSettings(rank: 2, alpha: 4, rankStabilised: false, targets: [.q]))
            },
            advantages: AdvantageSettings(baseline: .auto), loss: loss,
            stages: [
                evaluate("eval-base", .base), supervise(updates: updates), evaluate("eval-dsa", .specialty),
                reinforce(updates: updates), evaluate("eval-gba", .specialty, steps: 1), merge,
                evaluate("eval-merged", .merged),
            ], settings: settings)
    }

    /// The same where timing chooses versions.
    static func free(
        lag: Int, updates: Int, staleness: Int?, loss: LossSettings? = nil, resample: Int = 0
    ) -> RunPlan {
        var plan = whole(lag: lag, updates: updates, loss: loss, resample: resample)
        plan.settings.mode = .freeRunning
        plan.settings.maxStaleness = staleness
        return plan
    }

    static func only(_ stages: [StagePlan], _ change: (inout SchedulingSettings) -> Void = { _ in }) -> RunPlan {
        var plan = whole(lag: 0, updates: 1)
        plan.stages = stages
        plan.settings = SchedulingSettings()
        change(&plan.settings)
        return plan
    }
}
