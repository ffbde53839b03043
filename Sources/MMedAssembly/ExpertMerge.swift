import Foundation
import MMedConfig
import MMedCoordinator
import MMedCore
import MMedFormats
import MMedMerging
import MMedProtocol
import MMedScheduling
import MMedStore

/// CACI behind the coordinator's port: merges, keeps the result as a blob and writes the report. The store makes `merged/` of
/// the blob, before the checkpoint that names it.
struct ExpertMerge: MergePort {
    let layouts: [Name: AdapterLayout]
    let settings: MMedMerging.MergeSettings
    let store: RunStore
    let threads: Int
    let mergedName: Name
    /// Called ahead of all else: nothing is learned while experts are merged, so what learning keeps in memory can go.
    let onBegin: @Sendable () -> Void
    private let thread = ComputeThread("mmed.merge")

    init(
        layouts: [Name: AdapterLayout], settings: MMedMerging.MergeSettings, store: RunStore, threads: Int,
        mergedName: Name, onBegin: @escaping @Sendable () -> Void = {}
    ) {
        self.layouts = layouts
        self.settings = settings
        self.store = store
        self.threads = threads
        self.mergedName = mergedName
        self.onBegin = onBegin
    }

    func merge(_ order: MergeOrder) async throws -> AdapterReference {
        onBegin()
        return try await thread.run { try self.mergeAll(order) }
    }

    private func mergeAll(_ order: MergeOrder) throws -> AdapterReference {
        var inputs: [MergeInput] = []
        for input in order.inputs {
            switch (try weights(input.supervised), try weights(input.reinforced)) {
            case (let supervised?, let reinforced?):
                inputs += MergeInput.specialty(input.specialty, supervised: supervised, reinforced: reinforced)
            case (let supervised?, nil):
                inputs.append(MergeInput(name: input.specialty, stage: .sft, adapter: supervised))
            case (nil, let reinforced?):
                inputs.append(MergeInput(name: input.specialty, stage: .rl, adapter: reinforced))
            case (nil, nil): break
            }
        }
        let plan = try MergePlan(inputs: inputs, settings: settings)
        // The merged adapter is larger than all that it is made of, and nothing here needs it as a whole.
        let merged = try store.folder.scratch()
        let report = try plan.merge(threads: threads) { try merged.append(LittleEndian.bytes(of: $0)) }
        let digest = try store.put(AdapterContent.parts(plan.layout, []) + [.scratch(merged)])
        let text = report.text
        try store.folder.writeWhole(Array(text.utf8), to: store.folder.path + "/merge.txt")
        let record = try SortedJSON.bytes(report, laidOut: true) + [0x0A]
        try store.folder.writeWhole(record, to: store.folder.path + "/merge.json")
        return AdapterReference(name: mergedName, version: 0, digest: digest)
    }

    private func weights(_ reference: AdapterReference?) throws -> AdapterWeights? {
        guard let reference, let layout = layouts[reference.name] else { return nil }
        let blob = try store.requireFile(reference.digest)
        let place = "adapter \(reference.name) v\(reference.version)"
        return try AdapterWeights(
            layout: layout, values: try LittleEndian.weights(in: blob, layout: layout, place: place))
    }
}
