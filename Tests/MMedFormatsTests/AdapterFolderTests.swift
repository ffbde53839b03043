import MMedCore
import Testing

@testable import MMedFormats

@Suite struct AdapterFolderTests {
    let scratch: Scratch
    let shape = ModelShape(layerCount: 2, hiddenSize: 6, queryWidth: 8, keyValueWidth: 4, intermediateSize: 10)

    init() throws { scratch = try Scratch() }

    private func values(_ layout: AdapterLayout) -> [Float] {
        let random = CounterRandom(key: 9)
        return (0..<layout.parameterCount).map { Float(random.uniform(UInt64($0))) - 0.5 }
    }

    private func written(_ settings: AdapterSettings) throws -> (path: String, layout: AdapterLayout, values: [Float]) {
        let layout = AdapterLayout(settings: settings, shape: shape)
        let path = scratch.path + "/adapters/v1"
        try AdapterFolder.write(to: path, layout: layout, values: values(layout), baseModel: "base")
        return (path, layout, values(layout))
    }

    @Test(arguments: [
        AdapterSettings(rank: 3, alpha: 6),
        AdapterSettings(rank: 2, alpha: 2.5, rankStabilised: true, targets: [.q, .v]),
        AdapterSettings(rank: 1, alpha: 16, targets: [.down]),
    ])
    func roundTrip(settings: AdapterSettings) throws {
        let (path, layout, values) = try written(settings)
        let read = try AdapterFolder.read(path, shape: shape)
        #expect(read.layout == layout)
        #expect(read.values == values)
        #expect(read.baseModel == "base")
        #expect(
            AdapterFolder.canonicalContent(read.layout, read.values) == AdapterFolder.canonicalContent(layout, values))
        let first = try scratch.read("adapters/v1/adapter_model.safetensors")
        let config = try scratch.read("adapters/v1/adapter_config.json")
        try AdapterFolder.write(to: path, layout: layout, values: values, baseModel: "base")
        #expect(try scratch.read("adapters/v1/adapter_model.safetensors") == first)
        #expect(try scratch.read("adapters/v1/adapter_config.json") == config)
        #expect(scratch.names == ["adapters"])
    }

    @Test func keysAreThoseOfPEFT() throws {
        let (path, layout, values) = try written(AdapterSettings(rank: 3, alpha: 6))
        let file = try SafetensorsFile(path: path + "/adapter_model.safetensors")
        #expect(file.tensors.count == 2 * 7 * 2)
        let name = "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"
        let tensor = try #require(file.tensors[name])
        #expect(tensor.shape == [6, 3])
        let pair = try #require(layout.pairs.last)
        #expect(try file.values(of: tensor) == Array(values[pair.offsetB..<pair.offsetB + 18]))
        #expect(file.tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]?.shape == [3, 6])
    }

    @Test func canonicalContentIsSignatureThenNumbers() {
        let layout = AdapterLayout(settings: AdapterSettings(rank: 1, alpha: 1, targets: [.q]), shape: shape)
        let bytes = AdapterFolder.canonicalContent(layout, [1, -2])
        #expect(bytes == Array(layout.signature.utf8) + [0x0A, 0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0])
    }

    @Test func targetModulesMayBeAListOrAPattern() throws {
        let (path, _, _) = try written(AdapterSettings(rank: 2, alpha: 4, targets: [.q, .k, .up]))
        let ways = [
            #"["up_proj","k_proj","q_proj"]"#, #"["self_attn.q_proj","self_attn.k_proj","up_proj"]"#,
            #""model\\.layers\\..*\\.(q_proj|k_proj|up_proj)""#, #"".*(self_attn\\.[qk]|mlp\\.up)_proj""#,
        ]
        for way in ways {
            try rewrite(path) { $0["target_modules"] = try JSONValue.parse(Array(way.utf8), at: "t") }
            #expect(try AdapterFolder.read(path, shape: shape).layout.settings.targets == [.q, .k, .up], "\(way)")
        }
    }

    private func rewrite(_ path: String, _ body: (inout JSONObject) throws -> Void) throws {
        let config = path + "/adapter_config.json"
        guard case .object(var object) = try JSONReader(file: config).value else { return }
        try body(&object)
        _ = try scratch.file("adapters/v1/adapter_config.json", JSONValue.object(object).text())
    }

    @Test func whatPlainLoRALacksIsRefused() throws {
        let faults: [(key: String, value: String, part: String)] = [
            ("use_dora", "true", "use_dora: is true, expected false"), ("use_qalora", "true", "use_qalora"),
            ("bias", #""all""#, "bias: is all, expected none"), ("lora_bias", "true", "lora_bias"),
            ("fan_in_fan_out", "true", "fan_in_fan_out"), ("rank_pattern", #"{"q_proj":4}"#, "rank_pattern"),
            ("alpha_pattern", #"{"q_proj":4}"#, "alpha_pattern"),
            ("modules_to_save", #"["lm_head"]"#, "modules_to_save"),
            ("layers_to_transform", "[0]", "layers_to_transform"), ("exclude_modules", #""x""#, "exclude_modules"),
            ("peft_type", #""IA3""#, "is IA3, expected LORA"), ("init_lora_weights", #""pissa_niter_4""#, "pissa"),
            ("r", "0", "expected 1 to"), ("r", "1.5", "whole number"), ("r", "99999999999", "expected 1 to"),
            ("r", "3", "has shape [2, 6], expected [3, 6]"), ("lora_alpha", #""x""#, "expected a number"),
            ("target_modules", #"["q_proj","lm_head"]"#, "names lm_head"), ("target_modules", "[]", "selects none"),
            ("target_modules", #"["model.layers.0.self_attn.q_proj"]"#, "in 1 of 2 layers"),
            ("target_modules", #""(""#, "not a regular expression"), ("target_modules", "5", "a list of names"),
            ("target_modules", #"["q_proj","k_proj"]"#, "v_proj.lora_A.weight"),
            ("target_modules", #""all-linear""#, "the tensor is missing"),
        ]
        for (key, value, part) in faults {
            let (path, _, _) = try written(AdapterSettings(rank: 2, alpha: 4, targets: [.q, .k, .v]))
            try rewrite(path) { $0[key] = try JSONValue.parse(Array(value.utf8), at: "t") }
            expectBadData(part, key) { _ = try AdapterFolder.read(path, shape: shape) }
        }
    }

    @Test func brokenFoldersAreRefused() throws {
        expectBadData("there is no adapter folder") { _ = try AdapterFolder.read(scratch.path + "/none", shape: shape) }
        let (path, layout, values) = try written(AdapterSettings(rank: 2, alpha: 4))
        let bytes = try scratch.read("adapters/v1/adapter_model.safetensors")
        for count in stride(from: 0, to: bytes.count, by: 7) {
            _ = try scratch.file("adapters/v1/adapter_model.safetensors", Array(bytes[..<count]))
            expectBadData("adapter_model.safetensors") { _ = try AdapterFolder.read(path, shape: shape) }
        }
        let other = ModelShape(layerCount: 2, hiddenSize: 7, queryWidth: 8, keyValueWidth: 4, intermediateSize: 10)
        try AdapterFolder.write(to: path, layout: layout, values: values)
        expectBadData("has shape") { _ = try AdapterFolder.read(path, shape: other) }
        var broken = values
        broken[3] = .nan
        try AdapterFolder.write(to: path, layout: layout, values: broken)
        expectBadData("value 3 is nan") { _ = try AdapterFolder.read(path, shape: shape) }
        #expect(throws: MMedError.self) { try AdapterFolder.write(to: path, layout: layout, values: [1]) }
        #expect(try AdapterFolder.read(written(layout.settings).path, shape: shape).values == values)
    }

    @Test func aFailedWriteLeavesTheFormerFolder() throws {
        let (path, _, values) = try written(AdapterSettings(rank: 2, alpha: 4))
        #expect(throws: MMedError.self) {
            try DurableFile.replaceFolder(path) { folder in
                try DurableFile.write(folder + "/half") { append in try append([1]) }
                throw MMedError(.internalError, "stop")
            }
        }
        #expect(try AdapterFolder.read(path, shape: shape).values == values)
        #expect(scratch.names == ["adapters"])
    }
}
