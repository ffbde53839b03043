import Foundation

extension SimulationReport {
    /// The figures in lines; `seconds` is the time that it took.
    public func text(seconds: Double, threads: Int) -> String {
        func grouped(_ value: Double) -> String {
            let digits = String(Int(value.isFinite ? value : 0))
            var out = ""
            for (place, digit) in digits.enumerated() {
                if place > 0 && (digits.count - place) % 3 == 0 { out += "," }
                out.append(digit)
            }
            return out
        }
        var lines = [
            "seed \(seed)  runs \(runs)  coordinator starts \(restarts)  threads \(threads)",
            "events \(grouped(Double(events)))  faults \(grouped(Double(faults.total)))  simulated hours "
                + String(format: "%.2f", hours) + "  seconds " + String(format: "%.1f", seconds),
            "faults a simulated hour \(grouped(Double(faults.total) / max(hours, 1e-9)))  faults a second "
                + grouped(Double(faults.total) / max(seconds, 1e-9)) + "  times real time "
                + grouped(hours * 3_600 / max(seconds, 1e-9)),
        ]
        lines.append(
            "too old paths \(stale)  liars caught \(caught)  lies left \(liesLeft)  journals played again \(replays)")
        for place in Fault.Place.allCases {
            let kinds = Fault.allCases.filter { $0.place == place }
            lines.append("\(place): " + kinds.map { "\($0) \(faults[$0])" }.joined(separator: ", "))
        }
        if let failure {
            lines.append(contentsOf: failure.transcript)
            lines.append("BROKEN: \(failure.checker): \(failure.what)")
            lines.append("play it again: make simulate SEED=\(failure.seed) RUNS=1")
        } else {
            lines.append("0 lost, 0 counted twice, 0 promises broken")
        }
        return lines.joined(separator: "\n")
    }
}
