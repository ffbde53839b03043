import MMedFormats

/// The `tiny-model` command.
public enum TinyModelTool {
    /// Writes the folder and says so. Throws `tryAgain` when the disk refuses.
    public static func write(to path: String, seed: UInt64) throws -> String {
        try TinyModel.write(to: path, seed: seed)
        return "a random model of \(TinyModel.config.layerCount) layers is in \(path)"
    }
}
