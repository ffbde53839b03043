import MMedAlgorithms
import MMedConfig
import MMedCore

/// The `advantages` command: rewards to advantages as a run computes them, JSON lines in and out.
public enum AdvantagesTool {
    struct InputLine: Decodable {
        struct Sample: Decodable {
            var guideline: String
            var reward: Double?
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
        let lines = try JSONLines.read(input, as: InputLine.self).map { line in
            RewardLine(
                question: line.question,
                samples: line.samples.map { RewardLine.Sample(guideline: $0.guideline, reward: $0.reward) })
        }
        let result = try advantages(
            of: lines, settings: config.advantages.advantageSettings,
            guidelines: config.prompt.guidelines.map(\.name.text))
        return try result.map { line in
            try JSONLines.line(
                OutputLine(
                    question: line.question,
                    samples: line.samples.map {
                        OutputLine.Sample(
                            guideline: $0.guideline, reward: $0.reward, advantage: $0.advantage, masked: $0.isMasked)
                    }))
        }
    }
}
