public import MMedCore

/// A LoRA adapter with its numbers.
public struct LoadedAdapter: Sendable {
    /// Rank, scale, targets and where each matrix lies.
    public let layout: AdapterLayout
    /// The flat vector, as long as `layout.parameterCount`.
    public let values: [Float]
    /// The base model's name as the adapter's config tells it.
    public let baseModel: String?
}

/// Adapter folders as PEFT writes and reads them: `adapter_config.json` and `adapter_model.safetensors`.
public enum AdapterFolder {
    static let configName = "adapter_config.json"
    static let weightsName = "adapter_model.safetensors"

    /// The files that `write` leaves in its folder.
    public static let fileNames: Set<String> = [configName, weightsName]

    /// The bytes that an adapter's digest covers: the layout's signature, a line end, the values as little-endian fp32.
    public static func canonicalContent(_ layout: AdapterLayout, _ values: [Float]) -> [UInt8] {
        Array(layout.signature.utf8) + [0x0A] + littleEndianBytes(of: values)
    }

    /// Writes the folder beside `path` and puts it in place when it is whole and on the disk; a former folder is replaced.
    /// The files' bytes depend on the arguments alone. Throws `internalError` for a wrong count of values, `tryAgain` when
    /// the disk refuses.
    public static func write(
        to path: String, layout: AdapterLayout, values: [Float], baseModel: String? = nil
    ) throws {
        guard values.count == layout.parameterCount else {
            throw MMedError(
                .internalError, at: path, "\(values.count) values were given, expected \(layout.parameterCount)")
        }
        try write(to: path, layout: layout, baseModel: baseModel) { Array(values[$0]) }
    }

    /// The same of numbers that are asked for one matrix at a time. Throws what `values` throws.
    public static func write(
        to path: String, layout: AdapterLayout, baseModel: String?, values: (Range<Int>) throws -> [Float]
    ) throws {
        var ranges: [String: Range<Int>] = [:]
        var tensors: [SafetensorsWriter.Tensor] = []
        for tensor in matrices(of: layout) {
            ranges[tensor.name] = tensor.range
            tensors.append(SafetensorsWriter.Tensor(name: tensor.name, shape: tensor.shape))
        }
        try DurableFile.replaceFolder(path) { folder in
            try SafetensorsWriter.write(to: Paths.join(folder, weightsName), tensors) { tensor in
                try values(ranges[tensor.name] ?? 0..<0)
            }
            let config = configBytes(layout.settings, baseModel: baseModel)
            try DurableFile.write(Paths.join(folder, configName)) { append in try append(config) }
        }
    }

    /// Throws `badData` naming the file when the folder does not hold this adapter to the bit, as `write` leaves it, and what
    /// `values` throws, which is asked for one matrix at a time.
    public static func requireSame(
        at path: String, layout: AdapterLayout, baseModel: String?, values: (Range<Int>) throws -> [Float]
    ) throws {
        func refuse(_ name: String, _ why: String) -> MMedError {
            MMedError(
                .badData, at: Paths.join(path, name), why,
                mend: "the run holds it still: `mmed-coord start --resume` or `mmed-coord export` writes it again")
        }
        for name in [configName, weightsName] where Paths.kind(Paths.join(path, name)) != .file {
            throw refuse(name, "the file is missing")
        }
        let config = try MappedFile(path: Paths.join(path, configName))
        guard try config.bytes(at: 0, count: config.count) == configBytes(layout.settings, baseModel: baseModel) else {
            throw refuse(configName, "it is not what the run wrote (or launch.json names another base model)")
        }
        let weights: SafetensorsFile
        do {
            weights = try SafetensorsFile(path: Paths.join(path, weightsName))
        } catch let error as MMedError where error.kind == .badData {
            throw refuse(weightsName, "it is damaged (\(error.problem))")
        }
        let matrices = matrices(of: layout)
        guard weights.tensors.count == matrices.count else {
            throw refuse(weightsName, "\(weights.tensors.count) tensors, the run wrote \(matrices.count)")
        }
        for matrix in matrices {
            let expected = try values(matrix.range)
            guard let tensor = weights.tensors[matrix.name], tensor.type == .f32, tensor.shape == matrix.shape,
                // By bits: a zero whose sign was turned is another number.
                try weights.values(of: tensor).elementsEqual(expected, by: { $0.bitPattern == $1.bitPattern })
            else { throw refuse(weightsName, "\(matrix.name) is not what the run wrote") }
        }
    }

    private static func configBytes(_ settings: AdapterSettings, baseModel: String?) -> [UInt8] {
        Array((config(settings, baseModel: baseModel).text(sortingKeys: true, indent: 2) + "\n").utf8)
    }

    /// Reads a folder written here or by PEFT, for a model of this shape; the tensors may be F32, F16 or BF16. What plain
    /// LoRA does not have (DoRA, biases, patterns of rank or alpha, other modules) is refused. Throws `badData`.
    public static func read(_ path: String, shape: ModelShape) throws -> LoadedAdapter {
        guard Paths.kind(path) == .folder else {
            throw MMedError(.badData, at: path, "there is no adapter folder", mend: "give a folder as PEFT writes it")
        }
        return try read(
            config: JSONReader(file: Paths.join(path, configName)),
            weights: SafetensorsFile(path: Paths.join(path, weightsName)), shape: shape)
    }

    /// The adapter of a configuration and its weights. Every tensor is found and measured before memory for the numbers is
    /// taken, so that a small folder cannot ask for a large vector.
    static func read(config: JSONReader, weights: SafetensorsFile, shape: ModelShape) throws -> LoadedAdapter {
        let layout = AdapterLayout(settings: try AdapterConfigReader.settings(config, shape: shape), shape: shape)
        let path = weights.file.path
        var found: [(tensor: SafetensorsFile.Tensor, range: Range<Int>)] = []
        var known = Set<String>()
        for matrix in matrices(of: layout) {
            let place = "\(path): \(matrix.name)"
            guard let tensor = weights.tensors[matrix.name] else {
                throw MMedError(.badData, at: place, "the tensor is missing", mend: "export the adapter again")
            }
            guard tensor.shape == matrix.shape else {
                throw MMedError(.badData, at: place, "has shape \(tensor.shape), expected \(matrix.shape)")
            }
            known.insert(matrix.name)
            found.append((tensor, matrix.range))
        }
        if let other = weights.tensors.keys.sorted().first(where: { !known.contains($0) }) {
            throw MMedError(
                .badData, at: "\(path): \(other)", "the tensor is not one that the target modules ask for")
        }
        var values = [Float](repeating: 0, count: layout.parameterCount)
        for (tensor, range) in found { values.replaceSubrange(range, with: try weights.values(of: tensor)) }
        if let index = values.firstIndex(where: { !$0.isFinite }) {
            throw MMedError(.badData, at: path, "value \(index) is \(values[index]), expected finite numbers")
        }
        return LoadedAdapter(
            layout: layout, values: values, baseModel: try config.optional("base_model_name_or_path")?.string())
    }

    /// Name in the file, shape and place in the flat vector of every A and B.
    static func matrices(of layout: AdapterLayout) -> [(name: String, shape: [Int], range: Range<Int>)] {
        let rank = layout.settings.rank
        return layout.pairs.flatMap { pair in
            let module = "base_model.model.\(pair.modulePath)"
            return [
                (
                    name: "\(module).lora_A.weight", shape: [rank, pair.input],
                    range: pair.offsetA..<pair.offsetA + rank * pair.input
                ),
                (
                    name: "\(module).lora_B.weight", shape: [pair.output, rank],
                    range: pair.offsetB..<pair.offsetB + rank * pair.output
                ),
            ]
        }
    }

    /// The content of adapter_config.json.
    static func config(_ settings: AdapterSettings, baseModel: String?) -> JSONValue {
        let alpha = Int(exactly: settings.alpha).map(JSONValue.integer) ?? .number(settings.alpha)
        return .object([
            ("peft_type", .string("LORA")), ("task_type", .string("CAUSAL_LM")),
            ("base_model_name_or_path", baseModel.map(JSONValue.string) ?? .null), ("r", .integer(settings.rank)),
            ("lora_alpha", alpha), ("lora_dropout", .number(0)), ("bias", .string("none")),
            ("target_modules", .array(settings.targets.map { .string($0.rawValue) })),
            ("fan_in_fan_out", .bool(false)), ("use_rslora", .bool(settings.rankStabilised)),
            ("use_dora", .bool(false)), ("modules_to_save", .null), ("inference_mode", .bool(true)),
        ])
    }
}
