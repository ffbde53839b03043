import Testing

/// Every rule finds a bad example, and leaves a good one that looks like it.
@Suite struct RulesBiteTests {
    private func core(_ text: String) -> SourceFile { SourceFile(path: "Sources/MMedCore/Bad.swift", text: text) }

    private func broken(_ text: String, path: String = "Sources/MMedCore/Bad.swift") -> [String] {
        let file = SourceFile(path: path, text: text)
        return (patternRules.flatMap { $0.violations(in: file) } + hashOrderViolations(in: file)).map(\.rule)
    }

    @Test(arguments: [
        ("func f() async {}", "async"), ("let x = await g()", "async"), ("let now = ContinuousClock().now", "clock"),
        ("let d = Date()", "clock"), ("let r = Int.random(in: 0..<3)", "random"), ("let s = list.shuffled()", "random"),
        ("print(1)", "printing"), ("let v = try! f()", "try!"), ("let m = Mutex(0)", "Locked"),
        ("Task { await g() }", "unstructured"),
        ("Task.detached { }", "unstructured"), ("var seen: Set<Int> = []\nfor x in seen { use(x) }", "order"),
        ("let map = [String: Int]()\nlet all = map.values.map { $0 }", "order"),
        ("var byName: [Name: Int] = [:]\nfor (key, value) in byName {", "order"),
    ])
    func aPureRoomRefuses(text: String, word: String) {
        #expect(broken(text).contains { $0.contains(word) }, "\(text)")
    }

    @Test(arguments: [
        "// async, Task { and print( in a comment", "let text = \"await Date() try! \\(f(\"print(\"))\"",
        "let raw = #\"Task { \"x\" }\"#", "var seen: Set<Int> = []\nfor x in seen.sorted() { use(x) }",
        "let list: [Int] = []\nfor x in list { use(x) }", "/* nested /* print( */ Date() */ let x = 1",
        "let isAsynchronous = true", "let locked = Locked<Int>(0); pthread_mutex_lock(m)",
        "let many = \"\"\"\n  try! \"quoted\" Task {\n  \"\"\"",
    ])
    func aPureRoomAllows(text: String) {
        #expect(broken(text) == [], "\(text)")
    }

    @Test func portsMayDeclareAsynchronousFunctions() {
        #expect(broken("func close() async", path: "Sources/MMedProtocol/Ports.swift") == [])
        #expect(broken("Task { }", path: "Sources/MMedCoordinator/Run.swift") == [])
        #expect(broken("Task { }", path: "Sources/MMedEngine/Run.swift").count == 1)
    }

    @Test func importsOutsideTheTableAreFound() {
        let table: ImportTable = ["MMedCore": [], "MMedConfig": ["MMedCore", "Yams"]]
        #expect(importViolations(in: core("import Foundation\n"), table: table).count == 1)
        #expect(importViolations(in: core("public import struct MMedStore.Thing\n"), table: table).count == 1)
        let config = SourceFile(
            path: "Sources/MMedConfig/A.swift",
            text: "import Foundation\n@testable import Yams\npublic import MMedCore\n")
        #expect(importViolations(in: config, table: table) == [])
        #expect(importViolations(in: core("// import Foundation\n"), table: table) == [])
    }

    @Test func aSharedCModuleIsFound() {
        let files = ["MMedCodec", "MMedStore"].map {
            SourceFile(path: "Sources/\($0)/A.swift", text: "import CLZ4\nimport Crypto\n")
        }
        #expect(sharedCModules(files) == ["CLZ4: MMedCodec, MMedStore"])
        #expect(sharedCModules([files[0]]) == [])
    }

    @Test func aRoomOnTheWrongFloorIsFound() {
        #expect(floorViolations(["MMedStore": ["MMedEngine"], "MMedEngine": []]) == ["MMedStore stands on MMedEngine"])
        #expect(
            floorViolations(["MMedWorker": ["MMedEngine"], "MMedEngine": []]) == ["MMedWorker stands on MMedEngine"])
        #expect(
            floorViolations(["MMedCore": ["MMedFormats"], "MMedFormats": []]) == ["MMedCore stands on MMedFormats"])
        #expect(floorViolations(["MMedLocks": ["MMedCore"], "MMedCore": []]) == ["MMedLocks stands on MMedCore"])
        #expect(floorViolations(["MMedCore": ["MMedLocks"], "MMedLocks": []]) == ["MMedCore stands on MMedLocks"])
        #expect(floorViolations(["MMedWorker": ["MMedLocks"], "MMedLocks": []]) == [])
        #expect(floorViolations(["MMedAssembly": ["MMedEngine"], "MMedEngine": []]) == [])
    }

    @Test func theManifestAndThePageAreRead() {
        let manifest = """
            let yams = Target.Dependency.product(name: "Yams", package: "Yams")
            Room(name: "MMedCore"),
            Room(
                name: "MMedConfig",
                rooms: ["MMedCore"], packages: [yams]),
            """
        #expect(importTable(ofManifest: manifest) == ["MMedCore": [], "MMedConfig": ["MMedCore", "Yams"]])
        let page = importTable(
            ofPage: "| pure | `MMedCore` ids | nothing |\n| edge | `MMedConfig` files | Core Yams |\n")
        #expect(page.table == ["MMedCore": [], "MMedConfig": ["MMedCore", "Yams"]])
        #expect(page.floors == ["MMedCore": "pure", "MMedConfig": "edge"])
    }

    @Test func uncheckedNeedsItsProof() {
        let bare = "/// A box.\nfinal class Box: @unchecked Sendable {}\n"
        #expect(proofViolations(in: core(bare)).count == 1)
        #expect(
            proofViolations(in: core("// Proof: the lock guards it.\nfinal class Box: @unchecked Sendable {}\n")) == [])
        #expect(proofViolations(in: core("let note = \"@unchecked Sendable\"\n")) == [])
        #expect(proofViolations(in: core("nonisolated(unsafe) var x = 1\n")).count == 1)
    }

    @Test func publicPointersAreFound() {
        #expect(pointerViolations(in: core("public func f(\n    _ p: UnsafePointer<Int>\n) {}\n")).count == 1)
        #expect(pointerViolations(in: core("public var base: UnsafeMutableRawPointer { x }\n")).count == 1)
        #expect(pointerViolations(in: core("func f(_ p: UnsafePointer<Int>) {}\n")) == [])
        #expect(pointerViolations(in: core("public let n: Int\nlet p: UnsafePointer<Int>\n")) == [])
    }

    @Test func longFilesAndFunctionsAreFound() {
        let long = String(repeating: "let x = 1\n", count: 301)
        #expect(lengthViolations(in: core(long)).count == 1)
        #expect(lengthViolations(in: core(String(repeating: "let x = 1\n", count: 300))) == [])
        let line = "    if x { y() }\n"
        #expect(lengthViolations(in: core("func f() {\n" + String(repeating: line, count: 69) + "}\n")).count == 1)
        #expect(lengthViolations(in: core("func f() {\n" + String(repeating: line, count: 68) + "}\n")) == [])
    }

    @Test func functionsAreMeasuredFromTheirNameToTheirBrace() {
        let code = """
            protocol P {
                func a() throws
                init(x: Int)
            }
            struct S {
                init() { self.init(x: 1) }
                func b(_ x: () -> Void)
                    -> Int
                {
                    return 1
                }
                subscript(i: Int) -> Int { i }
            }
            """
        #expect(functions(in: code).map(\.line) == [6, 7, 12])
        #expect(functions(in: code).map(\.lines) == [1, 5, 1])
    }

    @Test func bannedWordsAreFoundInComments() {
        for word in bannedWords { #expect(wordViolations(in: core("// \(word) later\n")).count == 1) }
        #expect(wordViolations(in: core("// network/works/roots\n")) == [])
    }
}
