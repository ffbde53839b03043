import MMedCore
import MMedFormats
import MMedProtocol
import MMedScheduling
import MMedStore

/// A PEFT folder that a run leaves to its users beside the blob that it was made of.
struct ExportedAdapter {
    /// Below the run's folder: `adapters/<specialty>/v<N>` or `merged`.
    let relativePath: String
    let digest: Digest

    /// Every folder that must be there in a state: what finished stages left, and the merged adapter.
    static func all(in state: RunState) -> [ExportedAdapter] {
        var all = state.stageHeads.map(\.reference).map { reference in
            ExportedAdapter(
                relativePath: "adapters/\(reference.name)/v\(reference.version)", digest: reference.digest)
        }
        if let merged = state.merged { all.append(ExportedAdapter(relativePath: "merged", digest: merged.digest)) }
        return all
    }

    /// Writes the folder where it is not there whole: to look is cheaper than to write, and what is whole stays untouched.
    /// True when it was written.
    func ensure(below folder: String, blob: BlobFile, baseModel: String) throws -> Bool {
        if (try? verify(below: folder, blob: blob, baseModel: baseModel)) != nil { return false }
        let layout = try LittleEndian.layout(of: blob, place: relativePath)
        try AdapterFolder.write(to: folder + "/" + relativePath, layout: layout, baseModel: baseModel) {
            try LittleEndian.weights($0, in: blob, layout: layout)
        }
        return true
    }

    /// Throws `badData` naming the file that is missing or is not what the run wrote.
    func verify(below folder: String, blob: BlobFile, baseModel: String?) throws {
        let layout = try LittleEndian.layout(of: blob, place: relativePath)
        try AdapterFolder.requireSame(at: folder + "/" + relativePath, layout: layout, baseModel: baseModel) {
            try LittleEndian.weights($0, in: blob, layout: layout)
        }
    }
}
