import Foundation
import MMedCore
import MMedFormats

/// The `tiny-model` command.
public enum TinyModelTool {
    /// Writes the folder and says so. Throws `usage` when something is there already, which would be replaced whole;
    /// `tryAgain` when the disk refuses.
    public static func write(to path: String, seed: UInt64) throws -> String {
        let found = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        guard found.isEmpty else {
            throw MMedError(
                .usage, at: path, "there is something already", mend: "choose a folder that is not there yet")
        }
        try TinyModel.write(to: path, seed: seed)
        return "a random model of \(TinyModel.config.layerCount) layers is in \(path)"
    }
}
