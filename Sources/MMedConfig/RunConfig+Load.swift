import Foundation
public import MMedCore

extension RunConfig {
    /// Defaults, then the file, then the overrides (`a.b=c`). Data paths come out absolute, from the file's folder.
    ///
    /// - Throws: `badConfig` naming the file, line and key, what was expected, and the nearest known key.
    public static func load(path: String, overrides: [String] = []) throws(MMedError) -> RunConfig {
        var root = try ConfigFile.read(path)
        for text in overrides { root = root.overridden(by: try ConfigNode(override: text)) }
        return try decode(root, folder: ConfigFile.folder(of: path))
    }

    /// The complete configuration as YAML that loads to an equal value.
    public var resolvedYAML: String {
        "# Every key of the run, as resolved from defaults, file and --set.\n" + resolved().yaml()
    }

    static func decode(_ root: ConfigNode, folder: String) throws(MMedError) -> RunConfig {
        var config = RunConfig()
        try config.read(root, path: "")
        if config.advantages.preset == .dapo, root.entry(at: ["gba", "resample", "enabled"]) == nil {
            config.gba.resample.enabled = true
        }
        if root.entry(at: ["eval", "stages"]) == nil {
            config.eval.stages = config.eval.stages.filter { config.untrained($0) == nil }
        }
        for key in [\DataConfig.train, \.validation, \.test, \.reference] where !config.data[keyPath: key].isEmpty {
            config.data[keyPath: key] = ConfigFile.absolute(config.data[keyPath: key], from: folder)
        }
        try config.check(in: root)
        return config
    }
}

extension ConfigNode {
    /// The entry at a path of keys, if it was written.
    func entry(at keys: [String]) -> Entry? {
        var node = self
        var found: Entry?
        for key in keys {
            found = node.entries()?.first { $0.key == key }
            guard let next = found else { return nil }
            node = next.node
        }
        return found
    }
}

/// Files of YAML.
enum ConfigFile {
    /// Bytes of a configuration at most.
    static let byteCountMax = 1 << 20

    /// Reads a file as a tree.
    static func read(_ path: String) throws(MMedError) -> ConfigNode {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw MMedError(.badConfig, at: path, "there is no such configuration file", mend: "correct the path")
        }
        guard !isFolder.boolValue else {
            throw MMedError(
                .badConfig, at: path, "this is a folder, expected a configuration file",
                mend: "name a file in it, like \(path)/quickstart.yaml")
        }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw MMedError(.badConfig, at: path, "the file cannot be read", mend: "make it readable")
        }
        return try tree(of: data, path: path)
    }

    /// As `read`, from the file's bytes.
    static func tree(of data: Data, path: String) throws(MMedError) -> ConfigNode {
        guard data.count <= byteCountMax else {
            throw MMedError(
                .badConfig, at: path, "the file has \(data.count) bytes, expected at most \(byteCountMax)",
                mend: "name a configuration, not a data file")
        }
        guard let text = String(validating: data, as: UTF8.self) else {
            throw MMedError(.badConfig, at: path, "the file is not UTF-8 text", mend: "save it as UTF-8")
        }
        return try ConfigNode(yaml: text, source: path)
    }

    /// The absolute path of the folder that holds the file.
    static func folder(of path: String) -> String {
        URL(fileURLWithPath: path).standardizedFileURL.deletingLastPathComponent().path
    }

    /// A path as seen from a folder.
    static func absolute(_ path: String, from folder: String) -> String {
        path.hasPrefix("/") ? path : URL(fileURLWithPath: folder + "/" + path).standardizedFileURL.path
    }
}
