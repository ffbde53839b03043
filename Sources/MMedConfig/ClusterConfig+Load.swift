import Foundation
public import MMedCore

extension ClusterConfig: ConfigSection {
    static var empty: ClusterConfig { ClusterConfig() }
    static var fields: [ConfigField<ClusterConfig>] {
        [
            ConfigField(
                "listen", \.listen, .text(1...4096, "an address"),
                "Where the coordinator listens: `tcp://HOST:PORT`, port 0 for any free one, or `ipc://PATH`."),
            ConfigField(
                "keys", \.keys, .optional(.text(1...4096, "a folder"), none: "no keys: this machine only"),
                "The folder that `mmed-coord keygen` made, relative to the cluster file's folder; see `docs/SECURITY.md`."
            ),
            ConfigField("model", \.model, .section, ""),
            ConfigField(
                "workers", \.workers, .list(of: .section, 0...256), required: true,
                "The workers, in groups of equal ones; an empty list waits for workers that are started by hand."),
        ]
    }

    /// Defaults, then the file. The model's path comes out absolute, from the file's folder.
    ///
    /// - Throws: `badConfig` naming the file, line and key, what was expected, and the nearest known key.
    public static func load(path: String) throws(MMedError) -> ClusterConfig {
        try decode(ConfigFile.read(path), folder: ConfigFile.folder(of: path))
    }

    static func decode(_ root: ConfigNode, folder: String) throws(MMedError) -> ClusterConfig {
        var config = ClusterConfig()
        try config.read(root, path: "")
        if let problem = ListenAddress.problem(config.listen) {
            throw configError(
                root.entry(at: ["listen"])?.place ?? root.place, "listen", problem,
                "write tcp://127.0.0.1:0 or ipc://PATH, the socket's path in a folder of your own with mode 700")
        }
        config.keys = config.keys.map { ConfigFile.absolute($0, from: folder) }
        if !PinnedModel.all.contains(where: { $0.name == config.model.path }) {
            config.model.path = ConfigFile.absolute(config.model.path, from: folder)
        }
        for (index, worker) in config.workers.enumerated() where worker.role == .rollout && worker.adapters != .all {
            throw configError(
                root.entry(at: ["workers"])?.place ?? root.place, "workers[\(index)].adapters",
                "only a learner holds adapters; a rollout worker pulls what it samples with",
                "write all, or leave it out")
        }
        return config
    }
}

extension ModelConfig: ConfigSection {
    static var empty: ModelConfig { ModelConfig() }
    static var fields: [ConfigField<ModelConfig>] {
        [
            ConfigField(
                "path", \.path, .text(1...4096, "a path or a pinned name"),
                "A GGUF file or checkpoint folder, relative to the cluster file's folder, or a pinned model's name: "
                    + PinnedModel.all.map { "`\($0.name)`" }.joined(separator: ", ") + "."),
            ConfigField(
                "sha256", \.sha256, .optional(.digest, none: "the pinned digest, else that of the model found"),
                "Every process refuses another model, also one that is given by `--model`."),
        ]
    }
}

extension WorkerConfig: ConfigSection {
    static var empty: WorkerConfig { WorkerConfig() }
    static var fields: [ConfigField<WorkerConfig>] {
        [
            ConfigField(
                "host", \.host, .text(1...253, "a host"),
                "`local` is started by the coordinator itself, `127.0.0.1` by hand on this machine."),
            ConfigField("role", \.role, .choice, required: true, "What these workers do."),
            ConfigField("count", \.count, .integer(1...1024), "How many processes."),
            ConfigField("threads", \.threads, .integer(ComputeThreads.allowed), "Compute threads of each."),
            ConfigField("adapters", \.adapters, .adapters, "The adapters a learner holds."),
        ]
    }
}

extension ConfigCodec where Value == Digest {
    /// 64 hexadecimal digits.
    static var digest: ConfigCodec {
        let expects = "64 hexadecimal digits"
        return ConfigCodec(
            expects: expects,
            read: { (node, path, _) throws(MMedError) in
                guard case .scalar(let text, _) = node.content, let digest = Digest(hex: text) else {
                    throw configError(
                        node.place, path, "expected \(expects), found \(node.summary)", "copy it from sha256sum")
                }
                return digest
            }, write: { .text($0.hex) })
    }
}

extension ConfigCodec where Value == AdapterSelection {
    /// `all` or a list of names.
    static var adapters: ConfigCodec {
        let list = ConfigCodec<[Name]>.list(of: .name, 1...64, distinct: true)
        let expects = "all, or \(list.expects)"
        return ConfigCodec(
            expects: expects,
            read: { (node, path, _) throws(MMedError) in
                switch node.content {
                case .scalar("all", _): return .all
                case .list: return .named(try list.read(node, path, nil))
                default:
                    throw configError(
                        node.place, path, "expected \(expects), found \(node.summary)", "write all, or [name, name]")
                }
            },
            write: { selection in
                switch selection {
                case .all: .scalar("all")
                case .named(let names): list.write(names)
                }
            })
    }
}
