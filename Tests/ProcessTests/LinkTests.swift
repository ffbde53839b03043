import Foundation
import Testing

extension Processes.FailureTable {
    /// The link of the only rollout worker fails while it samples, until the coordinator has given the worker up; when the
    /// link heals the worker is back by itself and the run ends the same.
    @Test(arguments: [LinkProxy.Fault.cut, .stalled, .upStalled, .downStalled])
    func row04_aLinkThatFailsCostsItsLeases(fault: LinkProxy.Fault) async throws {
        let scratch = try Scratch()
        let program = try await lonely("exec cat > /dev/null", in: scratch)
        let address = try await boundAddress(of: program)
        let port = try #require(address.split(separator: ":").last.flatMap { UInt16($0) })
        let link = try LinkProxy(target: port)
        defer { link.close() }
        let model = try await Lab.shared.value.model
        func worker(_ role: String, at port: UInt16) throws -> Program {
            try Program(
                "mmed-worker",
                [
                    "--role", role, "--connect", "tcp://127.0.0.1:\(port)", "--name", "\(role)-9", "--threads", "1",
                    "--model", model,
                ], in: scratch)
        }
        let learner = try worker("learner", at: port)
        let rollout = try worker("rollout", at: link.port)
        var lines: [ProgressLine] { (try? ProgressLine.all(scratch.path + "/run")) ?? [] }
        func reached(_ what: String, _ isThere: () -> Bool) async throws {
            try await eventually(what) {
                if isThere() { return true }
                guard program.isRunning else { throw Failure("the run ended before \(what): \(program.errors)") }
                return false
            }
        }
        try await reached("GBA") { lines.contains { $0.stage.hasPrefix("gba/") && $0.event == "groups-closed" } }
        link.set(fault)
        // A worker that only cannot hear goes on with its beats; what it does not hear holds nobody up but itself.
        if fault != .downStalled {
            try await reached("the worker is given up") {
                lines.contains { $0.event == "worker-left" && $0.values["worker"] == "rollout-9" }
            }
        } else {
            let before = lines.count
            try await reached("something is logged meanwhile") { lines.count > before }
        }
        link.set(nil)
        let ended = try await program.end()
        #expect(ended.code == 0, "\(ended)")
        #expect(try await learner.end().code == 0)
        // It hears of the run's end only when its connection lasted so long; otherwise it waits for the coordinator.
        rollout.signal(SIGKILL)
        try RunResult(scratch.path + "/run").expectSame(as: try await Lab.unbroken.value)
        try await expectVerified(scratch.path + "/run", in: scratch)
    }
}
