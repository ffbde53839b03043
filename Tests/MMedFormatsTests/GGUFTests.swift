import Foundation
import MMedCore
import Testing

@testable import MMedFormats

@Suite struct GGUFTests {
    private func open(_ builder: GGUFBuilder) throws -> ModelSource {
        try open(builder.file().bytes)
    }

    private func open(_ bytes: [UInt8]) throws -> ModelSource {
        let file = MappedFile(copying: bytes, path: "m.gguf")
        return try ModelSource(path: file.path, checking: GGUFModel(file))
    }

    @Test func aSmallModelIsReadWhole() throws {
        let source = try open(.model())
        #expect(
            source.config.shape
                == ModelShape(layerCount: 1, hiddenSize: 32, queryWidth: 32, keyValueWidth: 16, intermediateSize: 32))
        #expect(source.config.architecture == .llama && source.config.tiedEmbeddings && !source.config.hasQKVBias)
        #expect(source.config.vocabularySize == 4 && source.config.headDim == 16 && source.config.eosIds == [0])
        #expect(source.config.rmsEpsilon == 1e-5 && source.config.ropeTheta == 10_000)
        #expect(source.tensorNames.contains("model.layers.0.mlp.gate_proj.weight"))
        #expect(try source.shape(of: "model.layers.0.self_attn.k_proj.weight") == [16, 32])
        var rows: [Float] = []
        try source.rows(of: "model.embed_tokens.weight", 1..<3, into: &rows)
        #expect(rows == (32..<96).map { Float($0) })
        try source.rows(of: "model.norm.weight", 2..<4, into: &rows)
        #expect(rows == [1002, 1003])
        expectBadData("has no rows") { try source.rows(of: "model.norm.weight", 30..<33, into: &rows) }
        expectBadData("missing") { _ = try source.tensor("nothing") }
        let tokenizer = try source.tokenizer()
        #expect(
            tokenizer.tokens == ["<|end|>", "a", "b", "ab"] && tokenizer.splitsDigits && tokenizer.pattern == .gpt2)
        #expect(tokenizer.added == [.init(id: 0, content: "<|end|>", isSpecial: true)])
        #expect(tokenizer.merges == [.init(left: "a", right: "b")])
    }

    /// Found by `make fuzz`: a name that is no more than its prefix.
    @Test(arguments: ["blk.", "blk.0", "blk.0.", "blk..", "blk.0.attn_q", "blk", "", ".", "blk.0.nothing.weight"])
    func aNameThatIsNoTensorsHasNoOther(name: String) {
        #expect(GGUFModel.huggingFaceName(name) == nil)
        #expect(GGUFModel.ggufName(name.replacingOccurrences(of: "blk", with: "model.layers")) == nil)
    }

    @Test func llamaQueryAndKeyRowsAreReordered() throws {
        let source = try open(.model())
        // Stored row 2j + i of a head of 16 is row 8i + j: by hand, rows 0, 1, 8, 9 are stored at 0, 2, 1, 3.
        let queries = try source.tensor("model.layers.0.self_attn.q_proj.weight")
        for (row, stored) in [
            (0, 0), (1, 2), (7, 14), (8, 1), (9, 3), (15, 15), (16, 16), (17, 18), (24, 17), (31, 31),
        ] {
            #expect(queries[row * 32] == Float(4000 + stored * 32), "row \(row)")
        }
        var part: [Float] = []
        try source.rows(of: "model.layers.0.self_attn.q_proj.weight", 8..<10, into: &part)
        #expect(part == Array(queries[8 * 32..<10 * 32]))
        #expect(try source.tensor("model.layers.0.self_attn.k_proj.weight")[32] == 5000 + 2 * 32)
        #expect(try source.tensor("model.layers.0.self_attn.v_proj.weight")[32] == 6000 + 32)
        let qwen = try open(.model("qwen2"))
        #expect(qwen.config.hasQKVBias && qwen.config.architecture == .qwen2)
        #expect(try qwen.tensor("model.layers.0.self_attn.q_proj.weight")[32] == 4000 + 32)
        #expect(try qwen.tensor("model.layers.0.self_attn.k_proj.bias").count == 16)
    }

    @Test func aFileOnTheDiskIsReadAsItsBytesAre() throws {
        let scratch = try Scratch()
        let bytes = GGUFBuilder.model().file().bytes
        let path = try scratch.file("model.gguf", bytes)
        let source = try ModelSource.open(path)
        #expect(source.files == [path])
        #expect(
            try source.tensor("model.layers.0.mlp.up_proj.weight")
                == open(bytes).tensor("model.layers.0.mlp.up_proj.weight"))
        #expect(try MappedFile(path: path).bytes(at: 0, count: 4) == Array("GGUF".utf8))
        let released = try MappedFile(path: path)
        let before = try released.bytes(at: 0, count: released.count)
        released.release(at: 1, count: released.count - 1)
        #expect(try released.bytes(at: 0, count: released.count) == before, "what was given back is read again")
        expectBadData("ends before") { _ = try MappedFile(path: path).bytes(at: bytes.count - 3, count: 4) }
        expectBadData("ends before") { _ = try MappedFile(path: path).bytes(at: Int.max, count: Int.max) }
        expectBadData("model.gguf: byte 0: the file ends") {
            _ = try ModelSource.open(scratch.file("model.gguf", [UInt8]()))
        }
        expectBadData("not a regular file") { _ = try MappedFile(path: scratch.path) }
    }

    @Test func everyTruncationIsOneError() throws {
        let (bytes, _) = GGUFBuilder.model().file()
        let header = Array(bytes[..<2048])
        for count in 0..<header.count {
            expectBadData("m.gguf", "\(count) bytes") { _ = try open(Array(bytes[..<count])) }
        }
        for count in stride(from: 2048, to: bytes.count, by: 97) {
            expectBadData("past the end of the file", "\(count) bytes") { _ = try open(Array(bytes[..<count])) }
        }
    }

    @Test func changedBytesNeverTrap() throws {
        let (bytes, headerCount) = GGUFBuilder.model().file()
        mutate(bytes, count: 4000, seed: 11, within: 0..<headerCount) { changed in
            let source = try open(changed)
            _ = try source.tokenizer()
            for name in source.tensorNames { _ = try source.tensor(name) }
        }
    }

    @Test func eachFaultIsNamed() throws {
        let faults: [(String, (inout GGUFBuilder) -> Void)] = [
            ("does not begin with GGUF", { $0.magic = Array("GGML".utf8) }),
            ("version 2, expected 3", { $0.version = 2 }), ("version 50331648", { $0.version = UInt32(3).byteSwapped }),
            ("number of tensors is \(UInt64.max)", { $0.tensorCount = .max }),
            ("number of metadata values is \(1 << 60)", { $0.valueCount = 1 << 60 }),
            ("expected 0 to 12", { $0.set("x", 13, []) }),
            (
                "element count of x is",
                { $0.set("x", 9, GGUFBuilder.bytes(UInt32(10)) + GGUFBuilder.bytes(UInt64.max)) }
            ),
            ("elements of type 99", { $0.set("x", 9, GGUFBuilder.bytes(UInt32(99)) + GGUFBuilder.bytes(UInt64(1))) }),
            ("length of the value of x", { $0.set("x", 8, GGUFBuilder.bytes(UInt64.max)) }),
            ("is not UTF-8", { $0.set("x", 8, GGUFBuilder.bytes(UInt64(2)) + [0xC3, 0x28]) }),
            ("expected 0 or 1", { $0.set("x", 7, [2]) }),
            (
                "nests arrays deeper",
                {
                    let level = GGUFBuilder.bytes(UInt32(9)) + GGUFBuilder.bytes(UInt64(1))
                    $0.set("x", 9, Array([[UInt8]](repeating: level, count: 40).joined()))
                }
            ),
            ("appears twice", { $0.values.append($0.values[0]) }),
            ("the tensor appears twice", { $0.tensors.append($0.tensors[1]) }),
            ("expected a power of two", { $0.set("general.alignment", UInt32(24)) }),
            ("general.alignment", { $0.set("general.alignment", UInt32(0)) }),
            ("is bert, expected llama or qwen2", { $0.set("general.architecture", "bert") }),
            ("is not a string", { $0.set("general.architecture", UInt32(1)) }),
            ("llama.block_count: is missing", { $0.values.removeAll { $0.key == "llama.block_count" } }),
            ("layer count is 0", { $0.set("llama.block_count", UInt32(0)) }),
            ("layer count is 4294967295", { $0.set("llama.block_count", UInt32.max) }),
            ("cannot share", { $0.set("llama.attention.head_count_kv", UInt32(3)) }),
            ("token id 9", { $0.set("tokenizer.ggml.eos_token_id", UInt32(9)) }),
            ("scales its rotary", { $0.set("llama.rope.scaling.type", "linear") }),
            ("is 8, expected the head dimension 16", { $0.set("llama.rope.dimension_count", UInt32(8)) }),
            ("blk.1.attn_q.weight", { $0.change("blk.0.attn_q.weight") { $0.name = "blk.1.attn_q.weight" } }),
            (
                "no part of a llama model",
                {
                    $0.tensors[10].name = "blk.0.ffn_moe.weight"; $0.tensors.append(GGUFBuilder.model().tensors[10])
                }
            ),
        ]
        for (part, change) in faults {
            var builder = GGUFBuilder.model()
            change(&builder)
            let part = part == "blk.1.attn_q.weight" ? "self_attn.q_proj.weight: the tensor is missing" : part
            expectBadData(part) { _ = try open(builder) }
        }
    }

    @Test func eachTensorFaultIsNamed() throws {
        let faults: [(String, (inout GGUFBuilder.Tensor) -> Void)] = [
            ("0 dimensions", { $0.dimensions = [] }), ("5 dimensions", { $0.dimensions = [1, 1, 1, 1, 1] }),
            ("dimension of 0", { $0.dimensions = [32, 0] }),
            ("dimension of \(UInt64.max)", { $0.dimensions = [.max, 2] }),
            ("size that fits", { $0.dimensions = [1 << 40, 1 << 40] }),
            ("size that fits", { $0.dimensions = [1 << 62, 1] }),
            ("past the end", { $0.dimensions = [1 << 40, 1] }),
            ("element type 12 (Q4_K)", { $0.type = 12 }), ("element type 77", { $0.type = 77 }),
            (
                "whole Q4_0 blocks",
                {
                    $0.type = 2; $0.dimensions = [16, 64]
                }
            ),
            ("multiple of 32", { $0.offset = 33 }), ("past the end", { $0.offset = 1 << 40 }),
            ("begins at \(UInt64.max - 31)", { $0.offset = .max - 31 }),
            ("past the end", { $0.offset = UInt64(Int.max) & ~31 }), ("overlaps", { $0.offset = 0 }),
            ("has shape [16, 64], expected [32, 32]", { $0.dimensions = [64, 16] }),
        ]
        for (part, change) in faults {
            var builder = GGUFBuilder.model()
            builder.change("blk.0.ffn_up.weight", change)
            expectBadData(part) { _ = try open(builder) }
        }
    }

    @Test func tokenizerFaultsAreNamed() throws {
        let faults: [(String, (inout GGUFBuilder) -> Void)] = [
            ("is llama, expected gpt2", { $0.set("tokenizer.ggml.model", "llama") }),
            ("is chatglm, expected", { $0.set("tokenizer.ggml.pre", "chatglm") }),
            ("has 2 entries", { $0.set("tokenizer.ggml.token_type", [1, 1] as [Int32]) }),
            ("merges[0]", { $0.set("tokenizer.ggml.merges", ["ab"]) }),
            ("merges[1]", { $0.set("tokenizer.ggml.merges", ["a b", "a b c"]) }),
            ("merges[0]", { $0.set("tokenizer.ggml.merges", [" b"]) }),
            ("array of strings", { $0.set("tokenizer.ggml.tokens", [1] as [Int32]) }),
            ("tokens: is missing", { $0.values.removeAll { $0.key == "tokenizer.ggml.tokens" } }),
        ]
        for (part, change) in faults {
            var builder = GGUFBuilder.model()
            change(&builder)
            let source = try open(builder)
            expectBadData(part) { _ = try source.tokenizer() }
        }
    }
}
