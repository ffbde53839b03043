import Foundation
import MMedCore

@testable import MMedConfig

extension FuzzTarget {
    /// Run and cluster files, and overrides as `--set` gives them: the text before the first zero byte is the file, each later
    /// one an override.
    static let config = FuzzTarget(name: "config", lengthMost: 8192, seeds: { try ConfigSeeds.files() }) { bytes in
        let parts = bytes.split(separator: 0, omittingEmptySubsequences: false).map { Data($0) }
        // A configuration has at most 20,000 values, some of which an alias repeats.
        let budget = 4096 * bytes.count + (64 << 20)
        guard
            var root = try reading(
                "ConfigFile", budget: budget, { try ConfigFile.tree(of: parts[0], path: "fuzz.yaml") })
        else { return }
        for part in parts.dropFirst().prefix(8) {
            let text = String(decoding: part, as: UTF8.self)
            if let override = try reading("--set", budget: budget, { try ConfigNode(override: text) }) {
                root = root.overridden(by: override)
            }
        }
        if let run = try reading("RunConfig", budget: budget, { try RunConfig.decode(root, folder: "/fuzz") }) {
            let yaml = run.resolvedYAML
            let again = try rereading("RunConfig from \(yaml)") {
                try RunConfig.decode(ConfigNode(yaml: yaml, source: "again"), folder: "/fuzz")
            }
            try demand(again == run, "a run's configuration changed when it was written: \(yaml)")
        }
        if let cluster = try reading(
            "ClusterConfig", budget: budget, { try ClusterConfig.decode(root, folder: "/fuzz") })
        {
            let yaml = cluster.resolved().yaml()
            let again = try rereading("ClusterConfig from \(yaml)") {
                try ClusterConfig.decode(ConfigNode(yaml: yaml, source: "again"), folder: "/fuzz")
            }
            try demand(again == cluster, "a cluster's configuration changed when it was written: \(yaml)")
        }
    }
}

/// A run with every key, a short one with anchors and overrides, and a cluster.
enum ConfigSeeds {
    static func files() throws -> [(name: String, bytes: [UInt8])] {
        let short = """
            # a comment
            data: &d {train: a.jsonl, validation: 'b.jsonl', test: "c\\u00e9.jsonl"}
            specialties: [adult, child]
            gba:
              questionsPerStep: 4
            advantages: {preset: DAPO, lambda: ~}
            prompt:
              answerInstruction: |-
                Think.
                Answer
              guidelines:
                - name: bayesian
                  text: >-
                    Weigh
                    all.
            """
        let overrides = [
            "gba.questionsPerStep=8", "eval.stages=[base,dsa]", "dsa.enabled=false", "seed=18446744073709551615",
        ]
        let run = try RunConfig.decode(ConfigNode(yaml: short, source: "seed"), folder: "/seed")
        let cluster = """
            listen: tcp://127.0.0.1:0
            model: {path: smollm2-135m-instruct-q4_1, sha256: null}
            workers:
              - {role: rollout, count: 2, threads: 1}
              - {role: learner, adapters: [adult, child], host: local}
            """
        return [
            ("short", Array((short.utf8)) + [0] + Array(overrides.joined(separator: "\0").utf8)),
            ("full", Array(run.resolvedYAML.utf8)), ("cluster", Array(cluster.utf8)),
            ("ipc", Array("listen: ipc:///tmp/a.sock\nworkers: []\n".utf8)),
            ("aliases", Array("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n".utf8)),
        ]
    }
}
