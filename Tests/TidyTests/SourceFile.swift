import Foundation

/// One file of the repository, as text and as bare code.
struct SourceFile: Sendable {
    /// Path from the top folder, `Sources/MMedCore/Digest.swift`.
    let path: String
    let text: String
    /// The text with comments and string contents blanked out, line for line.
    let code: String
    let lines: [Substring]
    let codeLines: [Substring]

    init(path: String, text: String) {
        self.path = path
        self.text = text
        code = bareCode(of: text)
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        codeLines = code.split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// The target the file belongs to.
    var target: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
    var isSource: Bool { path.hasPrefix("Sources/") }

    /// Modules that the file imports, with the line of each.
    var imports: [(module: String, line: Int)] {
        codeLines.enumerated().compactMap { index, line in
            guard line.contains("import") else { return nil }
            return line.firstMatch(
                of:
                    /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:public\s+|internal\s+|package\s+|private\s+|fileprivate\s+)?import\s+(?:(?:struct|class|enum|protocol|func|typealias|let|var)\s+)?(\w+)/
            )
            .map { (String($0.1), index + 1) }
        }
    }
}

/// The repository.
enum Repository {
    static let top = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Every Swift file of the sources and tests, read once.
    static let swiftFiles = Result { try files() }

    static func text(_ path: String) throws -> String {
        try String(contentsOf: top.appendingPathComponent(path), encoding: .utf8)
    }

    /// All files below the folders whose names end in one of the extensions, in the order of their paths.
    static func files(in folders: [String] = ["Sources", "Tests"], extensions: Set<String> = ["swift"]) throws
        -> [SourceFile]
    {
        var paths: [String] = []
        for folder in folders {
            let found = FileManager.default.enumerator(atPath: top.appendingPathComponent(folder).path)
            while let path = found?.nextObject() as? String {
                if extensions.contains((path as NSString).pathExtension) { paths.append(folder + "/" + path) }
            }
        }
        return try paths.sorted().map { SourceFile(path: $0, text: try text($0)) }
    }
}

/// Blanks out comments and the contents of string literals, so that rules see code alone. Interpolations go with their string.
func bareCode(of text: String) -> String {
    var scanner = CodeScanner(Array(text.unicodeScalars))
    return scanner.run()
}

private struct CodeScanner {
    private let scalars: [Unicode.Scalar]
    private var position = 0
    private var output = String.UnicodeScalarView()

    init(_ scalars: [Unicode.Scalar]) { self.scalars = scalars }

    mutating func run() -> String {
        while position < scalars.count {
            if starts("//") {
                while position < scalars.count && scalars[position] != "\n" { blank() }
            } else if starts("/*") {
                skipBlockComment()
            } else if let hashes = stringStart() {
                skipString(hashes: hashes, emits: true)
            } else {
                output.append(scalars[position])
                position += 1
            }
        }
        return String(output)
    }

    private func starts(_ word: String, at offset: Int = 0) -> Bool {
        var index = position + offset
        for scalar in word.unicodeScalars {
            guard index < scalars.count, scalars[index] == scalar else { return false }
            index += 1
        }
        return true
    }

    private mutating func blank() {
        output.append(scalars[position] == "\n" ? "\n" : " ")
        position += 1
    }

    private mutating func skipBlockComment() {
        var depth = 0
        repeat {
            if starts("/*") {
                depth += 1
                blank()
            } else if starts("*/") {
                depth -= 1
                blank()
            }
            if position < scalars.count { blank() }
        } while depth > 0 && position < scalars.count
    }

    /// The number of `#` before a quote that begins here; nil when no string begins here.
    private func stringStart() -> Int? {
        var hashes = 0
        while starts("#", at: hashes) { hashes += 1 }
        return starts("\"", at: hashes) ? hashes : nil
    }

    private mutating func skipString(hashes: Int, emits: Bool) {
        for _ in 0..<hashes { blank() }
        let isMultiline = starts("\"\"\"")
        let quote = (isMultiline ? "\"\"\"" : "\"") + String(repeating: "#", count: hashes)
        let escape = "\\" + String(repeating: "#", count: hashes)
        for _ in 0..<(isMultiline ? 3 : 1) { keepQuote(emits) }
        while position < scalars.count {
            if starts(quote) {
                for _ in 0..<(isMultiline ? 3 : 1) { keepQuote(emits) }
                for _ in 0..<hashes { blank() }
                return
            }
            if starts(escape + "(") {
                for _ in 0...escape.unicodeScalars.count { blank() }
                skipInterpolation()
            } else if starts(escape) {
                for _ in 0..<min(escape.unicodeScalars.count + 1, scalars.count - position) { blank() }
            } else if !isMultiline && scalars[position] == "\n" {
                return
            } else {
                blank()
            }
        }
    }

    private mutating func skipInterpolation() {
        var depth = 1
        while position < scalars.count && depth > 0 {
            if let hashes = stringStart() {
                skipString(hashes: hashes, emits: false)
                continue
            }
            if scalars[position] == "(" { depth += 1 }
            if scalars[position] == ")" { depth -= 1 }
            blank()
        }
    }

    private mutating func keepQuote(_ emits: Bool) {
        output.append(emits ? "\"" : " ")
        position += 1
    }
}
