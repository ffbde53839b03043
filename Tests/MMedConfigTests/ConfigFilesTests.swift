import Foundation
import MMedCore
import Testing

@testable import MMedConfig

/// The top folder of the repository, found from this file.
private let top = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

private func files(in folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: top.path + "/" + folder).filter { $0.hasSuffix(".yaml") }
        .sorted().map { top.path + "/" + folder + "/" + $0 }
}

@Suite struct ConfigFilesTests {
    @Test func everyRunLoadsWithItsData() throws {
        let paths = try files(in: "configs")
        #expect(paths.count >= 3)
        for path in paths {
            let config = try RunConfig.load(path: path)
            #expect(config.specialties.count == 4, "\(path)")
            for file in [config.data.train, config.data.validation, config.data.test, config.data.reference] {
                #expect(FileManager.default.fileExists(atPath: file), "\(path) names \(file)")
            }
            for file in [config.data.train, config.data.validation, config.data.test] {
                _ = try Dataset.load(path: file, specialties: config.specialties)
            }
        }
    }

    @Test func everyRunResolvesToItself() throws {
        for path in try files(in: "configs") {
            let config = try RunConfig.load(path: path)
            let root = try ConfigNode(yaml: config.resolvedYAML, source: "resolved")
            #expect(try RunConfig.decode(root, folder: "/elsewhere") == config, "\(path)")
        }
    }

    @Test func everyClusterLoadsAndServesEveryRun() throws {
        let clusters = try files(in: "cluster")
        #expect(clusters.count >= 2)
        for clusterPath in clusters {
            let cluster = try ClusterConfig.load(path: clusterPath)
            for path in try files(in: "configs") {
                try cluster.check(against: try RunConfig.load(path: path), place: clusterPath)
            }
        }
    }

    @Test func onlyTheTwoHostsNeedKeys() throws {
        for path in try files(in: "cluster") {
            var cluster = try ClusterConfig.load(path: path)
            #expect((cluster.keys != nil) == path.hasSuffix("two-hosts.yaml"), "\(path)")
            #expect(cluster.nonLoopbackReason == nil, "\(path)")
            cluster.keys = nil
            #expect((cluster.nonLoopbackReason != nil) == path.hasSuffix("two-hosts.yaml"), "\(path)")
        }
    }

    @Test func referenceOfKeysIsTrue() throws {
        let path = top.path + "/docs/CONFIG.md"
        if ProcessInfo.processInfo.environment["MMED_WRITE_DOCS"] != nil {
            try ConfigReference.markdown.write(toFile: path, atomically: true, encoding: .utf8)
        }
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(
            text == ConfigReference.markdown,
            "write it anew: MMED_WRITE_DOCS=1 swift test --filter referenceOfKeysIsTrue")
    }

    @Test func editDistanceCountsSlips() {
        #expect(editDistance("steps", "stpes") == 1)
        #expect(editDistance("kitten", "sitting") == 3)
        #expect(editDistance("", "abc") == 3)
        #expect(nearest(to: "learnigRate", among: ["learningRate", "steps"]) == "learningRate")
        #expect(nearest(to: "xyz", among: ["learningRate", "kl"]) == nil)
    }
}
