import MMedFormats

/// Cuts a text into the words within which BPE merges. The patterns are those of GPT-2 (Radford et al. 2019), Qwen2 and
/// Llama 3, written out as scanners: alternatives in their order, each as greedy as the regular expression is.
struct PreTokenizer: Sendable {
    let pattern: TokenizerDefinition.Pattern
    let splitsDigits: Bool

    /// Ends of the words, as indices into the code points; the last is the count, and there are none for an empty text.
    func ends(in scalars: [Unicode.Scalar]) -> [Int] {
        let classes = scalars.map { ScalarClass($0) }
        guard splitsDigits else {
            var ends: [Int] = []
            scan(scalars, classes, 0..<scalars.count, into: &ends)
            return ends
        }
        var ends: [Int] = []
        var start = 0
        for index in classes.indices where classes[index] == .number {
            scan(scalars, classes, start..<index, into: &ends)
            ends.append(index + 1)
            start = index + 1
        }
        scan(scalars, classes, start..<scalars.count, into: &ends)
        return ends
    }

    private func scan(
        _ scalars: [Unicode.Scalar], _ classes: [ScalarClass], _ range: Range<Int>, into ends: inout [Int]
    ) {
        let run = ScalarRun(scalars: scalars, classes: classes, end: range.upperBound)
        var position = range.lowerBound
        while position < range.upperBound {
            position = pattern == .gpt2 ? run.gpt2Word(position) : run.modernWord(position, numbersMost: numbersMost)
            ends.append(position)
        }
    }

    private var numbersMost: Int { pattern == .llama3 ? 3 : 1 }
}

/// Code points up to an end that the patterns take for the end of the text.
private struct ScalarRun {
    let scalars: [Unicode.Scalar]
    let classes: [ScalarClass]
    let end: Int

    /// The end of the word that begins here:
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    func gpt2Word(_ start: Int) -> Int {
        if let contraction = contraction(start, anyCase: false) { return contraction }
        let body = scalars[start] == " " && start + 1 < end ? start + 1 : start
        if !classes[body].isSpace { return past(body, classes[body]) }
        return spaces(start)
    }

    /// The end of the word that begins here, `numbersMost` being 1 or 3:
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    func modernWord(_ start: Int, numbersMost: Int) -> Int {
        if let contraction = contraction(start, anyCase: true) { return contraction }
        switch classes[start] {
        case .letter: return past(start, .letter)
        case .space, .other:
            if start + 1 < end, classes[start + 1] == .letter { return past(start + 1, .letter) }
        case .number: return min(past(start, .number), start + numbersMost)
        case .lineEnd: break
        }
        let body = scalars[start] == " " && start + 1 < end ? start + 1 : start
        if classes[body] == .other { return past(past(body, .other), .lineEnd) }
        let runEnd = pastSpaces(start)
        if let line = (start..<runEnd).last(where: { classes[$0] == .lineEnd }) { return line + 1 }
        return spaces(start)
    }

    /// `\s+(?!\S)|\s+`: the last space of a run is left to the word that follows, unless it is the only one.
    private func spaces(_ start: Int) -> Int {
        let runEnd = pastSpaces(start)
        return runEnd == end || runEnd == start + 1 ? runEnd : runEnd - 1
    }

    private func past(_ start: Int, _ kind: ScalarClass) -> Int {
        var position = start
        while position < end, classes[position] == kind { position += 1 }
        return position
    }

    private func pastSpaces(_ start: Int) -> Int {
        var position = start
        while position < end, classes[position].isSpace { position += 1 }
        return position
    }

    private func contraction(_ start: Int, anyCase: Bool) -> Int? {
        guard scalars[start] == "'", start + 1 < end else { return nil }
        let first = folded(scalars[start + 1], anyCase)
        if first == "s" || first == "t" || first == "m" || first == "d" { return start + 2 }
        guard start + 2 < end else { return nil }
        switch (first, folded(scalars[start + 2], anyCase)) {
        case ("r", "e"), ("v", "e"), ("l", "l"): return start + 3
        default: return nil
        }
    }

    private func folded(_ scalar: Unicode.Scalar, _ anyCase: Bool) -> Unicode.Scalar {
        guard anyCase else { return scalar }
        // The long s is the one letter outside ASCII whose simple case folding is one of these letters.
        if scalar == "\u{17F}" { return "s" }
        return ("A"..."Z").contains(scalar) ? Unicode.Scalar(UInt8(scalar.value) + 32) : scalar
    }
}
