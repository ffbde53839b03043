import Foundation
public import MMedCore
import MMedFormats
import MMedStore
import MMedTensor

/// What later commands must know of a run besides its resolved configuration and its state.
struct LaunchRecord: Codable {
    var name: Name
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

    /// What computed last; nil in the folders of older releases.
    var machine: Machine?

    /// Same journal, same bytes is promised of one build on one class of processor.
    struct Machine: Codable, Equatable {
        /// The release, and the first digits of the SHA-256 of the coordinator's program.
        var build: String
        /// The instruction set that the kernels use.
        var kernels: String

        /// Of this process.
        static var current: Machine {
            let digest = (try? ContentDigest.ofFile("/proc/self/exe"))?.short ?? "unknown"
            return Machine(build: "\(Release.text), \(digest)", kernels: "\(KernelPath.current)")
        }
    }

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

    init(name: Name, cluster: String?, keys: String?, model: String?) {
        self.name = name
        self.cluster = cluster
        self.keys = keys
        self.model = model
    }

    /// The record of a run's folder. Throws `badData` when it is not there or cannot be read.
    init(folder: String) throws(MMedError) {
        let path = LaunchRecord.path(in: folder)
        guard let data = FileManager.default.contents(atPath: path) else {
            throw MMedError(.badData, at: path, "there is no run to go on with", mend: RunFolder.mendOfMissingRun)
        }
        guard let record = try? JSONDecoder().decode(LaunchRecord.self, from: data) else {
            throw MMedError(.badData, at: path, "it is damaged", mend: "restore it from a backup")
        }
        self = record
    }

    static func path(in folder: String) -> String { folder + "/launch.json" }
    static func configurationPath(in folder: String) -> String { folder + "/config.resolved.yaml" }

    /// Throws `usage` when the run went on in another copy of the folder than this one.
    func requireInstance(_ folder: RunFolder) throws {
        guard let instance, let own = folder.instance, instance != own else { return }
        throw MMedError(
            .usage, at: folder.path, "it is a copy of a run's folder, and the run may go on in the other",
            mend: "resume the other; or, if that is gone for good (this is a restored backup), add --adopt")
    }

    /// The path of a folder's configuration. Throws `badData` when it is not there.
    static func requireConfiguration(in folder: String) throws(MMedError) -> String {
        let path = configurationPath(in: folder)
        guard FileManager.default.fileExists(atPath: path) else {
            throw MMedError(.badData, at: path, "it is missing", mend: "restore it from a backup")
        }
        return path
    }

    /// Throws `badData` when the folder's configuration is not the one that the run began with.
    func requireConfiguration(_ folder: String) throws {
        let path = try LaunchRecord.requireConfiguration(in: folder)
        guard let recorded = inputs?[PreparedRun.Input.configuration] else { return }
        guard try ContentDigest.ofFile(path).hex == recorded else {
            throw MMedError(
                .badData, at: path, "it is not the one that the run began with",
                mend: "restore it from a backup; a resume refuses another")
        }
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
        try folder.writeWhole(try SortedJSON.bytes(self) + [0x0A], to: LaunchRecord.path(in: folder.path))
    }
}

extension Name: Codable {
    /// Refuses what is no name.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let name = Name(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "\"\(text)\" is no name")
        }
        self = name
    }

    /// The text alone.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}
