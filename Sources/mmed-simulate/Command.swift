import Foundation
import MMedSimulation

/// The command line: words and `--option value`.
struct Command {
    enum Deed { case simulate, mutants, help }

    /// What is wrong with a command line.
    struct Misuse: Error { let what: String }

    var deed = Deed.simulate
    var seed = UInt64(Date().timeIntervalSince1970)
    var bounds = SimulationBounds()
    var threads = ProcessInfo.processInfo.activeProcessorCount
    var mutants = Mutant.allCases
    var isVerbose = false

    static let help = """
        Whole runs of a coordinator and its workers under virtual time, with faults (docs/SIMULATION.md).

        usage: mmed-simulate [mutants] [options]

          --seed N       the first run's seed; from the clock when it is left out. It is printed.
          --hours H      simulated hours of all runs together (1 when no bound is given)
          --seconds S    seconds of the machine's clock; with mutants, for each of them (60)
          --runs N       whole runs; a failure prints the seed that plays it again with --runs 1
          --faults N     faults of all runs together
          --threads N    runs at a time; as many as there are cores
          --lines N      lines of the log before a broken promise (400)
          --only A,B     with mutants: these alone
          --verbose      with mutants: what the checker said
          --help         this text

        Without a word it simulates, and ends with 70 when a promise is broken. With mutants it plants known bugs
        one at a time, prints a table of what caught them, and ends with 70 when one survives.

        example: mmed-simulate --seed 7 --seconds 60
        example: mmed-simulate mutants --only ignores-fence,keeps-epoch
        """

    init() {}

    init(_ arguments: [String]) throws(Misuse) {
        var rest = arguments[...]
        var isBounded = false
        while let word = rest.popFirst() {
            switch word {
            case "mutants": deed = .mutants
            case "--help", "-h": deed = .help
            case "--verbose": isVerbose = true
            case "--seed": seed = try Command.whole(word, rest.popFirst())
            case "--lines": bounds.linesKept = try Command.count(word, rest.popFirst())
            case "--threads": threads = try Command.count(word, rest.popFirst())
            case "--only": mutants = try Command.mutants(rest.popFirst())
            case "--hours":
                bounds.hours = try Command.positive(word, rest.popFirst())
                isBounded = true
            case "--seconds":
                bounds.seconds = try Command.positive(word, rest.popFirst())
                isBounded = true
            case "--runs":
                bounds.runs = try Command.count(word, rest.popFirst())
                isBounded = true
            case "--faults":
                bounds.faults = try Command.count(word, rest.popFirst())
                isBounded = true
            default: throw Misuse(what: "there is no \(word)")
            }
            if deed == .help { return }
        }
        if !isBounded && deed == .simulate { bounds.hours = 1 }
    }

    private static func whole(_ option: String, _ text: String?) throws(Misuse) -> UInt64 {
        guard let text, let value = UInt64(text) else {
            throw Misuse(what: "\(option) is \(text ?? "without a value"), expected a whole number from 0 on")
        }
        return value
    }

    private static func count(_ option: String, _ text: String?) throws(Misuse) -> Int {
        guard let text, let value = Int(text), value > 0 else {
            throw Misuse(what: "\(option) is \(text ?? "without a value"), expected a whole number from 1 on")
        }
        return value
    }

    private static func positive(_ option: String, _ text: String?) throws(Misuse) -> Double {
        guard let text, let value = Double(text), value.isFinite, value > 0 else {
            throw Misuse(what: "\(option) is \(text ?? "without a value"), expected a number above 0")
        }
        return value
    }

    private static func mutants(_ text: String?) throws(Misuse) -> [Mutant] {
        try (text ?? "").split(separator: ",", omittingEmptySubsequences: false).map { name throws(Misuse) in
            guard let mutant = Mutant(rawValue: String(name)) else {
                let known = Mutant.allCases.map(\.rawValue).joined(separator: ", ")
                throw Misuse(what: "--only has \(name.isEmpty ? "an empty name" : String(name)), expected of: \(known)")
            }
            return mutant
        }
    }
}
