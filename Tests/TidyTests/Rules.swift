import Foundation

/// A broken rule, as a compiler would print it.
struct Violation: Equatable, CustomStringConvertible {
    var path: String
    var line: Int
    var rule: String

    var description: String { "\(path):\(line): \(rule)" }
}

/// Floors of the house; a room stands on lower floors only.
enum House {
    static let pure: Set<String> = ["MMedCore", "MMedAlgorithms", "MMedScheduling", "MMedProtocol"]
    /// Rooms that stand on nothing and may be used from the runtimes up; they touch the system, so the pure rooms may not.
    static let base: Set<String> = ["MMedLocks"]
    static let edges: Set<String> = [
        "MMedTransport", "MMedStore", "MMedEngine", "MMedMerging", "MMedConfig", "MMedTelemetry",
    ]
    static let runtimes: Set<String> = ["MMedCoordinator", "MMedWorker"]
    static let roots: Set<String> = ["MMedAssembly", "mmed-coord", "mmed-worker"]
    /// Rooms that only tests and their programs use; they may drive everything but the root.
    static let kits: Set<String> = ["MMedSimulation"]
    /// Rooms that may start unstructured tasks; the transport bridges a thread to streams.
    static let tasks: Set<String> = runtimes.union(roots).union(["MMedTransport"])
    /// Ports declare asynchronous functions that the runtimes call; nothing in the file runs.
    static let asyncExempt: Set<String> = ["Sources/MMedProtocol/Ports.swift"]
    /// System modules that every room but the pure ones may import.
    static let system: Set<String> = ["Foundation", "Synchronization", "Glibc", "Dispatch"]
}

/// A rule that looks at one file's lines of bare code with a pattern.
struct PatternRule: Sendable {
    let name: String
    let pattern: String
    let applies: @Sendable (SourceFile) -> Bool

    func violations(in file: SourceFile) -> [Violation] {
        guard applies(file), let regex = try? Regex(pattern) else { return [] }
        return file.codeLines.enumerated().compactMap { index, line in
            line.contains(regex) ? Violation(path: file.path, line: index + 1, rule: name) : nil
        }
    }
}

private let isPure: @Sendable (SourceFile) -> Bool = { $0.isSource && House.pure.contains($0.target) }

let patternRules: [PatternRule] = [
    PatternRule(
        name: "no async code in a pure room", pattern: #"\b(async|await|Task|AsyncStream|AsyncSequence|actor)\b"#
    ) {
        isPure($0) && !House.asyncExempt.contains($0.path)
    },
    PatternRule(
        name: "no clock in a pure room",
        pattern: #"\b(ContinuousClock|SuspendingClock|Date|DispatchTime|clock_gettime|gettimeofday|time)\s*\("#,
        applies: isPure),
    PatternRule(
        name: "no random source in a pure room",
        pattern: #"\.random\s*\(|\.randomElement\b|\.shuffled?\b|SystemRandomNumberGenerator|\barc4random"#,
        applies: isPure),
    PatternRule(
        name: "no printing in a pure room", pattern: #"\b(print|debugPrint|dump|fputs|puts)\s*\("#, applies: isPure),
    PatternRule(name: "no try!", pattern: #"\btry!"#) { _ in true },
    PatternRule(name: "no Mutex but Locked, which ThreadSanitizer understands", pattern: #"\bMutex\s*[<(]"#) { _ in true
    },
    PatternRule(
        name: "no unstructured task outside the runtimes and the root", pattern: #"\bTask\s*(\{|\(|\.detached|<)"#
    ) { $0.isSource && !House.tasks.contains($0.target) },
]

/// Iteration over a dictionary or a set, whose order differs from run to run. Names are those that the file itself declares so.
func hashOrderViolations(in file: SourceFile) -> [Violation] {
    guard isPure(file) else { return [] }
    let declared = file.code.matches(
        of:
            /\b(?:var|let)\s+(\w+)\s*(?::\s*(?:Set<|\[[\w.]+\s*:)|=\s*(?:Set<|Set\(|\[[\w.]+\s*:\s*[^\]]*\]\(|\[:\]|Dictionary\())/
    )
    let names = Set(declared.map { String($0.1) })
    guard !names.isEmpty,
        let loop = try? Regex(
            #"\bin\s+(?:self\.)?(?:"# + names.sorted().joined(separator: "|")
                + #")(?:\.keys|\.values)?\s*(?:\{|where\b)"#),
        let chain = try? Regex(
            #"\b(?:"# + names.sorted().joined(separator: "|")
                + #")\.(?:keys\.|values\.)?(?:map|compactMap|flatMap|forEach|reduce|first|enumerated)\b"#)
    else { return [] }
    return file.codeLines.enumerated().compactMap { index, line in
        let breaks = (line.contains(loop) || line.contains(chain)) && !line.contains(".sorted")
        return breaks
            ? Violation(path: file.path, line: index + 1, rule: "no order of a dictionary or set in a pure room") : nil
    }
}

/// `@unchecked Sendable` and `nonisolated(unsafe)` need a comment right above with a line that begins with `Proof` or `Sendable:`.
func proofViolations(in file: SourceFile) -> [Violation] {
    guard file.isSource, let regex = try? Regex(#"@unchecked\s+Sendable|nonisolated\(unsafe\)"#) else { return [] }
    let lines = file.lines.map { $0.trimmingCharacters(in: .whitespaces) }
    return file.codeLines.enumerated().compactMap { index, line in
        guard line.contains(regex) else { return nil }
        var above = index - 1
        while above >= 0, lines[above].hasPrefix("//") {
            let words = lines[above].drop { $0 == "/" || $0 == " " }.lowercased()
            if words.hasPrefix("proof") || words.hasPrefix("sendable:") { return nil }
            above -= 1
        }
        return Violation(path: file.path, line: index + 1, rule: "@unchecked Sendable needs a proof on the line above")
    }
}

/// No unsafe pointer may be seen from outside its room.
func pointerViolations(in file: SourceFile) -> [Violation] {
    guard file.isSource else { return [] }
    let pattern = /\b(?:public|open)\b[^{}=;]*?\b(?:Unsafe\w*Pointer|OpaquePointer)\b/
    return file.code.matches(of: pattern).compactMap { match in
        // A match may not run past the end of its declaration into the next one.
        guard match.output.matches(of: /\b(?:func|init|var|let|subscript|typealias|case)\b/).count <= 1 else {
            return nil
        }
        let line = file.code[..<match.range.lowerBound].filter { $0 == "\n" }.count + 1
        return Violation(path: file.path, line: line, rule: "no unsafe pointer in a public signature")
    }
}

let lineCountMax = 300
let functionLineCountMax = 70

func lengthViolations(in file: SourceFile) -> [Violation] {
    let count = file.lines.count - (file.text.hasSuffix("\n") ? 1 : 0)
    var found: [Violation] = []
    if count > lineCountMax {
        found.append(
            Violation(path: file.path, line: count, rule: "a file has at most \(lineCountMax) lines, found \(count)"))
    }
    guard file.path.hasSuffix(".swift") else { return found }
    for function in functions(in: file.code) where function.lines > functionLineCountMax {
        found.append(
            Violation(
                path: file.path, line: function.line,
                rule: "a function has at most \(functionLineCountMax) lines, found \(function.lines)"))
    }
    return found
}

/// First line and number of lines of every function, initialiser and subscript with a body.
func functions(in code: String) -> [(line: Int, lines: Int)] {
    let characters = Array(code.utf8)
    var found: [(line: Int, lines: Int)] = []
    for match in code.matches(of: /\b(?:func\s+\S|init\s*[?!]?\s*[(<]|deinit\b|subscript\s*[(<])/) {
        let before = code[..<match.range.lowerBound]
        if before.hasSuffix(".") || before.hasSuffix("@") { continue }
        let start = before.utf8.count
        let firstLine = characters[..<start].count { $0 == 0x0A } + 1
        guard let body = bodyStart(characters, from: start), let end = closingBrace(characters, from: body) else {
            continue
        }
        found.append((firstLine, characters[start...end].count { $0 == 0x0A } + 1))
    }
    return found
}

/// The brace that opens the body of a declaration; nil for a requirement without one.
private func bodyStart(_ characters: [UInt8], from start: Int) -> Int? {
    var depth = 0
    var isSignatureOver = false
    for index in start..<characters.count {
        switch characters[index] {
        case UInt8(ascii: "("), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: ")"), UInt8(ascii: "]"):
            depth -= 1
            if depth < 0 { return nil }
            isSignatureOver = true
        case UInt8(ascii: "{") where depth == 0: return index
        case UInt8(ascii: "}") where depth == 0: return nil
        case 0x0A where depth == 0 && isSignatureOver:
            let rest = String(decoding: characters[(index + 1)..<min(characters.count, index + 200)], as: UTF8.self)
            if rest.firstMatch(of: /^\s*(?:\{|->|where\b|throws|async|rethrows)/) == nil { return nil }
        default: break
        }
    }
    return nil
}

private func closingBrace(_ characters: [UInt8], from open: Int) -> Int? {
    var depth = 0
    for index in open..<characters.count {
        if characters[index] == UInt8(ascii: "{") { depth += 1 }
        if characters[index] == UInt8(ascii: "}") { depth -= 1 }
        if depth == 0 { return index }
    }
    return nil
}

/// Words of unfinished work, and paths that mean something on one machine only. They are put together here, or this file would break its own rule.
let bannedWords = ["TO" + "DO", "FIX" + "ME", "HA" + "CK:", "/wo" + "rk/", "/ro" + "ot/"]

func wordViolations(in file: SourceFile) -> [Violation] {
    file.lines.enumerated().flatMap { index, line in
        bannedWords.filter { line.contains($0) }.map {
            Violation(path: file.path, line: index + 1, rule: "the word \($0) is not for what is committed")
        }
    }
}

/// All rules for code.
func codeViolations(in file: SourceFile) -> [Violation] {
    var found = patternRules.flatMap { $0.violations(in: file) }
    for rule in [hashOrderViolations, proofViolations, pointerViolations, lengthViolations, wordViolations] {
        found += rule(file)
    }
    return found
}
