"""Golden words and token ids of small byte-level BPE tokenizers, one of each supported pre-tokenizer, by Hugging Face's `tokenizers` 0.22.

usage: python generate.py OUT_DIR
NAME.tokenizer.json   the tokenizer, trained on the texts below
NAME.golden.json      [{"text", "ends": ends of words in code points, or null where an added token is in the text, "ids"}]
"""
import json, random, sys
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

out = sys.argv[1]
special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
modern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|NUMBERS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
level = pre_tokenizers.ByteLevel

def split(numbers):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(modern.replace("NUMBERS", numbers)), "isolated"), level(add_prefix_space=False, use_regex=False)])

kinds = {
    "gpt2": level(add_prefix_space=False, use_regex=True),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level(add_prefix_space=False, use_regex=True)]),
    "qwen2": split(r"\p{N}"),
    "llama3": split(r"\p{N}{1,3}"),
}
words = """The patient is a 54 year old woman with type 2 diabetes; cell size 8 is high, bare nuclei 10 is high. Which of the following is
the most likely diagnosis? A. benign B. malignant. Think briefly in <think></think>, then answer with one letter in <answer></answer>.
<think>glucose 148 is high, so diabetes is likely.</think><answer>B</answer> <think>no relapse.</think><answer>A</answer>
It's what they'd say: we'll see, I'm sure, they've been. naïve café façade β-blocker 日本語のテスト Привет мир 1,000,000 3.14159""".split("\n")
texts = ["", " ", "  ", "\n", "\n\n\n", "\t x", "a  b   c    d", "trailing   ", "   leading", "don't DON'T we'll I'm they've you're he'd it's ca'ſt 'S 'LL 'Re",
    "1234567 89 0", "½ ⅓ ² ³ ① Ⅷ ١٢٣ 4５6", "end.\n\nNext", "end\n\nNext", "end>.\r\n\r\n  x", "x \n y \n\n  z", "\u00a0nbsp \u2028line \u0085nel \u3000wide", "e\u0301 vs é, \ud55c \u1112\u1161\u11ab",
    "a\u200bb \u1d400", "🙂🙃🚑 👩🏽‍⚕️ examines", "foo_bar.baz(qux)[0] += 1;", "…“quoted”—dash–dash", "(a)(b) !x ?! $5", "\x1c\x1d \x0b\x0c\x00", "<|im_start|>user\nHi 1<|im_end|>\n", "a<|endoftext|> b  <|im_end|><|im_end|>", "<|im_<|im_end|>end|>"] + words
alphabet = list("aabcdetsmrlvABSTLéßſñΩжあ漢한'’ \t\n\r  \n 0127½²Ⅷ٣.,;:!?()-_/<>\"$€%…–\u00a0\u2009\u2028\u0085\u200b\u0301\u0327🙂🏽\u200d") + ["'s", "'ll", "'RE", "  ", "\n\n", "\r\n", " the", " 12"]
draw = random.Random(20250207)
for _ in range(150): texts.append("".join(draw.choice(alphabet) for _ in range(draw.randrange(1, 24))))

for name, pre in kinds.items():
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama3"))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    if name == "qwen2": tokenizer.normalizer = normalizers.NFC()
    tokenizer.train_from_iterator(words * 3, trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=level.alphabet(), show_progress=False))
    tokenizer.add_tokens([AddedToken("<mark>", normalized=False)])
    saved = json.loads(tokenizer.to_str())
    if name == "gpt2": saved["model"]["merges"] = [" ".join(pair) for pair in saved["model"]["merges"]]  # the older form
    json.dump(saved, open(f"{out}/{name}.tokenizer.json", "w"), ensure_ascii=False, indent=0)
    rows = []
    for text in texts + ["x <mark>y"]:
        plain = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
        marked = any(token in text for token in special + ["<mark>"])
        ends = None if marked else [end for _, (_, end) in pre.pre_tokenize_str(plain)]
        rows.append({"text": text, "ends": ends, "ids": tokenizer.encode(text, add_special_tokens=False).ids})
    json.dump(rows, open(f"{out}/{name}.golden.json", "w"), ensure_ascii=False, separators=(",", ":"))
