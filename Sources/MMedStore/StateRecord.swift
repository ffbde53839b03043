import Foundation
import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling

// The JSON form of a checkpoint's state. The field names are the file format: a rename is a new format number.

struct ReferenceRecord: Codable {
    var name: String
    var version: Int
    var digest: String

    init(_ reference: AdapterReference) {
        name = reference.name.text
        version = reference.version
        digest = reference.digest.hex
    }

    func value(_ place: String) throws -> AdapterReference {
        guard let name = Name(name), let digest = Digest(hex: digest) else {
            throw MMedError(.badData, at: place, "an adapter reference is malformed", mend: "restore the file")
        }
        return AdapterReference(name: name, version: version, digest: digest)
    }
}

struct HeadRecord: Codable {
    var adapter: ReferenceRecord
    var moments: String?
    var optimizerSteps: Int
}

struct TrackRecord: Codable {
    var committedSteps: Int
    var noise: Double
    var spread: Double
    var start: ReferenceRecord?
    var recent: [ReferenceRecord]
}

struct StageHeadRecord: Codable {
    var stage: String
    var adapter: ReferenceRecord
}

struct PathRecord: Codable {
    var question: String
    var prompt: String
    var answer: String
    var strictCorrect: Bool
    var lenientCorrect: Bool
    var parsed: String?
    var lenient: String?
    var choice: String?
    var reward: Double
    var tokens: Int
}

struct EvaluationFileRecord: Codable {
    var stage: String
    var specialty: String
    var paths: [PathRecord]
}

struct StateRecord: Codable {
    var stage: Int
    var tracks: [TrackRecord]
    var heads: [HeadRecord]
    var stageHeads: [StageHeadRecord]
    var merged: ReferenceRecord?
    var evaluations: [EvaluationFileRecord]
    var epoch: UInt64

    init(_ state: RunState) {
        stage = state.stage
        tracks = state.tracks.map {
            TrackRecord(
                committedSteps: $0.committedSteps, noise: $0.blend.noise, spread: $0.blend.spread,
                start: $0.start.map { ReferenceRecord($0) }, recent: $0.recent.map { ReferenceRecord($0) })
        }
        heads = state.heads.map {
            HeadRecord(
                adapter: ReferenceRecord($0.reference), moments: $0.momentsDigest?.hex,
                optimizerSteps: $0.optimizerSteps)
        }
        stageHeads = state.stageHeads.map {
            StageHeadRecord(stage: $0.stage, adapter: ReferenceRecord($0.reference))
        }
        merged = state.merged.map { ReferenceRecord($0) }
        evaluations = state.evaluations.map { evaluation in
            EvaluationFileRecord(
                stage: evaluation.stage, specialty: evaluation.specialty.text,
                paths: evaluation.paths.map { path in
                    PathRecord(
                        question: path.question, prompt: path.prompt, answer: path.answer,
                        strictCorrect: path.strictCorrect, lenientCorrect: path.lenientCorrect, parsed: path.parsed,
                        lenient: path.lenient, choice: path.choice, reward: path.reward, tokens: path.tokens)
                })
        }
        epoch = state.epoch
    }

    func value(_ place: String) throws -> RunState {
        var state = RunState(
            heads: try heads.map { head in
                let moments = try head.moments.map { text in
                    guard let digest = Digest(hex: text) else {
                        throw MMedError(.badData, at: place, "a moments' digest is malformed", mend: "restore the file")
                    }
                    return digest
                }
                return AdapterHead(
                    reference: try head.adapter.value(place), momentsDigest: moments,
                    optimizerSteps: head.optimizerSteps)
            })
        state.stage = stage
        state.tracks = try tracks.map {
            TrackProgress(
                committedSteps: $0.committedSteps, blend: BlendState(noise: $0.noise, spread: $0.spread),
                start: try $0.start?.value(place), recent: try $0.recent.map { try $0.value(place) })
        }
        state.stageHeads = try stageHeads.map { StageHead(stage: $0.stage, reference: try $0.adapter.value(place)) }
        state.merged = try merged?.value(place)
        state.evaluations = try evaluations.map { evaluation in
            guard let specialty = Name(evaluation.specialty) else {
                throw MMedError(
                    .badData, at: place, "\"\(evaluation.specialty)\" is no specialty's name", mend: "restore the file")
            }
            return EvaluationRecord(
                stage: evaluation.stage, specialty: specialty,
                paths: evaluation.paths.map { path in
                    EvaluatedPath(
                        question: path.question, prompt: path.prompt, answer: path.answer,
                        strictCorrect: path.strictCorrect, lenientCorrect: path.lenientCorrect, parsed: path.parsed,
                        lenient: path.lenient, choice: path.choice, reward: path.reward, tokens: path.tokens)
                })
        }
        state.epoch = epoch
        return state
    }
}
