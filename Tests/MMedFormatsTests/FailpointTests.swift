import MMedCore
import Testing

@testable import MMedFormats

@Suite struct FailpointTests {
    private let sites = [FailpointSite("here"), FailpointSite("there", canThrow: false)]

    /// The deaths are shown by the tests of the processes.
    @Test func aStepFailsAtItsPassageAlone() throws {
        try Failpoint.pass(sites[0])
        try Failpoint.arm("here:2:error,there:9:stop", sites: sites)
        #expect(Failpoint.isArmed)
        try Failpoint.pass(sites[0])
        Failpoint.note(sites[1])
        let error = #expect(throws: MMedError.self) { try Failpoint.pass(sites[0]) }
        #expect(error?.kind == .tryAgain && error?.place == "failpoint here")
        try Failpoint.pass(sites[0])
        let passages = Dictionary(uniqueKeysWithValues: Failpoint.passages)
        #expect(passages["here"] == 3 && passages["there"] == 1, "what was not armed is not counted")
    }

    @Test(arguments: [
        ("nowhere:1", "`mmed-coord failpoints` lists the names"), ("here", "name:n"), ("here:0", "from 1"),
        ("here:1:explode", "name:n:stop"),
        ("there:1:error", "nothing can fail"), ("here:1,", "name:n"), ("here:1:stop:now", "name:n"),
    ])
    func aTextThatSaysSomethingElseIsRefused(text: String, says: String) {
        let error = #expect(throws: MMedError.self) { try Failpoint.arm(text, sites: sites) }
        #expect(error?.kind == .usage && error.map { "\($0)" }?.contains(says) == true, "\(String(describing: error))")
    }
}
