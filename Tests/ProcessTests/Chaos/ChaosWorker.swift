import Foundation

/// A worker of a run, started again whenever it ends.
final class ChaosWorker {
    let role: Victim
    let name: String
    let proxy: LinkProxy
    private(set) var program: Program?
    private(set) var starts = 0
    private var endedAt: Date?

    init(_ role: Victim, _ number: Int, target: UInt16) throws {
        self.role = role
        name = "\(role.rawValue)-\(number)"
        proxy = try LinkProxy(target: target)
    }

    func start(_ bench: ChaosBench, in scratch: Scratch, failpoint: String?) throws {
        starts += 1
        endedAt = nil
        program = try Program(
            "mmed-worker",
            [
                "--role", role.rawValue, "--connect", "tcp://127.0.0.1:\(proxy.port)", "--name", name, "--threads",
                "1", "--model", bench.lab.model,
            ], in: scratch, folder: bench.programs, environment: failpoint.map { ["MMED_FAILPOINT": $0] } ?? [:])
    }

    /// Starts it again a moment after its end, as a supervisor would.
    func look(_ run: ChaosRun, _ bench: ChaosBench, in scratch: Scratch) async throws {
        guard let program, let code = program.code else { return }
        guard [0, -SIGKILL].contains(code) || (program.errors.contains("failpoint ") && code > 0) else {
            throw Failure("\(name) ended with \(code): \(program.errors)")
        }
        guard starts < 12 else { throw Failure("\(name) ended \(starts) times: \(program.errors)") }
        let ended = endedAt ?? Date()
        endedAt = ended
        if Date().timeIntervalSince(ended) >= 0.2 { try start(bench, in: scratch, failpoint: nil) }
    }
}
