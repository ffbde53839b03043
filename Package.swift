// swift-tools-version: 6.2
import PackageDescription

// The table of rooms. `Tests/TidyTests` holds it against the imports in the sources and against docs/ARCHITECTURE.md.
struct Room {
    let name: String
    var rooms: [String] = []
    var packages: [Target.Dependency] = []
    var hasTests = true
}

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

let rooms: [Room] = [
    Room(name: "MMedCore"),
    Room(name: "MMedLocks"),
    Room(name: "MMedAlgorithms", rooms: ["MMedCore"]),
    Room(name: "MMedProtocol", rooms: ["MMedCore", "MMedAlgorithms"]),
    Room(name: "MMedScheduling", rooms: ["MMedCore", "MMedAlgorithms", "MMedProtocol"]),
    Room(name: "MMedCodec", rooms: ["MMedCore", "MMedAlgorithms", "MMedProtocol", "CWire", "CLZ4"]),
    Room(name: "MMedTensor", rooms: ["MMedCore", "COpenBLAS", "CKernels"]),
    Room(name: "MMedFormats", rooms: ["MMedCore", "MMedLocks", "MMedTensor"]),
    Room(name: "MMedTransport", rooms: ["MMedCore", "MMedLocks", "MMedProtocol", "MMedCodec", "CZeroMQ"]),
    Room(
        name: "MMedStore",
        rooms: ["MMedCore", "MMedLocks", "MMedAlgorithms", "MMedProtocol", "MMedScheduling", "MMedFormats"],
        packages: [crypto, grdb]),
    Room(name: "MMedEngine", rooms: ["MMedCore", "MMedAlgorithms", "MMedTensor", "MMedFormats"]),
    Room(name: "MMedMerging", rooms: ["MMedCore", "MMedTensor", "MMedFormats"]),
    Room(name: "MMedConfig", rooms: ["MMedCore", "MMedAlgorithms", "MMedScheduling"], packages: [yams]),
    Room(name: "MMedTelemetry", rooms: ["MMedCore", "MMedScheduling"], packages: [logging]),
    Room(name: "MMedCoordinator", rooms: ["MMedCore", "MMedAlgorithms", "MMedProtocol", "MMedScheduling"]),
    Room(name: "MMedWorker", rooms: ["MMedCore", "MMedLocks", "MMedAlgorithms", "MMedProtocol", "MMedScheduling"]),
    // The test kit: the coordinator's production code under virtual time, with faults.
    Room(
        name: "MMedSimulation",
        rooms: [
            "MMedCore", "MMedLocks", "MMedAlgorithms", "MMedProtocol", "MMedScheduling", "MMedCodec", "MMedCoordinator",
        ]),
    // The root plugs real parts into the runtimes; the executables only read the command line.
    Room(
        name: "MMedAssembly",
        rooms: [
            "MMedCore", "MMedLocks", "MMedAlgorithms", "MMedProtocol", "MMedScheduling", "MMedTensor", "MMedFormats",
            "MMedTransport",
            "MMedStore", "MMedEngine", "MMedMerging", "MMedConfig", "MMedTelemetry", "MMedCoordinator", "MMedWorker",
            "CSystem",
        ]),
]

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let everyRoom: [Target.Dependency] = rooms.map { .byName(name: $0.name) }

var targets: [Target] = [
    .systemLibrary(name: "COpenBLAS"), .systemLibrary(name: "CLZ4"), .systemLibrary(name: "CZeroMQ"),
    .target(name: "CSystem"),
    .target(name: "CWire", linkerSettings: [.linkedLibrary("protobuf-c")]),
    .target(name: "CKernels", cSettings: [.unsafeFlags(["-O3"])]),
    .executableTarget(name: "mmed-coord", dependencies: everyRoom + [argumentParser], swiftSettings: strict),
    .executableTarget(name: "mmed-worker", dependencies: everyRoom + [argumentParser], swiftSettings: strict),
    .executableTarget(
        name: "mmed-simulate", dependencies: [.byName(name: "MMedSimulation")], swiftSettings: strict),
    .testTarget(name: "TidyTests", swiftSettings: strict),
    .testTarget(
        name: "ProcessTests", dependencies: everyRoom + ["mmed-coord", "mmed-worker"], swiftSettings: strict),
]
for room in rooms {
    let inside = room.rooms.map { Target.Dependency.byName(name: $0) }
    targets.append(.target(name: room.name, dependencies: inside + room.packages, swiftSettings: strict))
    if room.hasTests {
        // C modules belong to one room each, so a test reaches them only through that room.
        let reachable = Set(room.rooms.filter { $0.hasPrefix("MMed") } + [room.name, "MMedLocks"]).sorted()
        targets.append(
            .testTarget(
                name: room.name + "Tests", dependencies: reachable.map { .byName(name: $0) },
                resources: room.name == "MMedEngine" ? [.copy("Fixtures")] : [], swiftSettings: strict))
    }
}

// The parsers under fuzzing (docs/FUZZING.md). With MMED_FUZZ set, as `make fuzz` does, the same sources are the libFuzzer
// program mmed-fuzz; without, a test of their corpus.
let fuzzed = [
    "MMedCore", "MMedAlgorithms", "MMedProtocol", "MMedScheduling", "MMedCodec", "MMedFormats", "MMedEngine",
    "MMedConfig", "MMedStore",
]
let fuzzedRooms = fuzzed.map { Target.Dependency.byName(name: $0) }
let isFuzzing = Context.environment["MMED_FUZZ"] != nil
targets.append(
    isFuzzing
        ? .executableTarget(
            name: "mmed-fuzz", dependencies: fuzzedRooms, path: "Tests/FuzzTests",
            exclude: ["Corpus", "CorpusTests.swift"], swiftSettings: strict)
        : .testTarget(
            name: "FuzzTests", dependencies: fuzzedRooms, exclude: ["Corpus", "Main.swift"], swiftSettings: strict))

var dependencies: [Package.Dependency] = [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
    .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
]

// `MMED_SLICE=MMedTensor swift test` builds one room, what it stands on and its tests, without the rest of the house.
if let slice = isFuzzing ? "Fuzz" : Context.environment["MMED_SLICE"] {
    let asked = Set(slice.split(separator: ",").map(String.init))
    var kept = asked.union(["MMedLocks"])
    // The programs and the tests that run them.
    if asked.contains("Process") { kept.formUnion(["mmed-coord", "mmed-worker", "MMedAssembly", "MMedSimulation"]) }
    if asked.contains("Fuzz") { kept.formUnion(fuzzed + (isFuzzing ? ["mmed-fuzz"] : [])) }
    var usedPackages: Set<String> = asked.contains("Process") ? ["swift-argument-parser"] : []
    var grew = true
    while grew {
        grew = false
        for room in rooms where kept.contains(room.name) {
            for name in room.rooms where kept.insert(name).inserted { grew = true }
        }
    }
    if kept.contains("MMedSimulation") { kept.insert("mmed-simulate") }
    targets = targets.filter { target in
        kept.contains(target.name) || asked.contains { target.name == $0 + "Tests" }
    }
    for room in rooms where kept.contains(room.name) {
        if room.name == "MMedStore" { usedPackages.formUnion(["swift-crypto", "GRDB.swift"]) }
        if room.name == "MMedConfig" { usedPackages.insert("Yams") }
        if room.name == "MMedTelemetry" { usedPackages.insert("swift-log") }
    }
    dependencies = dependencies.filter { dependency in
        guard case .sourceControl(_, let location, _) = dependency.kind else { return false }
        return usedPackages.contains { location.hasSuffix("/" + $0) }
    }
}

let package = Package(name: "mmed", dependencies: dependencies, targets: targets)
