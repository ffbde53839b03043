import MMedConfig
import MMedCoordinator
import MMedCore
import MMedScheduling
import MMedStore

/// A run's journal behind the coordinator's port.
struct RunJournal: JournalPort {
    let file: Journal

    init(_ file: Journal) { self.file = file }

    func append(_ records: [JournalRecord]) async throws { try await file.append(records) }
}

extension RunData {
    /// Every question, for the lineage: whom it is about and where it comes from.
    var lineage: [LineageQuestion] {
        [("train", train), ("validation", validation), ("test", test)].flatMap { split, data in
            data.records.map { record in
                LineageQuestion(
                    id: record.id, specialty: record.specialty.text, split: split, patient: record.patient,
                    image: record.image, source: record.source, license: record.license)
            }
        }
    }
}
