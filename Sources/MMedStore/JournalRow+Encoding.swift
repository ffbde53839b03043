import MMedAlgorithms
import MMedCore
import MMedFormats
import MMedProtocol
import MMedScheduling

extension JournalRow {
    /// The row of a record.
    init(_ record: JournalRecord) throws {
        switch record {
        case .session(let epoch):
            self.init(kind: "session", place: [], body: try SortedJSON.line(SessionBody(epoch: epoch)))
        case .path(let path): try self.init(path)
        case .drop(let drop):
            self.init(
                kind: "drop", place: JournalRow.place(drop.slot),
                body: try SortedJSON.line(
                    DropBody(
                        question: drop.question, worker: drop.worker?.text, fence: drop.lease?.fence,
                        reason: drop.reason, givenUp: drop.isGivenUp, voided: drop.isVoided ? true : nil)))
        case .groups(let groups):
            let members = groups.members.map { member in
                GroupsBody.Member(
                    question: member.slot.question, guideline: member.slot.guideline, sample: member.slot.sample,
                    update: member.update, advantage: member.advantage, use: member.use.rawValue)
            }
            self.init(
                kind: "groups", place: JournalRow.place(groups.place),
                body: try SortedJSON.line(GroupsBody(members: members)))
        case .update(let update): try self.init(update)
        case .merge(let merge): try self.init(merge)
        case .quarantine(let worker):
            self.init(
                kind: "quarantine", place: [],
                body: try SortedJSON.line(
                    QuarantineBody(
                        worker: worker.worker.text, party: worker.party.text, key: worker.key?.text,
                        role: worker.role.rawValue, reason: worker.reason)))
        }
    }

    private static func place(_ slot: SlotID) -> [Int64?] {
        [slot.stage, slot.track, slot.step, slot.question, slot.guideline, slot.sample].map { Int64($0) }
    }

    private static func place(_ step: StepPlace) -> [Int64?] { [step.stage, step.track, step.step].map { Int64($0) } }

    private init(_ record: RecordedPath) throws {
        let (path, parts) = (record.path.trajectory, record.path.parts)
        let body = PathBody(
            specialty: record.specialty.text, question: record.question, prompt: record.prompt,
            worker: record.worker.text, fence: record.lease.fence, sentUnder: record.sentUnder.fence,
            version: path.version, digest: path.adapterDigest?.hex, tokens: path.completionIds.count,
            stop: path.stop.rawValue, choices: path.choiceLogprobs.count, claimed: path.reward, reward: parts.total,
            strict: parts.isStrictCorrect, lenient: parts.isLenientCorrect, strictOption: parts.strictOption,
            lenientOption: parts.lenientOption)
        self.init(
            kind: "path", place: JournalRow.place(path.slot), body: try SortedJSON.line(body),
            bulk: Bulk.bytes(path.completionIds) + Bulk.bytes(path.logprobs) + Bulk.bytes(path.choiceLogprobs))
    }

    private init(_ record: RecordedUpdate) throws {
        let (head, numbers) = (record.result.head, record.result.numbers)
        let body = UpdateBody(
            adapter: head.reference.name.text, version: head.reference.version, update: record.update,
            digest: head.reference.digest.hex, base: record.base.digest.hex, baseVersion: record.base.version,
            moments: head.momentsDigest?.hex, optimizerSteps: head.optimizerSteps, learningRate: numbers.learningRate,
            beta1: numbers.beta1, beta2: numbers.beta2, epsilon: numbers.epsilon, weightDecay: numbers.weightDecay,
            biasCorrection1: numbers.biasCorrection1, biasCorrection2: numbers.biasCorrection2,
            clipFactor: numbers.clipFactor, gradient: record.result.gradientDigest.hex,
            gradientNorm: record.result.gradientNorm, examples: record.examples)
        self.init(kind: "update", place: JournalRow.place(record.place), body: try SortedJSON.line(body))
    }

    private init(_ record: RecordedMerge) throws {
        let experts = record.order.inputs.map { input in
            MergeBody.Expert(
                specialty: input.specialty.text, supervised: input.supervised.map { ReferenceRecord($0) },
                reinforced: input.reinforced.map { ReferenceRecord($0) })
        }
        let body = MergeBody(
            adapter: record.result.name.text, version: record.result.version, digest: record.result.digest.hex,
            experts: experts,
            inputs: experts.flatMap { [$0.supervised?.digest, $0.reinforced?.digest].compactMap { $0 } })
        self.init(kind: "merge", place: [Int64(record.stage)], body: try SortedJSON.line(body))
    }
}
