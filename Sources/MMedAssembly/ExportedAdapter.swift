import MMedCore
import MMedFormats
import MMedProtocol
import MMedScheduling

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
    func ensure(below folder: String, content: [UInt8], baseModel: String) throws -> Bool {
        let (layout, weights) = try LittleEndian.adapter(content: content, place: relativePath)
        let path = folder + "/" + relativePath
        let isWhole =
            (try? AdapterFolder.requireSame(at: path, layout: layout, values: weights, baseModel: baseModel)) != nil
        if !isWhole { try AdapterFolder.write(to: path, layout: layout, values: weights, baseModel: baseModel) }
        return !isWhole
    }

    /// Throws `badData` naming the file that is missing or is not what the run wrote.
    func verify(below folder: String, content: [UInt8], baseModel: String?) throws {
        let (layout, weights) = try LittleEndian.adapter(content: content, place: relativePath)
        try AdapterFolder.requireSame(
            at: folder + "/" + relativePath, layout: layout, values: weights, baseModel: baseModel)
    }
}
