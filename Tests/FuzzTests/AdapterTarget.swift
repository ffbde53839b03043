import MMedCore

@testable import MMedFormats

extension FuzzTarget {
    /// Adapter folders: adapter_config.json, a zero byte, adapter_model.safetensors. The text before the zero byte is also read
    /// as an adapter's signature.
    static let adapter = FuzzTarget(name: "adapter", lengthMost: 8192, seeds: { try AdapterSeeds.folders() }) { bytes in
        let parts = bytes.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false).map { Array($0) }
        let text = String(decoding: parts[0], as: UTF8.self)
        // A thousand layers have seven pairs each, which the text does not show.
        if let layout = try reading("signature", budget: 4 << 20, { AdapterLayout(signature: text) }) ?? nil {
            try demand(layout.signature == text, "the signature \(text) came back as \(layout.signature)")
        }
        let budget = 512 * bytes.count + (256 << 10)
        guard
            let config = try reading(
                "adapter_config.json", budget: budget,
                { JSONReader(try JSONValue.parse(parts[0], at: "config"), at: "config") }),
            let settings = try reading(
                "adapter_config.json", budget: 8 << 20,
                { try AdapterConfigReader.settings(config, shape: AdapterSeeds.shape) })
        else { return }
        let layout = AdapterLayout(settings: settings, shape: AdapterSeeds.shape)
        try demand(AdapterLayout(signature: layout.signature) == layout, "\(layout.signature) is not read back")
        let weights = MappedFile(copying: parts.count > 1 ? parts[1] : [], path: "weights")
        guard
            let adapter = try reading(
                "adapter folder", budget: budget,
                { try AdapterFolder.read(config: config, weights: SafetensorsFile(weights), shape: AdapterSeeds.shape) }
            )
        else { return }
        let written = AdapterSeeds.parts(adapter)
        let again = try rereading("adapter folder") {
            try AdapterFolder.read(
                config: JSONReader(JSONValue.parse(written.config, at: "again"), at: "again"),
                weights: SafetensorsFile(MappedFile(copying: written.weights, path: "again")), shape: AdapterSeeds.shape
            )
        }
        try demand(
            again.layout == adapter.layout && again.values == adapter.values && again.baseModel == adapter.baseModel,
            "an adapter changed when it was written: \(adapter.layout.signature)")
    }
}

/// Small adapters of every way to name targets.
enum AdapterSeeds {
    static let shape = ModelShape(layerCount: 2, hiddenSize: 2, queryWidth: 4, keyValueWidth: 2, intermediateSize: 3)

    /// Both files of a folder, by the product's own writer.
    static func parts(_ adapter: LoadedAdapter) -> (config: [UInt8], weights: [UInt8]) {
        let config = AdapterFolder.config(adapter.layout.settings, baseModel: adapter.baseModel)
        let matrices = AdapterFolder.matrices(of: adapter.layout)
        let ranges = Dictionary(uniqueKeysWithValues: matrices.map { ($0.name, $0.range) })
        let weights = SafetensorsSeeds.file(matrices.map { .init(name: $0.name, shape: $0.shape) }) {
            Array(adapter.values[ranges[$0.name] ?? 0..<0])
        }
        return (Array(config.text(sortingKeys: true, indent: 2).utf8), weights)
    }

    static func folders() throws -> [(name: String, bytes: [UInt8])] {
        func folder(_ settings: AdapterSettings, modules: String? = nil) throws -> [UInt8] {
            let layout = AdapterLayout(settings: settings, shape: shape)
            let values = (0..<layout.parameterCount).map { Float($0) / 8 }
            let (config, weights) = parts(LoadedAdapter(layout: layout, values: values, baseModel: "base"))
            guard let modules else { return config + [0] + weights }
            guard case .object(var object) = try JSONValue.parse(config, at: "seed") else { return [] }
            object["target_modules"] = try JSONValue.parse(Array(modules.utf8), at: "seed")
            return Array(JSONValue.object(object).text().utf8) + [0] + weights
        }
        let q = AdapterSettings(rank: 1, alpha: 2, targets: [.q])
        let signature = AdapterLayout(
            settings: AdapterSettings(rank: 3, alpha: 1.5, rankStabilised: true), shape: shape)
        return [
            ("q", try folder(q)), ("pattern", try folder(q, modules: #""model\\.layers\\.\\d+\\..*\\.(q_proj|none)""#)),
            ("class", try folder(q, modules: #"".*attn\\.[q]_proj""#)),
            ("all-linear", try folder(AdapterSettings(rank: 1, alpha: 1), modules: #""all-linear""#)),
            ("rs", try folder(AdapterSettings(rank: 2, alpha: 2.5, rankStabilised: true, targets: [.k, .down]))),
            ("signature", Array(signature.signature.utf8)),
        ]
    }
}
