import MMedConfig
import MMedCore
import MMedTransport
import Testing

@testable import MMedAssembly

@Suite struct ListenTests {
    /// Two rooms look at an address, and neither may import the other: they must not tell a user two things.
    @Test(arguments: [
        "tcp://127.0.0.1:0", "tcp://127.0.0.1:7450", "tcp://localhost:0", "tcp://[::1]:0", "tcp://127.0.0.2:0",
        "tcp://127.9.8.7:1", "tcp://lo:0", "tcp://eth0:1", "tcp://0.0.0.0:0", "tcp://192.0.2.1:1",
        "tcp://example.org:1",
    ])
    func theConfigurationAndTheWireHaveOneRule(listen: String) {
        var cluster = ClusterConfig()
        cluster.listen = listen
        let isTaken = (try? WireAddress(listen, for: .listening)) != nil
        #expect((cluster.nonLoopbackReason == nil) == isTaken)
    }
}
