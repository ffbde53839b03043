import MMedCore

/// Training questions in shuffled rounds: each is asked once in a round, and none twice in a step.
struct QuestionDeck {
    private let count: Int
    private let shuffled: (Int) -> [Int]
    private var waiting: [Int] = []
    private var round = 0

    /// `shuffled` gives the order of a round, a permutation of `0..<count`.
    init(count: Int, shuffled: @escaping (_ round: Int) -> [Int]) {
        self.count = count
        self.shuffled = shuffled
    }

    /// The next `wanted` questions, all different. `wanted` is at most the number of questions.
    mutating func next(_ wanted: Int) -> [Int] {
        precondition(wanted <= count, "a step cannot ask more questions than there are")
        var chosen: [Int] = []
        while chosen.count < wanted {
            if let place = waiting.firstIndex(where: { !chosen.contains($0) }) {
                chosen.append(waiting.remove(at: place))
            } else {
                waiting += shuffled(round)
                round += 1
            }
        }
        return chosen
    }
}
