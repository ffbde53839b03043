import MMedConfig
import MMedStore
import Testing

@testable import MMedAssembly

extension ModelHostTests {
    /// PEFT looks for the base by this name, and no hub knows the name of a file.
    @Test func adaptersNameAPinnedModelAsTheHubDoes() throws {
        let pinned = PinnedModel.smolLM2
        #expect(
            ModelHost.baseName(path: "/cache/" + pinned.cachePath, digest: pinned.digest)
                == "HuggingFaceTB/SmolLM2-135M-Instruct")
        let scratch = try Scratch()
        #expect(try Material.host(in: scratch, name: "tiny").baseName == "tiny")
        #expect(ModelHost.baseName(path: "/x/other.gguf", digest: ContentDigest.of([1])) == "other.gguf")
    }
}
