import MMedAlgorithms
import MMedConfig
import MMedCore
import MMedFormats

/// The `advantages` command: rewards to advantages as a run computes them, JSON lines in and out.
public enum AdvantagesTool {
    struct InputLine: Decodable {
        struct Sample: Decodable {
            var guideline: String
            var reward: Double?

            init(from decoder: any Decoder) throws {
                let keyed = try decoder.container(keyedBy: CodingKeys.self)
                guideline = try keyed.decode(String.self, forKey: .guideline)
                // Only a written null is a failed sample: a key that was forgotten must not count as one.
                guard keyed.contains(.reward) else {
                    throw DecodingError.keyNotFound(
                        CodingKeys.reward,
                        DecodingError.Context(
                            codingPath: keyed.codingPath, debugDescription: "a failed sample has null"))
                }
                reward = try keyed.decodeIfPresent(Double.self, forKey: .reward)
            }

            enum CodingKeys: CodingKey { case guideline, reward }
        }
        var question: String
        var samples: [Sample]
    }

    struct OutputLine: Encodable {
        struct Sample: Encodable {
            var guideline: String
            var reward: Double?
            var advantage: Double
            var masked: Bool

            func encode(to encoder: any Encoder) throws {
                var keyed = encoder.container(keyedBy: CodingKeys.self)
                try keyed.encode(guideline, forKey: .guideline)
                // A failed sample keeps its null: leaving the key out would change the line's form.
                try keyed.encode(reward, forKey: .reward)
                try keyed.encode(advantage, forKey: .advantage)
                try keyed.encode(masked, forKey: .masked)
            }

            enum CodingKeys: CodingKey { case guideline, reward, advantage, masked }
        }
        var question: String
        var samples: [Sample]
    }

    /// The lines of a file (`-` is standard input) with `advantage` and `masked` on each sample.
    public static func run(config path: String, overrides: [String], input: String) throws -> [String] {
        let config = try RunConfig.load(path: path, overrides: overrides)
        let known = config.prompt.guidelines.map(\.name.text)
        let lines = try JSONLines.readNumbered(input, as: InputLine.self).map { number, line in
            if let stranger = line.samples.first(where: { !known.contains($0.guideline) }) {
                throw MMedError(
                    .badData, at: "\(input):\(number)", "\"\(stranger.guideline)\" is no guideline of \(path)",
                    mend: "use one of \(known.joined(separator: ", "))")
            }
            return RewardLine(
                question: line.question,
                samples: line.samples.map { RewardLine.Sample(guideline: $0.guideline, reward: $0.reward) })
        }
        let result = try advantages(
            of: lines, settings: config.advantages.advantageSettings,
            guidelines: known)
        return try result.map { line in
            try SortedJSON.line(
                OutputLine(
                    question: line.question,
                    samples: line.samples.map {
                        OutputLine.Sample(
                            guideline: $0.guideline, reward: $0.reward, advantage: $0.advantage, masked: $0.isMasked)
                    }))
        }
    }
}
