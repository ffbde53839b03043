import Foundation
public import MMedConfig
public import MMedCore
import MMedEngine
import MMedFormats
import MMedStore

/// The base model of a run: its file, digest, tokenizer and prompts. Weights are loaded only where they are computed with.
public struct ModelHost: Sendable {
    /// The file or folder.
    public let path: String
    /// SHA-256 of the file, or of the names and digests of a folder's files.
    public let digest: Digest
    let source: ModelSource
    let tokenizer: Tokenizer

    /// Finds the model that a cluster file (or `--model`) names and checks its digest: `--model` says where the model is, and
    /// what the cluster file pins stays pinned. Throws `badData` for a missing or foreign one.
    public init(cluster: MMedConfig.ModelConfig, override: String?) throws {
        var named = cluster
        if let override { named.path = override }
        path = try named.resolvedPath(environment: ProcessInfo.processInfo.environment)
        source = try ModelSource.open(path)
        digest = try ModelHost.digest(of: source)
        if let expected = named.expectedDigest, expected != digest {
            throw MMedError(
                .badData, at: path, "the model has sha256 \(digest.hex), expected \(expected.hex)",
                mend: override == nil
                    ? "remove the file and run `make setup`, or correct model.sha256 in the cluster file"
                    : "give --model that model, or name by --cluster a file whose model.sha256 is this one or left out")
        }
        tokenizer = try Tokenizer(source: source)
    }

    /// How adapter folders name their base: a pinned model by its name on the Hub, any other by its file's.
    var baseName: String { ModelHost.baseName(path: path, digest: digest) }

    static func baseName(path: String, digest: Digest) -> String {
        PinnedModel.all.first { $0.digest == digest }?.hubName ?? (path as NSString).lastPathComponent
    }

    /// Widths that adapters must fit.
    var shape: ModelShape { source.config.shape }

    /// The prompts of a run's configuration.
    func prompts(_ prompt: PromptConfig) throws -> PromptBuilder {
        let chat = try ChatTemplate(source: source, named: prompt.chatTemplate == "auto" ? nil : prompt.chatTemplate)
        return try PromptBuilder(
            tokenizer: tokenizer, chat: chat, instruction: prompt.answerInstruction, system: prompt.system,
            optionStyle: prompt.optionStyle == .letterFirst ? .letterFirst : .letterLast)
    }

    /// Tokens that end a completion: the model's own, and the one that ends a turn.
    func stopTokenIds() throws -> [Int32] {
        var ids = source.config.eosIds
        if let chat = try? ChatTemplate(source: source), let id = tokenizer.id(ofAdded: chat.endOfTurn),
            !ids.contains(id)
        {
            ids.append(id)
        }
        return ids
    }

    private static func digest(of source: ModelSource) throws -> Digest {
        if source.files.count == 1, let only = source.files.first { return try ContentDigest.ofFile(only) }
        var lines = ""
        for file in source.files.sorted() {
            lines += "\((file as NSString).lastPathComponent) \(try ContentDigest.ofFile(file).hex)\n"
        }
        return ContentDigest.of(Array(lines.utf8))
    }
}
