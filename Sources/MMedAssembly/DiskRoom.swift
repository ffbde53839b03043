import Foundation
import MMedCore

/// The free room where a run's folder is or will be: a run stops in good order while there is still some.
struct DiskRoom: Sendable {
    private let path: String
    private let lowWaterMiB: Int

    init(_ folder: String, lowWaterMiB: Int) {
        var place = URL(fileURLWithPath: folder)
        while place.path != "/", !FileManager.default.fileExists(atPath: place.path) {
            place.deleteLastPathComponent()
        }
        path = place.path
        self.lowWaterMiB = lowWaterMiB
    }

    /// MiB that this process may still use; nil where the system does not tell.
    var freeMiB: Int? {
        var figures = statvfs()
        guard statvfs(path, &figures) == 0 else { return nil }
        let bytes = UInt64(figures.f_bavail).multipliedReportingOverflow(by: UInt64(figures.f_frsize))
        return bytes.overflow ? nil : Int(clamping: bytes.partialValue >> 20)
    }

    var isLow: Bool { lowWaterMiB > 0 && freeMiB.map { $0 < lowWaterMiB } ?? false }

    /// Why a run cannot begin or go on.
    func shortage(mend: String) -> MMedError {
        MMedError(
            .tryAgain, at: path,
            "there are \(freeMiB ?? 0) MiB of room left, expected \(lowWaterMiB) (storage.lowWaterMiB)", mend: mend)
    }

    /// Throws `tryAgain` when there is too little room to begin.
    func require(isResumed: Bool) throws {
        if isLow { throw shortage(mend: isResumed ? "make room" : "make room, or choose another disk with --run-dir") }
    }

    /// Calls once when the room has become low; looks each second until it is cancelled.
    func watch(_ onLow: @escaping @Sendable (DiskRoom) -> Void) -> Task<Void, Never> {
        Task {
            while !Task.isCancelled {
                if isLow { return onLow(self) }
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }
}
