import MMedEngine

/// The options of a question as they occur in a trace.
struct OptionTexts {
    private let options: [[Character]]
    private let style: OptionStyle
    /// The longest first: `no diabetes` is not an occurrence of `diabetes`.
    private let order: [Int]

    init(_ options: [String], style: OptionStyle) {
        let texts = options.map(Array.init)
        self.options = texts
        self.style = style
        order = texts.indices.sorted { left, right in
            texts[left].count == texts[right].count ? left < right : texts[left].count > texts[right].count
        }
    }

    /// The trace with a letter beside the last option it names, which is its conclusion; as it is when it names none.
    func cited(in trace: String) -> String {
        let text = Array(trace)
        var last: (place: Int, option: Int)?
        var place = 0
        while place < text.count {
            guard let found = order.first(where: { occurs(options[$0], in: text, at: place) }) else {
                place += 1
                continue
            }
            last = (place, found)
            place += options[found].count
        }
        guard let last else { return trace }
        let written = style.written(String(options[last.option]), PromptBuilder.letter(last.option))
        return String(text[..<last.place]) + written + String(text[(last.place + options[last.option].count)...])
    }

    /// As whole words.
    private func occurs(_ option: [Character], in text: [Character], at place: Int) -> Bool {
        let end = place + option.count
        guard !option.isEmpty, end <= text.count, text[place..<end].elementsEqual(option) else { return false }
        func isInside(_ index: Int) -> Bool {
            text.indices.contains(index) && (text[index].isLetter || text[index].isNumber)
        }
        let opens = option.first.map { $0.isLetter || $0.isNumber } ?? false
        let closes = option.last.map { $0.isLetter || $0.isNumber } ?? false
        return !(opens && isInside(place - 1)) && !(closes && isInside(end))
    }
}
