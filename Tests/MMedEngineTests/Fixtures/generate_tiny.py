"""Tiny random Llama and Qwen2 folders with golden values, by transformers and PEFT on a CPU.

usage: python generate_tiny.py OUT_DIR        (torch 2.13, transformers 5.23, peft 0.21)
OUT_DIR/tiny-llama    own output matrix, four shards, adapter of all seven projections
OUT_DIR/tiny-qwen2    tied embedding, biases, one bf16 file, rsLoRA adapter of four projections
each: config.json, *.safetensors, golden.json, adapter/ (PEFT folder), gradient/ (the same layout, holding dLoss/dWeight)
"""
import json, os, shutil, sys
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

torch.set_num_threads(1)
out = sys.argv[1]
sizes = dict(vocab_size=90, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=None)
cases = {
    "tiny-llama": (LlamaForCausalLM, LlamaConfig(**sizes, rope_theta=10000.0, rms_norm_eps=1e-5, tie_word_embeddings=False),
        torch.float32, "30KB", dict(r=4, lora_alpha=6, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])),
    "tiny-qwen2": (Qwen2ForCausalLM, Qwen2Config(**sizes, rope_theta=1000000.0, rms_norm_eps=1e-6, tie_word_embeddings=True),
        torch.bfloat16, "5GB", dict(r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "v_proj", "o_proj", "down_proj"])),
}
for name, (kind, config, dtype, shard, lora_settings) in cases.items():
    torch.manual_seed(20)
    folder = f"{out}/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    model = kind(config).eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            p.copy_(torch.randn(p.shape) * (0.2 if p.dim() == 1 else p.shape[-1] ** -0.5) + (1 if "norm" in key else 0))
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    if os.path.exists(f"{folder}/generation_config.json"): os.remove(f"{folder}/generation_config.json")

    lora = get_peft_model(model, LoraConfig(**lora_settings, lora_dropout=0.0, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for key, p in lora.named_parameters():
            if "lora_" in key: p.copy_(torch.randn(p.shape) * 0.1)
    lora.save_pretrained(f"{folder}/adapter")

    items, loss, temperature = [], 0.0, 0.7
    for prompt, completion in [(7, 9), (12, 5), (1, 14)]:
        ids = torch.randint(3, 90, (prompt + completion,))
        logits = lora(ids[None]).logits[0]
        with torch.no_grad(), lora.disable_adapter(): bare = lora(ids[None]).logits[0].log_softmax(-1)
        places = torch.arange(prompt - 1, prompt + completion - 1)
        new = (logits / temperature).log_softmax(-1)[places, ids[prompt:]]
        weights = torch.tensor([0.25 + 0.5 * ((3 * t) % 4) - (t % 3) for t in range(completion)])
        loss = loss - (weights * new).sum()
        items.append({"promptIds": ids[:prompt].tolist(), "completionIds": ids[prompt:].tolist(),
            "weights": weights.tolist(), "logprobs": new.tolist(), "bareLogprobs": bare[places, ids[prompt:]].tolist()})
    loss.backward()
    with torch.no_grad():
        for key, p in lora.named_parameters():
            if "lora_" in key: p.copy_(p.grad)
    lora.save_pretrained(f"{folder}/gradient")
    for part in ["adapter", "gradient"]:
        for extra in ["README.md"]:
            if os.path.exists(f"{folder}/{part}/{extra}"): os.remove(f"{folder}/{part}/{extra}")
        path = f"{folder}/{part}/adapter_config.json"
        settings = json.load(open(path))
        settings["base_model_name_or_path"] = name
        settings["target_modules"] = sorted(settings["target_modules"])
        json.dump(settings, open(path, "w"), indent=1, sort_keys=True)
    json.dump({"temperature": temperature, "loss": loss.item(), "items": items}, open(f"{folder}/golden.json", "w"), indent=0)
