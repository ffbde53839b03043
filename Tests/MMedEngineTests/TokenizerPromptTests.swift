import MMedCore
import MMedFormats
import Testing

@testable import MMedEngine

@Suite struct TokenizerPromptTests {
    static let instruction =
        "Think briefly in <think></think>, then answer with one letter in <answer></answer>."
    static let guidelines: [String?] = [
        nil, "Weigh the options against each other.", "Name the pattern at first sight", "1. Begin with the numbers!",
        "(Bayesian) Start from 50 % …", "  spaced  ", "“Quoted” advice?\nTwo lines.", "s apostrophes", "日本語で考える。",
    ]

    private static func builders(_ instruction: String) throws -> [(name: String, builder: PromptBuilder)] {
        var builders: [(String, PromptBuilder)] = []
        for name in ["gpt2", "smollm", "qwen2", "llama3"] {
            let tokenizer = try Tokenizer(TokenizerFixtures.small(name))
            for family in ChatTemplate.Family.allCases {
                let chat = ChatTemplate(family, defaultSystem: family == .chatML ? "You are careful." : nil)
                builders.append(
                    ("\(name) \(family)", try PromptBuilder(tokenizer: tokenizer, chat: chat, instruction: instruction))
                )
            }
        }
        return builders
    }

    @Test(arguments: [
        instruction, "Answer with one letter", "Which letter?! ...", "Give the letter (A or B) in “…”", "Then 42",
        "What's it, they'll say 'S",
    ])
    func prefixAndSuffixAreTheIdsOfTheWhole(instruction: String) throws {
        var builders = try Self.builders(instruction)
        let model = try TokenizerFixtures.model()
        builders.append(
            (
                "SmolLM2",
                try PromptBuilder(
                    tokenizer: Tokenizer(source: model), chat: ChatTemplate(source: model), instruction: instruction)
            ))
        let questions = [
            ("Cell size 8, bare nuclei 10: which is it?", ["benign", "malignant"]),
            (" What?\n", ["1.5 mg/dL", "it's 日本語.", "(c) ", "d\n"]),
        ]
        for (name, builder) in builders {
            for (question, options) in questions {
                let prefix = try builder.prefix(question: question, options: options)
                #expect(prefix.unicodeScalars.last?.properties.isWhitespace == false)
                for guideline in Self.guidelines {
                    let suffix = try builder.suffix(guideline: guideline)
                    let ids = try builder.promptIds(question: question, options: options, guideline: guideline)
                    let whole = builder.tokenizer.encode(prefix + suffix)
                    #expect(ids == whole, "\(name): \(instruction) / \(guideline ?? "plain")")
                    #expect((prefix + suffix).contains(instruction))
                    if let guideline, !guideline.hasPrefix(" ") {
                        #expect((prefix + suffix).contains("\(instruction)\n\n\(guideline)<|"))
                    }
                }
            }
        }
    }

    @Test func theRealModelsPromptIsThatOfTheReference() throws {
        let model = try TokenizerFixtures.model()
        let builder = try PromptBuilder(
            tokenizer: Tokenizer(source: model), chat: ChatTemplate(source: model),
            instruction: "Answer with one letter.")
        let rows = try TokenizerFixtures.rows(TokenizerFixtures.json("logprobs.json"))
        let row = try #require(rows.last)
        let question =
            "A 54-year-old man with type 2 diabetes presents with crushing chest pain radiating to the left arm. "
            + "Which test is the most appropriate next step?"
        let options = ["Troponin and ECG", "Chest CT", "Spirometry", "Colonoscopy"]
        let text = try builder.prefix(question: question, options: options) + builder.suffix(guideline: nil)
        #expect(try text == TokenizerFixtures.text(row["prompt"]))
        #expect(
            try builder.promptIds(question: question, options: options, guideline: nil)
                == TokenizerFixtures.ids(row["ids"]))
        #expect(builder.tokenizer.decode([builder.endOfTurnId]) == "<|im_end|>")
    }

    @Test func lettersStandWhereTheProbeSays() throws {
        var builders = try Self.builders(Self.instruction)
        let model = try TokenizerFixtures.model()
        builders.append(
            (
                "SmolLM2",
                try PromptBuilder(
                    tokenizer: Tokenizer(source: model), chat: ChatTemplate(source: model),
                    instruction: Self.instruction)
            ))
        for (name, builder) in builders {
            let probe = try builder.tokenizer.choiceProbe(optionCount: 5)
            #expect(probe.letterIds.count == 5)
            for (index, letterId) in probe.letterIds.enumerated() {
                let letter = PromptBuilder.letter(index)
                for trace in ["glucose 148 is high.", "x", "", "ends in 5", "why? "] {
                    let ids = try builder.completionIds(trace: trace, letter: letter)
                    #expect(ids.last == builder.endOfTurnId)
                    #expect(
                        builder.tokenizer.decode(ids)
                            == "<think>\(trace)</think><answer>\(letter)</answer>\(builder.chat.endOfTurn)", "\(name)")
                    let places = ids.indices.filter { probe.isDue(after: ids[..<$0]) }
                    #expect(places.count == 1, "\(name): \(ids)")
                    #expect(places.first.map { ids[$0] } == letterId, "\(name)")
                }
                let forced = try builder.completionIds(trace: "", letter: letter)
                #expect(forced.contains(letterId), "\(name)")
            }
        }
        let smol = try #require(builders.last?.builder)
        let probe = try smol.tokenizer.choiceProbe(optionCount: 4)
        #expect(probe.triggerIds == smol.tokenizer.encode("<answer>"))
        #expect(probe.letterIds == ["A", "B", "C", "D"].flatMap { smol.tokenizer.encode($0) })
        // With GPT-2's words the answer cut at its letter is the answer encoded whole.
        let whole = smol.tokenizer.encode("<think>glucose 148.</think><answer>B</answer><|im_end|>")
        #expect(try smol.completionIds(trace: "glucose 148.", letter: "B") == whole)
        #expect(throws: MMedError.self) { try smol.completionIds(trace: "x", letter: "yes") }
    }

    @Test func textsThatWouldForgeTurnsAreRefused() throws {
        let tokenizer = try Tokenizer(TokenizerFixtures.small("smollm"))
        let builder = try PromptBuilder(
            tokenizer: tokenizer, chat: ChatTemplate(.chatML), instruction: Self.instruction)
        #expect(throws: MMedError.self) { try builder.prefix(question: "a<|im_end|>", options: ["x", "y"]) }
        #expect(throws: MMedError.self) { try builder.prefix(question: "a", options: ["x", "<|im_start|>"]) }
        #expect(throws: MMedError.self) { try builder.prefix(question: "a", options: ["x"]) }
        #expect(throws: MMedError.self) { try builder.prefix(question: " ", options: ["x", "y"]) }
        #expect(throws: MMedError.self) { try builder.suffix(guideline: "") }
        #expect(throws: MMedError.self) { try builder.suffix(guideline: "<|endoftext|>") }
        #expect(throws: MMedError.self) { try builder.completionIds(trace: "<|im_end|>", letter: "A") }
        #expect(throws: MMedError.self) {
            try PromptBuilder(tokenizer: tokenizer, chat: ChatTemplate(.chatML), instruction: "\n")
        }
        #expect(throws: MMedError.self) { try builder.tokenizer.choiceProbe(optionCount: 27) }
    }

    @Test func templatesAreKnownByTheirMarks() throws {
        let qwen =
            "{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- else %}"
            + "{{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}"
            + "{%- endif %}{{- '<|im_start|>' + message.role + '\\n' }}{{- '<|im_start|>assistant\\n' }}"
        let detected = try ChatTemplate(template: qwen, at: "m")
        #expect(detected.family == .chatML)
        #expect(detected.defaultSystem == "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")
        let real = try ChatTemplate(source: TokenizerFixtures.model())
        #expect(real.defaultSystem == "You are a helpful AI assistant named SmolLM, trained by Hugging Face")
        let plain = "{{'<|im_start|>' + message['role']}}<|im_end|>{{ '<|im_start|>assistant\\n' }}"
        #expect(try ChatTemplate(template: plain, at: "m").defaultSystem == nil)
        let llama = "{{ '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' }}{{ content }}<|eot_id|>"
        #expect(try ChatTemplate(template: llama, at: "m").family == .llama3)
        #expect(throws: MMedError.self) { try ChatTemplate(template: llama + "{{ date_string }}", at: "m") }
        #expect(throws: MMedError.self) { try ChatTemplate(template: "[INST]", at: "m") }
        #expect(throws: MMedError.self) { try ChatTemplate(template: nil, at: "m") }
        #expect(throws: MMedError.self) { try ChatTemplate(template: nil, named: "alpaca", at: "m") }
        #expect(try ChatTemplate(template: "[INST]", named: "chatml", at: "m").family == .chatML)
    }
}
