/// The known word that a typing slip most likely meant: at most two edits, or a third of its length, whichever is more.
func nearest(to word: String, among known: [String]) -> String? {
    let folded = word.lowercased()
    let ranked = known.map { (word: $0, distance: editDistance(folded, $0.lowercased())) }
    guard let best = ranked.min(by: { $0.distance < $1.distance }) else { return nil }
    return best.distance <= max(2, best.word.count / 3) && best.distance < max(word.count, best.word.count)
        ? best.word : nil
}

/// True for a word that is almost surely one of the known ones with a typing slip in its letters; `site-1` and `site-2` differ
/// on purpose, and two short words are soon alike.
func isSlip(_ word: String, of known: [String]) -> Bool {
    known.contains { other in
        let (letters, others) = (word.filter { !$0.isNumber }, other.filter { !$0.isNumber })
        return letters != others && editDistance(letters, others) <= min(2, other.count / 4)
    }
}

/// Insertions, deletions, replacements and swaps of neighbours between two words (optimal string alignment).
func editDistance(_ left: String, _ right: String) -> Int {
    let (a, b) = (Array(left), Array(right))
    guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
    var rows = [Array(0...b.count)]
    for i in 1...a.count {
        var row = [i]
        for j in 1...b.count {
            var best = min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
            if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { best = min(best, rows[i - 2][j - 2] + 1) }
            row.append(best)
        }
        rows.append(row)
    }
    return rows[a.count][b.count]
}
