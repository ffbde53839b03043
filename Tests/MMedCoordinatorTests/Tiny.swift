import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling

@testable import MMedCoordinator

/// The smallest plans.
enum Tiny {
    static let specialties = ["adult", "brain"].map { Name($0)! }
    static let model = FakeWork.digest(of: [1])

    static func hello(
        _ role: WorkerRole, _ name: String, instance: UInt64 = 1, model: Digest = Tiny.model, adapters: [Name] = [],
        major: UInt8 = WireVersion.major
    ) -> Hello {
        Hello(
            major: major, role: role, name: Name(name)!, instance: instance, modelDigest: model, threads: 1,
            adapters: adapters, host: "here", processID: 1)
    }

    static func question(_ id: String, prompts: Int, paths: Int) -> QuestionPlan {
        QuestionPlan(
            id: id, prefixIds: [1, 2], suffixIds: (0..<prompts).map { [Int32($0)] },
            promptNames: (0..<prompts).map { "p\($0)" }, plainSuffixIds: [9], pathsPerPrompt: paths,
            reward: RewardTask(answerIndex: 0, options: ["a", "b"], formatBonus: 0, probeChoices: false))
    }

    static func stage(_ name: String, _ kind: StageKind, _ adapter: TrackAdapter, _ steps: Int) -> StagePlan {
        StagePlan(
            name: name, kind: kind, sampling: SamplingSettings(temperature: 1, topK: 0, topP: 1, maxTokens: 4),
            tracks: kind == .merge
                ? []
                : specialties.map { specialty in
                    TrackPlan(
                        specialty: specialty, adapter: adapter,
                        steps: (0..<steps).map { step(kind, "\(name)-\(specialty)-\($0)") })
                })
    }

    private static func step(_ kind: StageKind, _ id: String) -> StepPlan {
        switch kind {
        case .evaluate: StepPlan(questions: (0..<2).map { question("\(id)-\($0)", prompts: 1, paths: 1) })
        case .reinforce:
            StepPlan(
                questions: (0..<2).map { question("\(id)-\($0)", prompts: 2, paths: 2) }, learningRates: [1e-3])
        case .supervise: StepPlan(examples: (0..<4).map(example), learningRates: [1e-3])
        case .merge: StepPlan()
        }
    }

    private static func example(_ number: Int) -> LearningTree {
        LearningTree(
            tree: PromptTree(
                prefixIds: [Int32(number)], suffixIds: [[3]], paths: [TreePath(suffix: 0, completionIds: [4, 5, 6])]),
            targets: [PathTarget(weight: 0.1, advantage: 1, rollLogprobs: [], proxLogprobs: [], counts: true)])
    }

    static func plan(_ stages: [StagePlan], _ change: (inout SchedulingSettings) -> Void = { _ in }) -> RunPlan {
        var settings = SchedulingSettings()
        settings.slotsPerLease = 3
        settings.microbatchTokens = 8
        change(&settings)
        return RunPlan(
            run: Name("tiny")!, seed: 5,
            adapters: specialties.map {
                AdapterDescription(
                    name: $0, settings: AdapterSettings(rank: 2, alpha: 4, rankStabilised: false, targets: [.q]))
            }, advantages: AdvantageSettings(), loss: LossSettings(), stages: stages, settings: settings)
    }

    static let whole = [
        stage("eval-base", .evaluate, .base, 1), stage("dsa", .supervise, .specialty, 2),
        stage("gba", .reinforce, .specialty, 3), stage("eval-gba", .evaluate, .specialty, 1),
        stage("merge", .merge, .merged, 0), stage("eval-merged", .evaluate, .merged, 1),
    ]

    static func state(_ plan: RunPlan, _ store: FakeStore) -> RunState {
        RunState(
            heads: plan.adapters.map { adapter in
                AdapterHead(
                    reference: AdapterReference(
                        name: adapter.name, version: 0, digest: store.put(Array(adapter.name.text.utf8))),
                    momentsDigest: nil, optimizerSteps: 0)
            })
    }
}

/// A coordinator at work, its wire and what it plugs into.
struct Bench: Sendable {
    let router = FakeRouter()
    let store: FakeStore
    let journal: FakeJournal
    let telemetry = FakeTelemetry()
    let optimizer: FakeOptimizer
    let coordinator: Coordinator
    let running: Task<Outcome, any Error>

    init(
        _ stages: [StagePlan], failsFrom: Int = .max, journalFailsFrom: Int = .max, updateFailure: (any Error)? = nil,
        _ change: (inout SchedulingSettings) -> Void = { _ in }
    ) {
        store = FakeStore(failsFrom: failsFrom)
        journal = FakeJournal(failsFrom: journalFailsFrom)
        optimizer = FakeOptimizer(store: store, failure: updateFailure)
        let plan = Tiny.plan(stages, change)
        coordinator = Coordinator(
            plan: plan, state: Tiny.state(plan, store), modelDigest: Tiny.model, endpoint: router,
            ports: CoordinatorPorts(
                optimizer: optimizer, reward: FakeJudge(), store: store, journal: journal,
                merge: FakeMerge(store: store), telemetry: telemetry))
        running = Task { [coordinator] in try await coordinator.run() }
    }

    /// Answers a rollout lease in full.
    func answer(_ lease: RolloutLease, on line: Line) {
        for question in lease.questions {
            let paths = question.slots.map { FakeWork.path($0, question, seed: 5) }
            line.say(.trajectories(lease.lease, paths))
        }
    }

    func error() async -> MMedError? {
        do {
            _ = try await running.value
            return nil
        } catch { return error as? MMedError }
    }

    func stop() async throws {
        await coordinator.drain()
        running.cancel()
        _ = try? await running.value
    }
}
