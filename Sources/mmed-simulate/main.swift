import Foundation
import MMedSimulation

/// Says what is wrong with the command line, and ends with 64.
func refuse(_ what: String, mend: String) -> Never {
    FileHandle.standardError.write(Data("mmed-simulate: \(what)\nmmed-simulate: mend: \(mend)\n".utf8))
    exit(64)
}

/// At once, since somebody may be watching.
func say(_ line: String = "") { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

func simulate(_ command: Command) -> Int32 {
    let began = Date()
    let report = Simulation.run(seed: command.seed, bounds: command.bounds, threads: command.threads)
    say(report.text(seconds: Date().timeIntervalSince(began), threads: command.threads))
    return report.failure == nil ? 0 : 70
}

func hunt(_ command: Command) -> Int32 {
    var failures: [String] = []
    say(MutationResult.head)
    let seconds = command.bounds.seconds.isFinite ? command.bounds.seconds : 60
    for mutant in command.mutants {
        let result = Mutations.hunt(mutant, seed: command.seed, seconds: seconds, threads: command.threads)
        say(result.row)
        if command.isVerbose { say("    \(result.what)") }
        if result.checker == nil {
            failures.append("\(mutant.rawValue) survived \(result.runs) runs")
        } else if let failure = result.withoutBug {
            failures.append("without \(mutant.rawValue) seed \(result.seed) breaks \(failure.checker): \(failure.what)")
        }
    }
    say()
    for failure in failures { say("BROKEN: \(failure)") }
    let count = command.mutants.count
    if failures.isEmpty { say("\(count) of \(count) mutants caught; without them the same seeds keep every promise") }
    return failures.isEmpty ? 0 : 70
}

do {
    let command = try Command(Array(CommandLine.arguments.dropFirst()))
    switch command.deed {
    case .help: say(Command.help)
    case .simulate: exit(simulate(command))
    case .mutants: exit(hunt(command))
    }
} catch {
    refuse(error.what, mend: "see mmed-simulate --help")
}
