/// The options of a question as they occur in a trace.
struct OptionTexts {
    private let options: [[Character]]
    /// The longest first: `no diabetes` is not an occurrence of `diabetes`.
    private let order: [Int]

    init(_ options: [String]) {
        let texts = options.map(Array.init)
        self.options = texts
        order = texts.indices.sorted { left, right in
            texts[left].count == texts[right].count ? left < right : texts[left].count > texts[right].count
        }
    }

    /// The trace with each option replaced by the one after it (the last by the first): what would have been written if the
    /// answer were the next letter. Nil when the trace names no option.
    func exchanged(in trace: String) -> String? {
        let text = Array(trace)
        var result: [Character] = []
        var isChanged = false
        var place = 0
        while place < text.count {
            guard let found = order.first(where: { occurs(options[$0], in: text, at: place) }) else {
                result.append(text[place])
                place += 1
                continue
            }
            result += options[(found + 1) % options.count]
            place += options[found].count
            isChanged = true
        }
        return isChanged ? String(result) : nil
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
