import Foundation

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

    func write(in folder: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        try encoder.encode(self).write(to: URL(fileURLWithPath: LaunchRecord.path(in: folder)), options: .atomic)
    }
}
