import MMedCore
import Testing

@testable import MMedFormats

@Suite struct HuggingFaceTests {
    let scratch: Scratch
    private var folder: String { scratch.path + "/tiny" }

    init() throws {
        scratch = try Scratch()
        try TinyModel.write(to: scratch.path + "/tiny", seed: 7)
    }

    @Test func theTinyModelIsReadBackAndDependsOnItsSeed() throws {
        let source = try ModelSource.open(folder)
        #expect(source.config == TinyModel.config)
        #expect(source.tensorNames == TinyModel.config.expectedTensors.map(\.name).sorted())
        #expect(try source.tensor("model.norm.weight") == [Float](repeating: 1, count: 64))
        let values = try source.tensor("model.layers.1.mlp.down_proj.weight")
        #expect(values.count == 64 * 128 && values.allSatisfy { abs($0) <= 0.1531 } && Set(values).count > 8000)
        #expect(try source.chatTemplate?.contains("<|im_start|>") == true)
        let first = try scratch.read("tiny/model.safetensors")
        try TinyModel.write(to: folder, seed: 7)
        #expect(try scratch.read("tiny/model.safetensors") == first)
        try TinyModel.write(to: folder, seed: 8)
        #expect(try scratch.read("tiny/model.safetensors") != first)
        #expect(scratch.names == ["tiny"])
    }

    @Test func aQwen2FolderHasBiases() throws {
        var config = TinyModel.config
        config.architecture = .qwen2
        config.hasQKVBias = true
        config.tiedEmbeddings = false
        try TinyModel.write(to: folder, config: config, seed: 1)
        let source = try ModelSource.open(folder)
        #expect(source.config == config)
        #expect(try source.shape(of: "model.layers.0.self_attn.k_proj.bias") == [32])
        #expect(try source.shape(of: "lm_head.weight") == [config.vocabularySize, 64])
    }

    @Test func shardsAreFoundByTheirIndex() throws {
        let whole = try ModelSource.open(folder)
        let names = whole.tensorNames
        var map: [(String, JSONValue)] = []
        for (index, part) in [names.prefix(5), names.dropFirst(5)].enumerated() {
            let shard = "model-0000\(index + 1)-of-00002.safetensors"
            let tensors = try part.map { SafetensorsWriter.Tensor(name: $0, shape: try whole.shape(of: $0)) }
            try SafetensorsWriter.write(to: folder + "/" + shard, tensors) { try whole.tensor($0.name) }
            map += part.map { ($0, .string(shard)) }
        }
        _ = try scratch.file(
            "tiny/model.safetensors.index.json", JSONValue.object([("weight_map", .object(map))]).text())
        let sharded = try ModelSource.open(folder)
        #expect(sharded.files.count == 3)
        for name in names { #expect(try sharded.tensor(name) == whole.tensor(name)) }
        map[2].1 = .string("../x.safetensors")
        _ = try scratch.file(
            "tiny/model.safetensors.index.json", JSONValue.object([("weight_map", .object(map))]).text())
        expectBadData("expected the name of a .safetensors file") { _ = try ModelSource.open(folder) }
        map[2].1 = map[15].1
        _ = try scratch.file(
            "tiny/model.safetensors.index.json", JSONValue.object([("weight_map", .object(map))]).text())
        expectBadData("the tensor is missing, expected by") { _ = try ModelSource.open(folder) }
    }

    private func change(_ file: String, _ body: (inout JSONObject) throws -> Void) throws {
        guard case .object(var object) = try JSONReader(file: folder + "/" + file).value else { return }
        try body(&object)
        _ = try scratch.file("tiny/" + file, JSONValue.object(object).text())
    }

    @Test func configFaultsAreNamed() throws {
        let faults: [(key: String, value: String?, part: String)] = [
            ("model_type", #""mistral""#, "is mistral, expected llama or qwen2"), ("model_type", nil, "is missing"),
            ("num_hidden_layers", "0", "layer count is 0"),
            ("num_hidden_layers", "3", "layers.2.input_layernorm.weight"),
            ("num_hidden_layers", "1", "no part of a llama model"), ("num_hidden_layers", #""two""#, "whole number"),
            ("hidden_size", "32", "has shape"), ("num_key_value_heads", "3", "cannot share"),
            ("num_attention_heads", "0", "head count is 0"), ("head_dim", "15", "even number"),
            ("hidden_act", #""gelu""#, "expected silu"), ("attention_bias", "true", "attention_bias"),
            ("rope_theta", "-1", "rotary base"), ("rope_scaling", #"{"type":"linear","factor":2}"#, "by linear"),
            ("rope_parameters", #"{"rope_type":"llama3"}"#, "by llama3"), ("rms_norm_eps", "0", "epsilon"),
            ("eos_token_id", "100000", "outside the vocabulary"), ("eos_token_id", "[2,-1]", "a token id"),
            ("quantization_config", "{}", "quantization_config"), ("vocab_size", "9999999999999999", "vocabulary size"),
            ("tie_word_embeddings", "false", "lm_head.weight: the tensor is missing"),
        ]
        for (key, value, part) in faults {
            try TinyModel.write(to: folder, seed: 7)
            try change("config.json") { $0[key] = try value.map { try JSONValue.parse(Array($0.utf8), at: "t") } }
            expectBadData(part, key) { _ = try ModelSource.open(folder) }
        }
        _ = try scratch.file("tiny/config.json", "{\"a\":")
        expectBadData("config.json:1:6") { _ = try ModelSource.open(folder) }
        expectBadData("there is no model") { _ = try ModelSource.open(scratch.path + "/none") }
        expectBadData("config.json: cannot be opened") { _ = try ModelSource.open(scratch.path) }
    }

    @Test func newerConfigsKeepTheRotaryBaseApart() throws {
        try change("config.json") {
            $0["rope_theta"] = nil
            $0["rope_parameters"] = .object([("rope_theta", .number(5e5)), ("rope_type", .string("default"))])
        }
        #expect(try ModelSource.open(folder).config.ropeTheta == 500_000)
    }

    @Test func chatTemplatesAreFoundWhereTheyAre() throws {
        _ = try scratch.file("tiny/chat_template.jinja", "by itself")
        #expect(try ModelSource.open(folder).chatTemplate == "by itself")
        try TinyModel.write(to: folder, seed: 7)
        try change("tokenizer_config.json") {
            let named = [("tool_use", "x"), ("default", "the default")]
            $0["chat_template"] = .array(
                named.map { .object([("name", .string($0.0)), ("template", .string($0.1))]) })
        }
        #expect(try ModelSource.open(folder).chatTemplate == "the default")
        try change("tokenizer_config.json") { $0["chat_template"] = nil }
        #expect(try ModelSource.open(folder).chatTemplate == nil)
        try change("tokenizer_config.json") { $0["chat_template"] = .integer(1) }
        expectBadData("expected a string") { _ = try ModelSource.open(folder).chatTemplate }
    }
}
