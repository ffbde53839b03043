import MMedCore

/// The members of PEFT's adapter_config.json that plain LoRA honours; any other that is in use is refused.
enum AdapterConfigReader {
    /// A rank beyond that of any matrix is a mistake, and asks for much memory.
    private static let rankMost = 4096

    static func settings(_ json: JSONReader, shape: ModelShape) throws -> AdapterSettings {
        let type = try json.required("peft_type").string()
        guard type == "LORA" else { throw refused("\(json.place): peft_type", type, "LORA") }
        try refuseOthers(json)
        let rank = try json.integer("r")
        guard (1...rankMost).contains(rank) else {
            throw MMedError(.badData, at: "\(json.place): r", "is \(rank), expected 1 to \(rankMost)")
        }
        let alpha = try json.required("lora_alpha").number()
        guard alpha.isFinite else {
            throw MMedError(.badData, at: "\(json.place): lora_alpha", "is \(alpha), expected a finite number")
        }
        return AdapterSettings(
            rank: rank, alpha: alpha, rankStabilised: try json.flag("use_rslora"),
            targets: try targets(json.required("target_modules"), shape: shape))
    }

    private static func refused(_ place: String, _ found: String, _ expected: String) -> MMedError {
        MMedError(.badData, at: place, "is \(found), expected \(expected)", mend: "train or convert it as plain LoRA")
    }

    private static func refuseOthers(_ json: JSONReader) throws {
        let bias = try json.optional("bias")?.string() ?? "none"
        guard bias == "none" else { throw refused("\(json.place): bias", bias, "none") }
        for key in ["fan_in_fan_out", "lora_bias"] where try json.flag(key) {
            throw refused("\(json.place): \(key)", "true", "false")
        }
        for key in try json.object().keys where key.hasPrefix("use_") && key != "use_rslora" {
            guard try !json.flag(key) else { throw refused("\(json.place): \(key)", "true", "false") }
        }
        let parts = [
            "rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform", "layers_pattern",
            "exclude_modules", "target_parameters", "trainable_token_indices", "layer_replication",
            "alora_invocation_tokens",
        ]
        for key in parts {
            guard let member = try json.optional(key) else { continue }
            switch member.value {
            case .array(let values) where values.isEmpty: continue
            case .object(let object) where object.count == 0: continue
            default: throw refused(member.place, "given", "none")
            }
        }
        // These ways to begin change the base weights, so A and B alone do not say what was trained.
        if let start = try json.optional("init_lora_weights"), case .string(let text) = start.value {
            for name in ["pissa", "olora", "corda", "loftq"] where text.hasPrefix(name) {
                throw refused(start.place, text, "one that leaves the base weights alone")
            }
        }
    }

    /// The projections that the modules' names or pattern select, as PEFT selects them; each in every layer or in none.
    private static func targets(_ member: JSONReader, shape: ModelShape) throws -> [Projection] {
        let matches: (String) -> Bool
        switch member.value {
        case .array:
            let names = try member.array().map { try $0.string() }
            for name in names where !isProjection(name, shape: shape) {
                throw MMedError(
                    .badData, at: member.place,
                    "names \(name), expected among \(Projection.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            matches = { path in names.contains { selects($0, path) } }
        case .string("all-linear"): matches = { _ in true }
        case .string(let pattern):
            guard let expression = ModulePattern(pattern) else {
                throw MMedError(
                    .badData, at: member.place,
                    "is \"\(pattern.prefix(200))\", which is not a regular expression of letters, classes, groups and "
                        + "repetitions",
                    mend: "list the modules' names instead")
            }
            matches = { expression.matches($0) }
        case .null, .bool, .integer, .number, .object: throw member.mistyped("a list of names or a pattern")
        }
        let targets = try Projection.allCases.filter { projection in
            let count = (0..<shape.layerCount).count { matches(path($0, projection)) }
            guard count == 0 || count == shape.layerCount else {
                throw MMedError(
                    .badData, at: member.place,
                    "selects \(projection.rawValue) in \(count) of \(shape.layerCount) layers, expected all or none")
            }
            return count > 0
        }
        guard !targets.isEmpty else {
            throw MMedError(.badData, at: member.place, "selects none of the seven projections of a layer")
        }
        return targets
    }

    private static func path(_ layer: Int, _ projection: Projection) -> String {
        "model.layers.\(layer).\(projection.block).\(projection.rawValue)"
    }

    private static func selects(_ name: String, _ path: String) -> Bool { path == name || path.hasSuffix("." + name) }

    private static func isProjection(_ name: String, shape: ModelShape) -> Bool {
        Projection.allCases.contains { projection in
            (0..<shape.layerCount).contains { selects(name, path($0, projection)) }
        }
    }
}
