internal import Foundation

extension MergeReport {
    /// The report for a terminal, at most 100 columns wide unless names are long; ends in a newline.
    public var text: String {
        var lines = [
            "merge \(settings.method.rawValue): density \(settings.density), lambda SFT \(settings.lambdaSFT), "
                + "RL \(settings.lambdaRL); \(vectors.count) task vectors, \(matrices.count) matrices, rank \(rank)"
        ]
        lines += ["", "task vector" + gap(0, "task vector") + "     norm   by layer: min .. max   zero matrices"]
        for vector in vectors {
            let (low, high) = (vector.normByLayer.min() ?? 0, vector.normByLayer.max() ?? 0)
            lines.append(
                vector.label + gap(0, vector.label) + String(format: "%9.4g", vector.norm)
                    + String(format: "   %9.4g .. %-9.4g", low, high) + "   \(vector.zeroMatrices)")
        }
        if !pairs.isEmpty {
            let head = "pair"
            lines += [
                "", head + gap(1, head) + "   cosine  (min .. max by layer)   sign conflict  (min .. max by layer)",
            ]
            lines += pairs.map(line)
        }
        lines += ["", "entries kept by two or more vectors whose signs differ: \(percent(signConflictRate))"]
        lines += layerLines
        lines += ["", "method            norm   difference to \(settings.method.rawValue)"]
        for one in methods {
            let name = one.method.rawValue.padding(toLength: 14, withPad: " ", startingAt: 0)
            lines.append(name + String(format: "%8.4g", one.norm) + "   " + percent(one.relativeDifference))
        }
        lines += [
            "",
            "left out by rank \(rank): \(percent(relativeResidual)) of the merged norm"
                + (worst.map { " (most: \(percent($0.relativeResidual)) in \($0.module))" } ?? ""),
        ]
        return lines.joined(separator: "\n") + "\n"
    }

    private var worst: Matrix? { matrices.max { $0.relativeResidual < $1.relativeResidual } }

    /// Six layers to a line.
    private var layerLines: [String] {
        let cells = signConflictRateByLayer.enumerated().map { layer, rate in
            String(format: "layer %-3d ", layer) + percent(rate)
        }
        return stride(from: 0, to: cells.count, by: 6).map { start in
            "  " + cells[start..<min(start + 6, cells.count)].joined(separator: "  ")
        }
    }

    private func line(_ pair: Pair) -> String {
        let name = "\(pair.first) \(pair.second)"
        let cosines = pair.byLayer.compactMap(\.cosine)
        let rates = pair.byLayer.compactMap(\.signConflictRate)
        let cosine = pair.overall.cosine.map { String(format: "   %+.3f", $0) } ?? "        -"
        let range = String(format: "  (%+.3f .. %+.3f)", cosines.min() ?? 0, cosines.max() ?? 0)
        return name + gap(1, name) + cosine + range + "        " + percent(pair.overall.signConflictRate)
            + "  (" + percent(rates.min()) + " .. " + percent(rates.max()) + ")"
    }

    /// Spaces that bring a name of `spaces` joined labels to the width of the longest one.
    private func gap(_ spaces: Int, _ name: String) -> String {
        let longest = vectors.map(\.label.count).max() ?? 0
        let width = max(spaces == 0 ? longest : 2 * longest + spaces, 11)
        return String(repeating: " ", count: max(0, width - name.count))
    }

    private func percent(_ part: Double?) -> String { part.map { String(format: "%6.2f %%", $0 * 100) } ?? "     - " }
}
