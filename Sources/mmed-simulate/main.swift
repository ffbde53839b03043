import Foundation
import MMedSimulation

let environment = ProcessInfo.processInfo.environment

func number(_ key: String) -> Double? { environment[key].flatMap(Double.init) }

var bounds = SimulationBounds()
if let hours = number("HOURS") { bounds.hours = hours }
if let runs = number("RUNS") { bounds.runs = Int(runs) }
if let faults = number("FAULTS") { bounds.faults = Int(faults) }
if let seconds = number("SECONDS") { bounds.seconds = seconds }
if bounds.hours.isInfinite && bounds.runs == .max && bounds.faults == .max && bounds.seconds.isInfinite {
    bounds.hours = 1
}
let seed = environment["SEED"].flatMap { UInt64($0) } ?? UInt64(Date().timeIntervalSince1970)
let threads = number("THREADS").map { Int($0) } ?? ProcessInfo.processInfo.activeProcessorCount
let began = Date()
let report = Simulation.run(seed: seed, bounds: bounds, threads: threads)
print(report.text(seconds: Date().timeIntervalSince(began), threads: threads))
exit(report.failure == nil ? 0 : 70)
