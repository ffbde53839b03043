import Foundation
import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling

extension JournalRow {
    /// The record of a row; nil for rows that tell of the run itself. Throws what is wrong with it, `DecodingError` too.
    func record() throws -> JournalRecord? {
        switch kind {
        case "session": return .session(epoch: try decode(SessionBody.self).epoch)
        case "path": return .path(try path())
        case "drop":
            let body = try decode(DropBody.self)
            return .drop(
                DroppedPath(
                    slot: try slot(), worker: body.worker.flatMap { Name($0) }, lease: body.fence.map(LeaseID.init),
                    question: body.question, reason: body.reason, isGivenUp: body.givenUp,
                    isVoided: body.voided ?? false))
        case "groups":
            let step = try step()
            let members = try decode(GroupsBody.self).members.map { member in
                guard let use = PathUse(rawValue: member.use) else { throw BadRow("use \(member.use)") }
                return GroupMember(
                    slot: SlotID(
                        stage: Int32(step.stage), track: Int32(step.track), step: Int32(step.step),
                        question: member.question, guideline: member.guideline, sample: member.sample),
                    update: member.update, advantage: member.advantage, use: use)
            }
            return .groups(ClosedGroups(place: step, members: members))
        case "update": return .update(try update())
        case "merge": return .merge(try merge())
        case "quarantine": return .quarantine(try quarantine())
        case "run", "question": return nil
        default: throw BadRow("kind \(kind)")
        }
    }

    private func decode<Body: Decodable>(_ type: Body.Type) throws -> Body {
        try JSONDecoder().decode(type, from: Data(body.utf8))
    }

    private func index(_ part: Int) throws -> Int32 {
        guard let value = place[part].flatMap({ Int32(exactly: $0) }), value >= 0 else { throw BadRow("its place") }
        return value
    }

    private func slot() throws -> SlotID {
        SlotID(
            stage: try index(0), track: try index(1), step: try index(2), question: try index(3),
            guideline: try index(4), sample: try index(5))
    }

    private func step() throws -> StepPlace {
        StepPlace(stage: Int(try index(0)), track: Int(try index(1)), step: Int(try index(2)))
    }

    private func name(_ text: String) throws -> Name {
        guard let name = Name(text) else { throw BadRow("the name \(text)") }
        return name
    }

    private func digest(_ hex: String) throws -> MMedCore.Digest {
        guard let digest = MMedCore.Digest(hex: hex) else { throw BadRow("the digest \(hex)") }
        return digest
    }

    private func path() throws -> RecordedPath {
        let body = try decode(PathBody.self)
        let possible = 0...bulk.count
        guard possible.contains(body.tokens), possible.contains(body.choices),
            bulk.count == 8 * body.tokens + 4 * body.choices, let stop = StopReason(rawValue: body.stop)
        else { throw BadRow("its numbers") }
        let trajectory = Trajectory(
            slot: try slot(), version: body.version, adapterDigest: try body.digest.map(digest),
            completionIds: Bulk.ints(bulk[..<(4 * body.tokens)]),
            logprobs: Bulk.floats(bulk[(4 * body.tokens)..<(8 * body.tokens)]), stop: stop,
            choiceLogprobs: Bulk.floats(bulk[(8 * body.tokens)...]), reward: body.claimed)
        let parts = RewardParts(
            strictOption: body.strictOption, lenientOption: body.lenientOption, isStrictCorrect: body.strict,
            isLenientCorrect: body.lenient, total: body.reward)
        return RecordedPath(
            path: JudgedTrajectory(trajectory: trajectory, parts: parts), lease: LeaseID(fence: body.fence),
            sentUnder: LeaseID(fence: body.sentUnder), worker: try name(body.worker), question: body.question,
            prompt: body.prompt, specialty: try name(body.specialty))
    }

    private func quarantine() throws -> QuarantinedWorker {
        let body = try decode(QuarantineBody.self)
        guard let role = WorkerRole(rawValue: body.role) else { throw BadRow("the role \(body.role)") }
        let key = try body.key.map { text in
            guard let key = PublicKey(text) else { throw BadRow("the key \(text)") }
            return key
        }
        return QuarantinedWorker(
            worker: try name(body.worker), party: try name(body.party), key: key, role: role, reason: body.reason)
    }

    private func update() throws -> RecordedUpdate {
        let body = try decode(UpdateBody.self)
        let adapter = try name(body.adapter)
        let numbers = UpdateNumbers(
            learningRate: body.learningRate, beta1: body.beta1, beta2: body.beta2, epsilon: body.epsilon,
            weightDecay: body.weightDecay, biasCorrection1: body.biasCorrection1,
            biasCorrection2: body.biasCorrection2, clipFactor: body.clipFactor)
        let head = AdapterHead(
            reference: AdapterReference(name: adapter, version: body.version, digest: try digest(body.digest)),
            momentsDigest: try body.moments.map(digest), optimizerSteps: body.optimizerSteps)
        return RecordedUpdate(
            place: try step(), update: body.update,
            base: AdapterReference(name: adapter, version: body.baseVersion, digest: try digest(body.base)),
            result: UpdateResult(
                head: head, numbers: numbers, gradientDigest: try digest(body.gradient),
                gradientNorm: body.gradientNorm), examples: body.examples)
    }

    private func merge() throws -> RecordedMerge {
        let body = try decode(MergeBody.self)
        let inputs = try body.experts.map { expert in
            MergeOrder.Input(
                specialty: try name(expert.specialty), supervised: try expert.supervised?.value("the journal"),
                reinforced: try expert.reinforced?.value("the journal"))
        }
        return RecordedMerge(
            stage: Int(try index(0)), order: MergeOrder(inputs: inputs),
            result: AdapterReference(
                name: try name(body.adapter), version: body.version, digest: try digest(body.digest)))
    }
}
