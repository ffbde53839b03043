import Foundation
import MMedCore
import MMedStore

/// What later commands must know of a run besides its resolved configuration and its state.
struct LaunchRecord: Codable {
    var name: String
    var cluster: String?
    /// The folder of keys, where the command line named one.
    var keys: String?
    var model: String?
    /// The model's name, as adapter folders name their base.
    var baseModel: String?
    /// What the plan holds, so that `status` can name the place without the data and the model.
    var stages: [Stage]?

    /// Digests of what the run began with, by name; nil in the folders of older releases.
    var inputs: [String: String]?

    /// Which of the folder's copies the run is in; nil in the folders of older releases.
    var instance: UInt64?

    /// A stage of the plan.
    struct Stage: Codable, Equatable {
        var name: String
        var tracks: [Track]
    }

    /// A specialty's part of a stage.
    struct Track: Codable, Equatable {
        var specialty: String
        var steps: Int
    }

    init(name: String, cluster: String?, keys: String?, model: String?) {
        self.name = name
        self.cluster = cluster
        self.keys = keys
        self.model = model
    }

    /// The record of a run's folder; nil when there is none.
    init?(folder: String) {
        guard let data = FileManager.default.contents(atPath: LaunchRecord.path(in: folder)),
            let record = try? JSONDecoder().decode(LaunchRecord.self, from: data)
        else { return nil }
        self = record
    }

    static func path(in folder: String) -> String { folder + "/launch.json" }

    /// Throws `usage` when the run went on in another copy of the folder than this one.
    func requireInstance(_ folder: RunFolder) throws {
        guard let instance, let own = folder.instance, instance != own else { return }
        throw MMedError(
            .usage, at: folder.path, "it is a copy of a run's folder, and the run may go on in the other",
            mend: "resume the other; or, if that is gone for good (this is a restored backup), add --adopt")
    }

    /// The inputs that are known to be others than those the run began with.
    func changed(_ present: [PreparedRun.Input]) -> [PreparedRun.Input] {
        present.filter { input in inputs?[input.name].map { $0 != input.digest.hex } ?? false }
    }

    /// The refusal of a run whose plan is another than it was: it names what has changed, where the folder can tell.
    func changedInputs(_ present: [PreparedRun.Input], _ folder: String) -> MMedError {
        let named = changed(present).map { "\($0.name) (\($0.path))" }.joined(separator: ", ")
        return MMedError(
            .badConfig, at: folder,
            named.isEmpty
                ? "its configuration, data or model are not those the run began with"
                : "not those the run began with: \(named)",
            mend: "put them back as they were; a changed configuration needs a run of its own")
    }

    func write(in folder: RunFolder) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        try folder.writeWhole([UInt8](try encoder.encode(self)), to: LaunchRecord.path(in: folder.path))
    }
}
