import MMedCore
import MMedEngine
import MMedFormats
import MMedProtocol
import MMedStore
import MMedTensor

/// The wire's numbers of an update as the engine's.
enum AdamWNumbers {
    static func step(_ numbers: UpdateNumbers) -> AdamWStep {
        AdamWStep(
            learningRate: Float(numbers.learningRate), beta1: Float(numbers.beta1), beta2: Float(numbers.beta2),
            epsilon: Float(numbers.epsilon), weightDecay: Float(numbers.weightDecay),
            gradientScale: Float(numbers.clipFactor), biasCorrection1: Float(numbers.biasCorrection1),
            biasCorrection2: Float(numbers.biasCorrection2))
    }

    /// True for the first update after zero moments: 1 - beta^1 is 1 - beta.
    static func isFirst(_ numbers: UpdateNumbers) -> Bool {
        Float(numbers.biasCorrection1) == UpdateMath.biasCorrection(beta: numbers.beta1, step: 1)
            && Float(numbers.biasCorrection2) == UpdateMath.biasCorrection(beta: numbers.beta2, step: 1)
    }
}

/// The bytes that an adapter's digest covers.
enum AdapterContent {
    static func bytes(_ layout: AdapterLayout, _ weights: [Float]) -> [UInt8] {
        AdapterFolder.canonicalContent(layout, weights)
    }

    /// The same, of which the weights are not copied.
    static func parts(_ layout: AdapterLayout, _ weights: [Float]) -> [BlobPart] {
        [.bytes(AdapterFolder.canonicalContent(layout, [])), .floats(weights)]
    }
}
