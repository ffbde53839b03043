import MMedCore
public import MMedFormats

/// How a conversation is written for a model: one of the known families, with the model's own default system text.
public struct ChatTemplate: Hashable, Sendable {
    /// A way of marking turns.
    public enum Family: String, CaseIterable, Sendable {
        /// `<|im_start|>role … <|im_end|>`: SmolLM2, Qwen2 and many others.
        case chatML = "chatml"
        /// `<|start_header_id|>role<|end_header_id|> … <|eot_id|>`.
        case llama3
    }

    /// How turns are marked.
    public let family: Family
    /// What the model was trained to see where the user gives no system text; nil: no system turn.
    public let defaultSystem: String?

    /// A family with a default system text.
    public init(_ family: Family, defaultSystem: String? = nil) {
        self.family = family
        self.defaultSystem = defaultSystem
    }

    /// The template of a model, known by the marks in its template text. `named` (a family's raw value) decides where the model
    /// has none or an unknown one. Throws `badData` when neither tells, `badConfig` when the name is unknown.
    public init(source: ModelSource, named: String? = nil) throws {
        try self.init(template: source.chatTemplate, named: named, at: source.path)
    }

    /// As above, from the template's text itself.
    public init(template: String?, named: String? = nil, at place: String) throws {
        let known = template.flatMap(ChatTemplate.family)
        guard let named else {
            guard let known else {
                let found =
                    template == nil
                    ? "the model has no chat template" : "the model's chat template is of no known family"
                throw MMedError(.badData, at: place, found, mend: "name one in the config: \(ChatTemplate.names)")
            }
            self.init(known, defaultSystem: template.flatMap { ChatTemplate.defaultSystem(in: $0, known) })
            return
        }
        guard let family = Family(rawValue: named) else {
            throw MMedError(.badConfig, "\"\(named)\" is not a chat template, expected \(ChatTemplate.names)")
        }
        self.init(
            family,
            defaultSystem: family == known ? template.flatMap { ChatTemplate.defaultSystem(in: $0, family) } : nil)
    }

    private static let names = Family.allCases.map(\.rawValue).joined(separator: " or ")

    private static func family(_ template: String) -> Family? {
        if template.contains("<|im_start|>"), template.contains("<|im_end|>"),
            template.contains("<|im_start|>assistant")
        {
            return .chatML
        }
        // From 3.1 on the template writes dates into the system turn, which would make prompts differ from day to day.
        if template.contains("<|start_header_id|>"), template.contains("<|eot_id|>"), !template.contains("date_string")
        {
            return .llama3
        }
        return nil
    }

    /// The literal text of a system turn in the template; in Jinja a line end is often written as an escape.
    private static func defaultSystem(in template: String, _ family: Family) -> String? {
        let (openings, close) =
            switch family {
            case .chatML: (["<|im_start|>system\n", "<|im_start|>system\\n"], "<|im_end|>")
            case .llama3: (["system<|end_header_id|>\n\n", "system<|end_header_id|>\\n\\n"], "<|eot_id|>")
            }
        for opening in openings {
            for part in pieces(of: template, after: opening) {
                guard let end = part.firstRange(of: close) else { continue }
                let text = part[..<end.lowerBound]
                if !text.isEmpty, !text.contains(where: { "'\"{}".contains($0) }) { return String(text) }
            }
        }
        return nil
    }

    private static func pieces(of text: String, after mark: String) -> [Substring] {
        text.ranges(of: mark).map { text[$0.upperBound...] }
    }

    /// A conversation of one user turn with the default system text, open where the model answers.
    public func turn(user text: String) -> String { opening(system: nil) + text + closing }

    /// Everything before the user's own text; a nil `system` means the default.
    func opening(system: String?) -> String {
        let system = system ?? defaultSystem
        switch family {
        case .chatML:
            return (system.map { "<|im_start|>system\n\($0)<|im_end|>\n" } ?? "") + "<|im_start|>user\n"
        case .llama3:
            let turn = system.map { "<|start_header_id|>system<|end_header_id|>\n\n\($0)<|eot_id|>" } ?? ""
            return "<|begin_of_text|>\(turn)<|start_header_id|>user<|end_header_id|>\n\n"
        }
    }

    /// Everything after the user's own text, up to where the model answers.
    var closing: String {
        switch family {
        case .chatML: "<|im_end|>\n<|im_start|>assistant\n"
        case .llama3: "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        }
    }

    /// The text of the token that ends a turn.
    public var endOfTurn: String {
        switch family {
        case .chatML: "<|im_end|>"
        case .llama3: "<|eot_id|>"
        }
    }

    /// The tokens that the family needs.
    var marks: [String] {
        switch family {
        case .chatML: ["<|im_start|>", "<|im_end|>"]
        case .llama3: ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
        }
    }
}
