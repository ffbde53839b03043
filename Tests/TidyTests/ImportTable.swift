import Foundation

/// What each room may import: rooms, C modules and packages.
typealias ImportTable = [String: Set<String>]

/// The table of Package.swift, from its `Room(name:rooms:packages:)` entries.
func importTable(ofManifest text: String) -> ImportTable {
    var products: [String: String] = [:]
    for match in text.matches(of: /let\s+(\w+)\s*=\s*Target\.Dependency\.product\(name:\s*"(\w+)"/) {
        products[String(match.1)] = String(match.2)
    }
    var table: ImportTable = [:]
    let entry =
        /Room\(\s*name:\s*"(?<name>\w+)"(?:,\s*rooms:\s*\[(?<rooms>[^\]]*)\])?(?:,\s*packages:\s*\[(?<packages>[^\]]*)\])?/
    for match in text.matches(of: entry) {
        var allowed: Set<String> = []
        for name in (match.rooms ?? "").matches(of: /"(\w+)"/) { allowed.insert(String(name.1)) }
        for name in (match.packages ?? "").matches(of: /\w+/) {
            if let product = products[String(name.0)] { allowed.insert(product) }
        }
        table[String(match.name)] = allowed
    }
    return table
}

/// The table of docs/ARCHITECTURE.md: rows `| floor | `Room` … | imports |`, the imports without the prefix MMed, or `nothing`.
func importTable(ofPage text: String) -> (table: ImportTable, floors: [String: String]) {
    var table: ImportTable = [:]
    var floors: [String: String] = [:]
    for line in text.split(separator: "\n") {
        guard let match = line.firstMatch(of: /^\|\s*(\w+)\s*\|\s*`(MMed\w+)`[^|]*\|([^|]*)\|/) else { continue }
        let names = match.3.split(whereSeparator: { $0 == " " || $0 == "," }).map(String.init).filter {
            $0 != "nothing"
        }
        table[String(match.2)] = Set(names.map { isForeign($0) ? $0 : "MMed" + $0 })
        floors[String(match.2)] = String(match.1)
    }
    return (table, floors)
}

private func isForeign(_ name: String) -> Bool {
    ["CWire", "CLZ4", "COpenBLAS", "CKernels", "CZeroMQ", "CSystem", "Yams", "Crypto", "Logging", "GRDB"].contains(name)
}

/// Imports that the table does not allow, and Foundation or its like in a pure room.
func importViolations(in file: SourceFile, table: ImportTable) -> [Violation] {
    guard file.isSource, let allowed = table[file.target] else { return [] }
    return file.imports.compactMap { module, line in
        if allowed.contains(module) { return nil }
        if House.system.contains(module) && !House.pure.contains(file.target) { return nil }
        return Violation(path: file.path, line: line, rule: "\(file.target) may not import \(module)")
    }
}

/// C modules that more than one target imports.
func sharedCModules(_ files: [SourceFile]) -> [String] {
    var users: [String: Set<String>] = [:]
    for file in files {
        for (module, _) in file.imports where isForeign(module) && module.hasPrefix("C") && module != "Crypto" {
            users[module, default: []].insert(file.target)
        }
    }
    return users.filter { $0.value.count > 1 }.map { "\($0.key): \($0.value.sorted().joined(separator: ", "))" }
        .sorted()
}

/// Rooms that stand on what they must not: an edge on an edge, a runtime on anything but pure rooms and the base, a pure room on
/// anything but pure ones, the base on any room, anything on the root.
func floorViolations(_ table: ImportTable) -> [String] {
    var found: [String] = []
    for (room, allowed) in table.sorted(by: { $0.key < $1.key }) where !House.roots.contains(room) {
        var forbidden = House.roots
        if House.kits.contains(room) {
            forbidden = House.roots
        } else if House.pure.contains(room) {
            forbidden = Set(table.keys).subtracting(House.pure)
        } else if House.base.contains(room) {
            forbidden = Set(table.keys)
        } else if House.edges.contains(room) {
            forbidden.formUnion(House.edges.subtracting([room]).union(House.runtimes))
        } else if House.runtimes.contains(room) {
            forbidden = Set(table.keys).subtracting(House.pure.union(House.base))
        } else {
            forbidden.formUnion(House.edges.union(House.runtimes))
        }
        for name in allowed.intersection(forbidden).sorted() { found.append("\(room) stands on \(name)") }
    }
    return found
}
