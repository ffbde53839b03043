import MMedConfig
public import MMedCore
import MMedFormats
import MMedMerging

/// The `merge` command: PEFT folders to one PEFT folder, or to full weights.
public enum MergeTool {
    /// One specialty's experts: `name=DSA_FOLDER[,GBA_FOLDER]`.
    public struct Expert: Sendable {
        /// The specialty.
        public var name: Name
        /// Folder of the supervised expert.
        public var supervised: String
        /// Folder of the reinforced one.
        public var reinforced: String?

        /// Reads `name=DSA_FOLDER[,GBA_FOLDER]`. Throws `usage` for any other text.
        public init(_ text: String) throws {
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, let name = Name(parts[0]) else {
                throw MMedError(
                    .usage, at: "--expert", "\"\(text)\" is not name=DSA_FOLDER[,GBA_FOLDER]",
                    mend: "for example: --expert pediatrics=a/v12,a/v15")
            }
            let folders = parts[1].split(separator: ",").map(String.init)
            guard (1...2).contains(folders.count) else {
                throw MMedError(.usage, at: "--expert", "\"\(text)\" names \(folders.count) folders, expected 1 or 2")
            }
            self.name = name
            supervised = folders[0]
            reinforced = folders.count == 2 ? folders[1] : nil
        }
    }

    /// Merges by the settings of a configuration and returns the report's text. `bake` writes full weights beside the adapter.
    /// Throws `usage` when either is there already, unless they are to be replaced.
    public static func run(
        experts: [Expert], config: String?, overrides: [String], model: String, output: String, bake: String?,
        isReplacing: Bool
    ) throws -> String {
        try ExportTool.requireAdapterPlace(output, isReplacing: isReplacing)
        if let bake, !isReplacing { try ExportTool.requireFree(bake) }
        var settings = MergeConfig()
        if let config { settings = try RunConfig.load(path: config, overrides: overrides).merge }
        let host = try ModelHost(cluster: MMedConfig.ModelConfig(), override: model)
        var inputs: [MergeInput] = []
        for expert in experts {
            let supervised = try weights(expert.supervised, host.shape)
            if let folder = expert.reinforced {
                inputs += MergeInput.specialty(
                    expert.name, supervised: supervised, reinforced: try weights(folder, host.shape))
            } else {
                inputs.append(MergeInput(name: expert.name, stage: .sft, adapter: supervised))
            }
        }
        let plan = try MergePlan(inputs: inputs, settings: mergeSettings(settings))
        let result = try merge(inputs: inputs, settings: mergeSettings(settings))
        try AdapterFolder.write(
            to: output, layout: result.adapter.layout, values: result.adapter.values,
            baseModel: host.baseName)
        if let bake { try write(plan, of: host, to: bake) }
        return result.report.text
    }

    static func mergeSettings(_ config: MergeConfig) -> MMedMerging.MergeSettings {
        let method: MergeMethod =
            switch config.method {
            case .caci: .caci
            case .ties: .ties
            case .taskArithmetic: .taskArithmetic
            case .linear: .linear
            }
        return MMedMerging.MergeSettings(
            method: method, density: config.density, lambdaSFT: config.lambdaSFT, lambdaRL: config.lambdaRL,
            rank: config.rank)
    }

    private static func weights(_ folder: String, _ shape: ModelShape) throws -> AdapterWeights {
        let loaded = try AdapterFolder.read(folder, shape: shape)
        return try AdapterWeights(layout: loaded.layout, values: loaded.values)
    }

    /// The whole model with ΔW added, one tensor in memory at a time.
    private static func write(_ plan: MergePlan, of host: ModelHost, to path: String) throws {
        let source = host.source
        let tensors = try source.tensorNames.map { name in
            SafetensorsWriter.Tensor(name: name, shape: try source.shape(of: name))
        }
        try SafetensorsWriter.write(to: path, tensors) { tensor in
            try plan.baked(tensor: tensor.name, weights: try source.tensor(tensor.name))
        }
    }
}
