import MMedEngine
import Testing

@testable import MMedAssembly

@Suite struct OptionTextsTests {
    @Test(arguments: [
        (
            ["diabetes", "no diabetes"], "glucose 91 is low, age 21 is low: both for no diabetes.",
            "glucose 91 is low, age 21 is low: both for no diabetes (B)."
        ),
        (
            ["no diabetes", "diabetes"], "high for diabetes, low for no diabetes: diabetes weighs more.",
            "high for diabetes, low for no diabetes: diabetes (B) weighs more."
        ),
        (
            ["ill", "well"], "still ill, the illness is ill-defined: ill",
            "still ill, the illness is ill-defined: ill (A)"
        ),
        (["a b", "b", "c"], "c, then b, then a b, then abc", "c, then b, then a b (A), then abc"),
        (["stage 3", "stage 30"], "stage 3 and stage 30.", "stage 3 and stage 30 (B)."),
    ])
    func theLastOptionNamedIsCited(options: [String], trace: String, expected: String) {
        #expect(OptionTexts(options, style: .letterLast).cited(in: trace) == expected)
    }

    @Test func theOtherStyleWritesTheLetterBefore() {
        #expect(OptionTexts(["ill", "well"], style: .letterFirst).cited(in: "so: well.") == "so: B. well.")
    }

    @Test(arguments: OptionStyle.allCases)
    func aTraceWithoutAnOptionStaysAsItIs(style: OptionStyle) {
        #expect(OptionTexts(["ill", "well"], style: style).cited(in: "still chilled") == "still chilled")
        #expect(OptionTexts(["", "x"], style: style).cited(in: "") == "")
    }
}
