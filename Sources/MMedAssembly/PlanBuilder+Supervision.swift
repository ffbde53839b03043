import MMedAlgorithms
import MMedConfig
import MMedCore
import MMedEngine
import MMedProtocol
import MMedScheduling

// DSA's steps: which record is learned when, under which prompts.
extension PlanBuilder {
    func supervisedSteps(_ specialty: Name) throws -> [StepPlan] {
        let records = Array(data.train.examples(of: specialty).prefix(config.dsa.examplesPerSpecialty))
        guard !records.isEmpty else {
            throw MMedError(
                .badData, at: data.train.path, "no record of \(specialty) has reasoning, which DSA learns from",
                mend: "add reasoning to its records, or set dsa.enabled to false")
        }
        var batches: [(ids: [String], trees: [LearningTree])] = []
        for epoch in 0..<config.dsa.epochs {
            let order = shuffled(records.count, "dsa", specialty, round: epoch)
            for start in stride(from: 0, to: order.count, by: config.dsa.examplesPerStep) {
                let part = order[start..<min(order.count, start + config.dsa.examplesPerStep)]
                let trees = weighted(try part.map { try supervisedTree(records[$0], epoch: epoch) })
                batches.append((part.map { records[$0].id }, trees))
            }
        }
        let schedule = learningRates(config.dsa.learningRate, config.dsa.schedule, updates: batches.count)
        return batches.enumerated().map { index, batch in
            StepPlan(
                examples: batch.trees, exampleIds: batch.ids, learningRates: [schedule.rate(update: index)])
        }
    }

    /// A record under one guideline prompt, another in each epoch, and under the plain prompt with the trace that a hash chooses.
    private func supervisedTree(_ record: QuestionRecord, epoch: Int) throws -> PromptTree {
        let available = config.prompt.guidelines.filter { record.reasoning[$0.name] != nil }
        guard !available.isEmpty else {
            throw MMedError(
                .badData, at: "\(data.train.path):\(record.line)", "its reasoning is for no guideline of the run",
                mend: "name the configuration's guidelines in `reasoning`, or leave it out")
        }
        let (options, answer) = optionOrder(of: record, epoch: epoch)
        let hash = stableHash(Array(record.id.utf8))
        let guided = available[Int((hash &+ UInt64(epoch)) % UInt64(available.count))]
        let chosen = available[Int((hash >> 32) % UInt64(available.count))]
        var tree = PromptTree(
            prefixIds: try prompts.prefixIds(question: record.question, options: options), suffixIds: [], paths: [])
        for (guideline, trace) in [(guided.text, guided.name), (nil, chosen.name)] {
            let text = record.reasoning[trace] ?? ""
            let cited =
                config.dsa.citeLetter ? OptionTexts(options, style: prompts.optionStyle).cited(in: text) : text
            tree.suffixIds.append(try prompts.suffixIds(guideline: guideline))
            tree.paths.append(
                TreePath(
                    suffix: tree.suffixIds.count - 1,
                    completionIds: try prompts.completionIds(trace: cited, letter: PromptBuilder.letter(answer))))
        }
        return tree
    }

    /// The options as an epoch asks them: each epoch turns them by one place, so that no letter belongs to a record.
    private func optionOrder(of record: QuestionRecord, epoch: Int) -> (options: [String], answer: Int) {
        let count = record.options.count
        let turned = (0..<count).map { record.options[($0 + epoch) % count] }
        return (turned, (record.answerIndex + count - epoch % count) % count)
    }

    /// The mean over the completion tokens of the batch, whatever shard they fall into.
    private func weighted(_ trees: [PromptTree]) -> [LearningTree] {
        let tokens = trees.flatMap(\.paths).reduce(0) { $0 + $1.completionIds.count }
        return trees.map { tree in
            LearningTree(
                tree: tree,
                targets: tree.paths.map { _ in
                    PathTarget(
                        weight: 1 / Double(max(tokens, 1)), advantage: 1, rollLogprobs: [], proxLogprobs: [],
                        counts: true)
                })
        }
    }
}
