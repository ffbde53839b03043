import MMedAlgorithms
import MMedCore
import MMedFormats

@testable import MMedEngine

extension FuzzTarget {
    /// Texts of people and models: tokens and back, prompts, the answer form, chat templates. The first byte chooses the
    /// tokenizer; zero bytes part the rest into instruction, guideline, question and options.
    static let text = FuzzTarget(name: "text", lengthMost: 512, seeds: { TextSeeds.texts() }) { bytes in
        let tokenizer = try TextSeeds.tokenizers[Int(bytes.first ?? 0) % TextSeeds.tokenizers.count].get()
        let text = String(decoding: bytes.dropFirst(), as: UTF8.self)
        try checkTokens(of: text, tokenizer)
        try checkChatTemplate(text)
        let fields = text.split(separator: "\0", omittingEmptySubsequences: false).map(String.init)
        try checkAnswer(text, options: fields)
        try checkPrompt(fields, tokenizer)
    }

    private static func checkTokens(of text: String, _ tokenizer: Tokenizer) throws {
        let words = tokenizer.words(of: text)
        try demand(words.flatMap { $0 } == Array(text.utf8), "the words of \(text) are not the text")
        try demand(words.allSatisfy { !$0.isEmpty }, "a word of \(text) is empty")
        for parseSpecial in [true, false] {
            let ids = tokenizer.encode(text, parseSpecial: parseSpecial)
            // As bytes: to Swift two spellings of one letter are equal.
            try demand(
                tokenizer.decode(ids).utf8.elementsEqual(text.utf8), "\(text) came back as \(tokenizer.decode(ids))")
            var decoder = StreamDecoder(tokenizer)
            let pieces = ids.map { decoder.append($0) }
            let whole = (pieces + [decoder.finish()]).joined()
            try demand(whole.utf8.elementsEqual(text.utf8), "the stream of \(text) is \(pieces)")
        }
    }

    /// A family, and a turn that holds the user's text once.
    static func checkChatTemplate(_ template: String?) throws {
        let chat = try reading("ChatTemplate", budget: 1 << 30, { try ChatTemplate(template: template, at: "fuzz") })
        guard let chat else { return }
        let turn = chat.turn(user: "\u{1}")
        try demand(
            turn.hasPrefix(chat.opening(system: nil)) && turn.hasSuffix(chat.closing), "a turn has lost its marks")
    }

    /// The strict reading never says other than the lenient one, and pays what it says.
    private static func checkAnswer(_ text: String, options: [String]) throws {
        let options = options.count < 2 ? ["no", "yes"] : Array(options.prefix(26))
        for isFinished in [true, false] {
            let settings = RewardSettings(formatBonus: 0.1)
            let parts = try reading("reward", budget: 1 << 30) {
                try reward(text: text, options: options, answer: 1, isFinished: isFinished, settings: settings)
            }
            guard let parts else { throw Finding(description: "\(options.count) options were refused") }
            let strict = AnswerForm.parse(text, optionCount: options.count)
            try demand(parts.strictOption == (isFinished ? strict : nil), "an unfinished path has a strict answer")
            try demand(
                strict == nil || LenientAnswer.parse(text, options: options) == strict, "the readings differ: \(text)")
            try demand(parts.lenientOption.map(options.indices.contains) ?? true, "no such option")
            let expected = parts.strictOption.map { $0 == 1 ? 1.1 : 0.1 } ?? 0
            try demand(parts.total == expected, "the reward is \(parts.total), expected \(expected)")
        }
    }

    /// The ids of a prompt are those of prefix and suffix encoded apart, and those of the whole.
    private static func checkPrompt(_ fields: [String], _ tokenizer: Tokenizer) throws {
        guard fields.count >= 5 else { return }
        let options = Array(fields[3...])
        let chat = ChatTemplate(.chatML, defaultSystem: "Be brief.")
        guard
            let builder = try reading(
                "PromptBuilder", budget: 1 << 30,
                { try PromptBuilder(tokenizer: tokenizer, chat: chat, instruction: fields[0]) })
        else { return }
        for guideline in [fields[1], nil] {
            let prompt = try reading("prompt", budget: 1 << 30) { () -> (ids: [Int32], text: String) in
                let ids = try builder.promptIds(question: fields[2], options: options, guideline: guideline)
                let text = try builder.prefix(question: fields[2], options: options)
                return (ids, text + (try builder.suffix(guideline: guideline)))
            }
            guard let prompt else { continue }
            try demand(prompt.ids == tokenizer.encode(prompt.text), "the cut changes the ids of \(prompt.text)")
        }
    }
}

/// Prompts, answers and templates, and the tokenizers that they are read with.
enum TextSeeds {
    /// One of each pattern, with all bytes and a few merges.
    static let tokenizers: [Result<Tokenizer, any Error>] = [
        definition(.gpt2), definition(.gpt2, splitsDigits: true), definition(.qwen2),
        definition(.llama3, ignoresMerges: true),
    ].map { definition in Result { try Tokenizer(definition) } }

    private static func definition(
        _ pattern: TokenizerDefinition.Pattern, splitsDigits: Bool = false, ignoresMerges: Bool = false
    ) -> TokenizerDefinition {
        let special = ["<|im_start|>", "<|im_end|>"]
        let merges = [("a", "n"), ("Ġ", "a"), (".", "Ċ"), ("Ċ", "Ċ"), ("'", "t"), ("Ã", "©"), ("1", "2"), (">", "<")]
        let letters = ByteAlphabet.characters.map { String(Character($0)) }
        return TokenizerDefinition(
            tokens: special + letters + merges.map { $0.0 + $0.1 },
            merges: merges.map { TokenizerDefinition.Merge(left: $0.0, right: $0.1) },
            added: special.enumerated().map { .init(id: Int32($0), content: $1, isSpecial: true) }, pattern: pattern,
            splitsDigits: splitsDigits, ignoresMerges: ignoresMerges, place: "fuzz")
    }

    static func texts() -> [(name: String, bytes: [UInt8])] {
        let prompt = [
            "Think, then answer.\nWrite one letter.", "First list 12 causes.", "A man of 45 can't sleep.", "Yes",
            "No é",
        ].joined(separator: "\0")
        let llama3 = "<|start_header_id|>system<|end_header_id|>\\n\\nBe kind.<|eot_id|>{{ x }}"
        let answers = [
            "<think>x</think> <answer> B </answer>\n", "<answer>b", "</think> the answer is: (C).", "B) asthma",
        ]
        let texts: [(name: String, text: String)] =
            [("chatml", "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>assistant\n"), ("llama3", llama3)]
            + answers.enumerated().map { ("answer-\($0)", $1) } + (0..<4).map { ("prompt-\($0)", prompt) }
        return texts.enumerated().map { index, seed in (seed.name, [UInt8(index % 4)] + Array(seed.text.utf8)) }
    }
}
