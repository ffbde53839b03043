import Foundation
public import MMedCore
import MMedFormats
import MMedProtocol
import MMedScheduling
import MMedStore

/// The `export` command: an adapter of a run as a PEFT folder.
public enum ExportTool {
    /// Writes an adapter (`name` of a specialty, or `merged`) at its newest committed version and returns what was written.
    /// Throws `usage` when an adapter is there already, unless it is to be replaced, and for a folder that holds other things.
    public static func run(folder: String, name: Name, output: String, isReplacing: Bool) throws -> String {
        try requireAdapterPlace(output, isReplacing: isReplacing)
        let state = try RunFolder.loadCheckpoint(path: folder).state
        var references = state.heads.map(\.reference)
        if let merged = state.merged { references.append(merged) }
        guard let reference = references.last(where: { $0.name == name }) else {
            let known = references.map(\.name.text).joined(separator: ", ")
            throw MMedError(.badData, at: folder, "it has no adapter \(name)", mend: "use one of: \(known)")
        }
        let blob = try RunFolder.openBlob(reference.digest, path: folder)
        let layout = try LittleEndian.layout(of: blob, place: "\(folder): \(name) v\(reference.version)")
        try AdapterFolder.write(
            to: output, layout: layout, baseModel: (try? LaunchRecord(folder: folder))?.baseModel
        ) { try LittleEndian.weights($0, in: blob, layout: layout) }
        return "\(name) v\(reference.version) (\(reference.digest.short)) is in \(output)"
    }

    /// An adapter's folder is put in place as a whole: what else lay there would be gone.
    static func requireAdapterPlace(_ folder: String, isReplacing: Bool) throws(MMedError) {
        let found = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        if let other = found.sorted().first(where: { !AdapterFolder.fileNames.contains($0) }) {
            throw MMedError(
                .usage, at: folder, "it holds other things than an adapter (\(other)), which would be lost",
                mend: "name a folder of the adapter's own, as in \(folder)/adapter")
        }
        if !isReplacing, let own = found.sorted().last { try requireFree(folder + "/" + own) }
    }

    /// Hours of training must not be lost to a name that was given twice.
    static func requireFree(_ path: String) throws(MMedError) {
        guard FileManager.default.fileExists(atPath: path) else { return }
        throw MMedError(
            .usage, at: path, "there is one already", mend: "choose another place, or replace it with --overwrite")
    }
}
