import MMedCore

@testable import MMedFormats

extension FuzzTarget {
    /// JSON, and what the project reads out of it: a model's config.json.
    static let json = FuzzTarget(name: "json", lengthMost: 4096, seeds: { JSONSeeds.texts() }) { bytes in
        let budget = 512 * bytes.count + (64 << 10)
        guard let value = try reading("JSONValue.parse", budget: budget, { try JSONValue.parse(bytes, at: "fuzz") })
        else { return }
        for (sortingKeys, indent) in [(false, 0), (false, 2), (true, 1)] {
            let text = value.text(sortingKeys: sortingKeys, indent: indent)
            let again = try rereading("JSONValue.parse") { try JSONValue.parse(Array(text.utf8), at: "again") }
            let rewritten = again.text(sortingKeys: sortingKeys, indent: indent)
            try demand(rewritten == text, "JSON changed when it was written again: \(text) became \(rewritten)")
            if !sortingKeys { try demand(again == value, "a value changed when it was written: \(text)") }
        }
        if let config = try reading(
            "config.json", budget: budget, { try HuggingFaceConfig.read(JSONReader(value, at: "config.json")) })
        {
            let tensors = config.expectedTensors
            try demand(
                tensors.allSatisfy { checkedProduct($0.shape) != nil }, "config.json asks for tensors of no size")
            try demand(config.shape.queryWidth == config.headCount * config.headDim, "the query width is wrong")
        }
    }
}

/// Texts with every kind of value, and configurations of models.
enum JSONSeeds {
    static func texts() -> [(name: String, bytes: [UInt8])] {
        let llama = """
            {"model_type":"llama","hidden_act":"silu","num_hidden_layers":1,"hidden_size":8,"num_attention_heads":2,\
            "num_key_value_heads":1,"intermediate_size":8,"vocab_size":9,"max_position_embeddings":64,\
            "rope_theta":10000.0,"rms_norm_eps":1e-05,"tie_word_embeddings":true,"bos_token_id":1,"eos_token_id":[2,3]}
            """
        let qwen2 = """
            {"model_type":"qwen2","num_hidden_layers":1,"hidden_size":8,"num_attention_heads":2,"head_dim":4,\
            "intermediate_size":8,"vocab_size":9,"eos_token_id":2,"use_sliding_window":false,\
            "rope_scaling":{"rope_type":"default","rope_theta":1e6}}
            """
        let kinds =
            #"[null,true,false,0,-1,9223372036854775807,1.5,-2e-3,"",{"a":{},"é":[]},"\"\\\/\b\f\n\r\t\ud83d\ude42"]"#
        return [
            ("kinds", Array(kinds.utf8)), ("spaced", Array(" {\n\t\"a\" : [ 1 , 2 ] \r}\n".utf8)),
            ("deep", Array((String(repeating: "[", count: 63) + String(repeating: "]", count: 63)).utf8)),
            ("llama", Array(llama.utf8)), ("qwen2", Array(qwen2.utf8)),
        ]
    }
}
