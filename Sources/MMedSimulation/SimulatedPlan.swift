import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling

/// Small plans with every kind of stage. A variant is a combination of the settings that change the course of a run.
struct SimulatedPlan {
    let variant: Int
    /// No sample may be lost to faults, so that the result can be compared with a quiet run's.
    let isExact: Bool
    static let specialties = ["adult", "brain", "onco"].compactMap { Name($0) }
    static let model = Hashing.digest(of: [1])

    var course: Course { Course.all[variant] }

    init(_ chance: inout Chance) {
        variant = chance.below(Course.all.count)
        isExact = chance.below(4) != 0
    }

    /// One update in so many is refused as not finite; its content decides, so that every run refuses the same.
    var refusesOneIn: UInt64 { course.refusesOneIn }
    /// Timing chooses versions, so that no other run has the same bytes.
    var isFree: Bool { course.mode == .freeRunning }
    /// Fraction that a second worker computes again.
    var spotCheck: Double { course.spotCheck }

    private var settings: SchedulingSettings {
        var settings = SchedulingSettings()
        settings.slotsPerLease = 4
        settings.leaseMilliseconds = 8_000
        settings.beatMilliseconds = 250
        settings.silentBeats = 24
        settings.noWorkersMilliseconds = 40_000
        settings.stallMilliseconds = 4_000
        settings.retries = isExact ? 100_000 : 3
        settings.gradientShards = 4
        settings.microbatchTokens = 48
        settings.maxLag = course.lag
        settings.resampleRounds = course.resample
        settings.mode = course.mode
        settings.maxStaleness = course.staleness
        settings.spotCheck = course.spotCheck
        settings.spotSalt = 0x5A17
        return settings
    }

    var plan: RunPlan? {
        guard let run = Name("simulated") else { return nil }
        return RunPlan(
            run: run, seed: 11,
            adapters: SimulatedPlan.specialties.map {
                AdapterDescription(
                    name: $0, settings: AdapterSettings(rank: 2, alpha: 4, rankStabilised: false, targets: [.q]))
            },
            advantages: AdvantageSettings(baseline: .auto), loss: course.lossOfAll,
            stages: [
                evaluate("eval-base", .base, steps: 2), supervise(steps: 3), evaluate("eval-dsa", .specialty, steps: 1),
                reinforce(steps: 6), evaluate("eval-gba", .specialty, steps: 1),
                StagePlan(name: "merge", kind: .merge, sampling: sampling(0), tracks: []),
                evaluate("eval-merged", .merged, steps: 1),
            ], settings: settings)
    }

    private func sampling(_ temperature: Double) -> SamplingSettings {
        SamplingSettings(temperature: temperature, topK: 0, topP: 1, maxTokens: 6)
    }

    private func question(_ id: String, paths: Int, isTied: Bool = false, probe: Bool = false) -> QuestionPlan {
        let key = stableHash(Array(id.utf8))
        return QuestionPlan(
            id: id, prefixIds: (0..<6).map { Int32((key >> UInt64($0 * 7)) % 500) }, suffixIds: [[0, 7], [1, 7]],
            promptNames: ["p0", "p1"], plainSuffixIds: [9], pathsPerPrompt: paths,
            reward: RewardTask(
                answerIndex: 1, options: [isTied ? "tied" : "yes", "no", "maybe"], formatBonus: 0.1, probeChoices: probe
            ))
    }

    private func evaluate(_ name: String, _ adapter: TrackAdapter, steps: Int) -> StagePlan {
        StagePlan(
            name: name, kind: .evaluate, sampling: sampling(0),
            tracks: SimulatedPlan.specialties.map { specialty in
                TrackPlan(
                    specialty: specialty, adapter: adapter,
                    steps: (0..<steps).map { step in
                        StepPlan(
                            questions: (0..<6).map {
                                question("\(name)-\(specialty)-\(step)-\($0)", paths: 1, probe: true)
                            })
                    })
            })
    }

    private func supervise(steps: Int) -> StagePlan {
        StagePlan(
            name: "dsa", kind: .supervise, sampling: sampling(1),
            tracks: SimulatedPlan.specialties.enumerated().map { index, specialty in
                TrackPlan(
                    specialty: specialty, adapter: .specialty,
                    steps: (0..<steps).map { step in
                        // The middle step of the second track is empty: it must not stop the run.
                        let count = index == 1 && step == 1 ? 0 : 6 + step
                        return StepPlan(
                            examples: (0..<count).map { example(step * 10 + $0, tokens: 3 + $0 * 2) },
                            exampleIds: (0..<count).map { "\(specialty)-x\(step)-\($0)" },
                            learningRates: (0..<course.updates).map { 1e-3 / Double($0 + step + 1) })
                    })
            })
    }

    private func example(_ number: Int, tokens: Int) -> LearningTree {
        LearningTree(
            tree: PromptTree(
                prefixIds: [Int32(number), 1, 2], suffixIds: [[3]],
                paths: [TreePath(suffix: 0, completionIds: (0..<tokens).map(Int32.init))]),
            targets: [PathTarget(weight: 0.1, advantage: 1, rollLogprobs: [], proxLogprobs: [], counts: true)])
    }

    private func reinforce(steps: Int) -> StagePlan {
        StagePlan(
            name: "gba", kind: .reinforce, sampling: sampling(1),
            tracks: SimulatedPlan.specialties.enumerated().map { index, specialty in
                TrackPlan(
                    specialty: specialty, adapter: .specialty,
                    steps: (0..<(index == 2 ? 4 : steps)).map { step in
                        StepPlan(
                            questions: (0..<6).map { number in
                                // Step 1 of the first track is all tied: without resampling it teaches nothing.
                                question(
                                    "\(specialty)-g\(step)-\(number)", paths: 4,
                                    isTied: (index == 0 && step == 1) || (number == 2 && step == 0))
                            },
                            spares: (0..<2).map {
                                question("\(specialty)-s\(step)-\($0)", paths: 4, isTied: $0 == 0)
                            }, learningRates: (0..<course.updates).map { 1e-4 / Double($0 + 1) })
                    })
            })
    }
}
