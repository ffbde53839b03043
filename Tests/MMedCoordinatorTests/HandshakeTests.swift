import MMedCore
import MMedProtocol
import Testing

@testable import MMedCoordinator

@Suite struct HandshakeTests {
    private let handshake = Handshake(modelDigest: Tiny.model, adapters: Tiny.specialties)

    private func reason(_ hello: Hello, holder: Hello? = nil) -> String? {
        guard case .refuse(let reason, let mend) = handshake.judge(hello, holder: holder) else { return nil }
        #expect(!mend.isEmpty)
        return reason
    }

    @Test func aFittingWorkerIsTaken() {
        #expect(reason(Tiny.hello(.rollout, "a")) == nil)
        #expect(reason(Tiny.hello(.learner, "a", adapters: [Tiny.specialties[1]])) == nil)
        var newer = Tiny.hello(.rollout, "a")
        newer.minor += 1
        #expect(reason(newer) == nil, "another minor version is welcome")
    }

    @Test func whatDoesNotFitIsRefusedByName() throws {
        let major = try #require(reason(Tiny.hello(.rollout, "a", major: WireVersion.major + 1)))
        #expect(major.contains("\(WireVersion.major + 1).") && major.contains("\(WireVersion.major)."))
        let foreign = FakeWork.digest(of: [2])
        let model = try #require(reason(Tiny.hello(.rollout, "a", model: foreign)))
        #expect(model.contains(foreign.short) && model.contains(Tiny.model.short))
        let adapter = try #require(reason(Tiny.hello(.learner, "a", adapters: [Tiny.specialties[0], Name("skin")!])))
        #expect(adapter.contains("skin"))
    }

    @Test(arguments: [
        // The same process again, whatever it says of itself; another process of the role; another role.
        (WorkerRole.rollout, UInt64(1), false), (.rollout, 2, false), (.learner, 1, false), (.learner, 2, true),
    ])
    func aNameIsHeldByRole(role: WorkerRole, instance: UInt64, isRefused: Bool) {
        let refusal = reason(Tiny.hello(role, "a", instance: instance), holder: Tiny.hello(.rollout, "a"))
        #expect((refusal != nil) == isRefused)
    }

    @Test func aLongListOfAdaptersStillFitsIntoTheAnswer() throws {
        let names = (0..<Limits.adapters).map { Name(String(repeating: "x", count: 60) + "-\($0)")! }
        let handshake = Handshake(modelDigest: Tiny.model, adapters: names)
        guard
            case .refuse(let reason, let mend) = handshake.judge(
                Tiny.hello(.learner, "a", adapters: [Name(String(repeating: "y", count: 64))!]), holder: nil)
        else {
            Issue.record("a foreign adapter was taken")
            return
        }
        #expect(reason.utf8.count <= Limits.reasonBytes && mend.utf8.count <= Limits.reasonBytes)
    }
}
