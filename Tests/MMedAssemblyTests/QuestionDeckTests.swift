import Testing

@testable import MMedAssembly

@Suite struct QuestionDeckTests {
    @Test(arguments: [1, 2, 3, 5, 7], [1, 2, 3, 4, 5, 6, 7])
    func roundsAreFullAndStepsAreDistinct(wanted: Int, count: Int) {
        guard wanted <= count else { return }
        var deck = QuestionDeck(count: count) { round in
            // Another rotation in each round.
            (0..<count).map { ($0 * (round % 2 == 0 ? 1 : count - 1) + round) % count }
        }
        var asked = [Int](repeating: 0, count: count)
        for _ in 0..<40 {
            let step = deck.next(wanted)
            #expect(step.count == wanted && Set(step).count == wanted)
            for question in step { asked[question] += 1 }
            let (least, most) = (asked.min() ?? 0, asked.max() ?? 0)
            #expect(most - least <= 2, "\(asked)")
        }
        #expect((asked.max() ?? 0) - (asked.min() ?? 0) <= 1 || wanted * 40 % count != 0, "\(asked)")
    }
}
