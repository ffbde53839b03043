import MMedCore
import Testing

@testable import MMedFormats

@Suite struct ModulePatternTests {
    @Test(arguments: [
        ("q_proj", "q_proj", true), ("q_proj", "k_proj", false), ("q_proj", "x.q_proj", false),
        (#"model\.layers\.\d+\..*\.(q|k)_proj"#, "model.layers.12.self_attn.k_proj", true),
        (#"model\.layers\.\d+\..*\.(q|k)_proj"#, "model.layers.x.self_attn.k_proj", false),
        (#"^.*(self_attn|mlp).*proj$"#, "model.layers.0.mlp.up_proj", true), (#".*\$"#, "a$", true),
        (#"layers\.([0-9]|1[0-5])\."#, "layers.14.", true), (#"layers\.([0-9]|1[0-5])\."#, "layers.16.", false),
        ("[^a-c]+", "xyz", true), ("[^a-c]+", "xbz", false), ("[]a]", "]", true), ("[a-]", "-", true),
        ("(?:ab)*?c", "ababc", true), ("a{2}", "aa", true), ("a{2}", "aaa", false), ("a{2,}", "aaaa", true),
        ("a{1,2}b", "aab", true), ("a{1,2}b", "aaab", false), ("a{0}b", "b", true), (#"\w+"#, "a_Z9", true),
        ("", "", true), ("", "a", false), ("a||b", "", true), (".*", "é", true), (".", "\n", false),
        ("(a*)*", "aaa", true), ("(a|b|ab)*c", "abbac", true), ("(|a)+b", "aab", true),
    ])
    func aNameIsOfThePattern(pattern: String, name: String, isMatch: Bool) throws {
        #expect(try #require(ModulePattern(pattern)).matches(name) == isMatch)
    }

    @Test(arguments: [
        "(", ")", "a)", "[", "[a", "*", "a**", "a{", "a{x}", "a{3,2}", "a{999999999999999999999}", "(?=a)", "(?<n>a)",
        "(?i)a", #"a\"#, #"(a)\1"#, #"\b"#, "a^", "$a", "[z-a]", #"[\"#, "a{256}{256}", "(((a{9}){9}){9}){9}",
        String(repeating: "(", count: 100_000), String(repeating: "a", count: 100_000),
        String(repeating: "(", count: 40) + String(repeating: ")", count: 40),
    ])
    func whatIsNoPatternIsRefused(pattern: String) { #expect(ModulePattern(pattern) == nil) }

    /// A backtracking matcher needs two to the power of the name's length for these.
    @Test(.timeLimit(.minutes(1)), arguments: ["(.*)*x", "((.*)+)+(.*)*Q", "(a*a*)*b", "(.|.)*!", "((a?){10}){20}b"])
    func noPatternTakesLong(pattern: String) throws {
        let expression = try #require(ModulePattern(pattern))
        for length in 0..<60 { #expect(!expression.matches(String(repeating: "a", count: length))) }
    }

    @Test func theSwiftMatcherAgreesOnRandomPatterns() throws {
        let random = CounterRandom(key: 4)
        let parts = ["a", "b", ".", "[ab]", "(a|b)", "(ab)?", "a*", "b+", "(a|)", "[^a]", "a{1,2}", "|"]
        var (matched, tried) = (0, 0)
        for turn in UInt64(0)..<600 {
            let pattern = (0..<5).map { parts[Int(random.block(turn, $0).0) % parts.count] }.joined()
            let expression = try #require(ModulePattern(pattern), "\(pattern)")
            let regex = try Regex(pattern)
            for place in UInt64(0)..<8 {
                let count = Int(random.block(turn, 100 + place).1 % 7)
                let words = (0..<count).map { random.block(turn &* 64 + UInt64($0), 200 + place).2 }
                let letters = words.map { $0 & 1 == 0 ? "a" : "b" }
                let isMatch = try regex.wholeMatch(in: letters.joined()) != nil
                #expect(expression.matches(letters.joined()) == isMatch, "\(pattern) \(letters)")
                (matched, tried) = (matched + (isMatch ? 1 : 0), tried + 1)
            }
        }
        #expect(matched > tried / 20 && matched < tried / 2, "\(matched) of \(tried)")
    }
}
