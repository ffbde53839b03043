import MMedCore
import Testing

@testable import MMedConfig

private func decodeCluster(_ yaml: String) throws -> ClusterConfig {
    try ClusterConfig.decode(ConfigNode(yaml: yaml, source: "cluster.yaml"), folder: "/study")
}

private func clusterError(_ yaml: String) -> MMedError? {
    do {
        _ = try decodeCluster(yaml)
        return nil
    } catch { return error as? MMedError }
}

private let minimalCluster = "workers: [{role: rollout}, {role: learner}]\n"

@Suite struct ClusterConfigTests {
    @Test func defaultsAreLocalWithThePinnedModel() throws {
        let cluster = try decodeCluster(minimalCluster)
        #expect(cluster.listen == "tcp://127.0.0.1:0")
        #expect(cluster.model.path == PinnedModel.smolLM2.name)
        #expect(cluster.model.expectedDigest == PinnedModel.smolLM2.digest)
        #expect(cluster.workers.map(\.role) == [.rollout, .learner])
        #expect(cluster.nonLoopbackReason == nil)
    }

    @Test func pathsAreSeenFromTheFile() throws {
        let cluster = try decodeCluster(minimalCluster + "model: {path: models/tiny.gguf}\n")
        #expect(cluster.model.path == "/study/models/tiny.gguf")
        #expect(cluster.model.expectedDigest == nil)
    }

    @Test(arguments: [
        ("tcp://127.0.0.1:0", true), ("tcp://127.9.8.7:65535", true), ("tcp://localhost:1", true),
        ("tcp://[::1]:7450", true), ("ipc:///tmp/mmed.sock", true), ("tcp://0.0.0.0:1", false), ("tcp://*:1", false),
        ("tcp://192.0.2.1:7450", false), ("tcp://127.0.0.1.example.org:1", false), ("tcp://127.0.0.256:1", false),
        ("tcp://eth0:7450", false), ("tcp://lo:0", false),
    ])
    func onlyLoopbackAddressesAreLocal(listen: String, isLocal: Bool) throws {
        let cluster = try decodeCluster(minimalCluster + "listen: \"\(listen)\"\n")
        #expect((cluster.nonLoopbackReason == nil) == isLocal)
    }

    @Test(arguments: [
        "udp://127.0.0.1:1", "tcp://127.0.0.1", "tcp://127.0.0.1:65536", "tcp://:1", "ipc://", "tcp://h:-1",
    ])
    func addressThatCannotBeUsed(listen: String) {
        let error = clusterError(minimalCluster + "listen: \"\(listen)\"\n")
        #expect(error?.place == "cluster.yaml:2: listen")
        // A mend must work: anybody may enter /tmp, and `start` refuses a socket there.
        #expect(error?.mend.contains("/tmp") == false && error?.mend.contains("mode 700") == true)
    }

    @Test func anotherHostIsRefusedByStartForItsReason() throws {
        let cluster = try decodeCluster("workers: [{role: rollout, host: node-7}]\n")
        #expect(cluster.nonLoopbackReason?.contains("workers[0].host is node-7") == true)
    }

    @Test func keysOpenAClusterToOtherHosts() throws {
        let yaml = "listen: tcp://0.0.0.0:7450\nworkers: [{role: rollout, host: node-7}]\n"
        #expect(try decodeCluster(yaml).keys == nil)
        #expect(try decodeCluster(yaml).nonLoopbackReason?.contains("need keys") == true)
        let keyed = try decodeCluster(yaml + "keys: secret/keys\n")
        #expect(keyed.keys == "/study/secret/keys", "seen from the file")
        #expect(keyed.nonLoopbackReason == nil)
        #expect(clusterError(yaml + "keys: {a: b}\n")?.place == "cluster.yaml:3: keys")
        #expect(try decodeCluster(yaml + "keys: null\n").nonLoopbackReason != nil)
    }

    @Test func workersOfThisMachineMayBeStartedByHand() throws {
        let listed = try decodeCluster(
            "workers: [{role: rollout, host: 127.0.0.1}, {role: learner, host: localhost}, {role: learner}]\n")
        #expect(listed.nonLoopbackReason == nil)
        #expect(try decodeCluster("workers: []\n").workers.isEmpty)
    }

    @Test func workerErrorsNameTheEntry() {
        #expect(clusterError("workers:\n  - {role: rolout}\n")?.mend == "did you mean rollout?")
        // More threads than a worker takes would only end its process again and again.
        #expect(clusterError("workers:\n  - {role: learner, threads: 257}\n")?.problem.contains("1...256") == true)
        #expect(clusterError("workers:\n  - {count: 2}\n")?.place == "cluster.yaml:2: workers[0].role")
        #expect(clusterError("workers:\n  - {role: learner, threds: 2}\n")?.mend == "did you mean workers[0].threads?")
        #expect(
            clusterError("workers: [{role: rollout, adapters: [a]}]\n")?.place == "cluster.yaml:1: workers[0].adapters")
        #expect(clusterError(minimalCluster + "model: {sha256: abc}\n")?.problem.contains("64 hexadecimal") == true)
    }

    private func checkError(_ yaml: String, _ overrides: [String] = []) throws -> MMedError? {
        let run = try decodeRun(minimalRun, overrides)
        let cluster = try decodeCluster(yaml)
        do {
            try cluster.check(against: run, place: "cluster.yaml")
            return nil
        } catch { return error }
    }

    @Test func aClusterThatFitsTheRunPasses() throws {
        #expect(try checkError(minimalCluster) == nil)
        let split = """
            workers:
              - {role: rollout}
              - {role: learner, adapters: [adult-medicine]}
              - {role: learner, adapters: [pediatrics]}
            """
        #expect(try checkError(split) == nil)
        #expect(try checkError("workers: []") == nil, "they are started by hand")
    }

    @Test func adapterThatNobodyHoldsIsNamed() throws {
        let error = try checkError("workers: [{role: rollout}, {role: learner, adapters: [pediatrics]}]")
        #expect(error?.problem == "no learner holds the adapter adult-medicine")
        #expect(try checkError("workers: [{role: rollout}]")?.mend == "add a worker with role: learner")
    }

    @Test func unknownAdapterProposesTheNearest() throws {
        let error = try checkError("workers: [{role: rollout}, {role: learner, adapters: [pediatrix]}]")
        #expect(error?.mend == "did you mean pediatrics?")
    }

    @Test func missingRolloutWorkerIsNamedWhereOneIsNeeded() throws {
        #expect(try checkError("workers: [{role: learner}]")?.problem.contains("no rollout worker") == true)
        #expect(try checkError("workers: [{role: learner}]", ["gba.enabled=false", "eval.stages=[]"]) == nil)
        #expect(try checkError("workers: [{role: rollout}]", ["gba.enabled=false", "dsa.enabled=false"]) == nil)
    }

    @Test func modelIsFoundInTheCacheOrSaysHowToGetIt() throws {
        #expect(ModelCache.root(environment: ["MMED_CACHE": "/a", "XDG_CACHE_HOME": "/b"]) == "/a")
        #expect(ModelCache.root(environment: ["XDG_CACHE_HOME": "/b", "HOME": "/c"]) == "/b/mmed")
        #expect(ModelCache.root(environment: ["XDG_CACHE_HOME": "relative", "HOME": "/c"]) == "/c/.cache/mmed")
        #expect { try ModelConfig().resolvedPath(environment: ["MMED_CACHE": "/no/such/folder"]) } throws: { error in
            (error as? MMedError)?.mend.contains("make setup") == true
        }
    }
}
