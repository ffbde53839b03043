import Foundation
import MMedCore

/// The free room where a run's folder is or will be: a run stops in good order while there is still some.
struct DiskRoom: Sendable {
    private let path: String
    private let lowWaterMiB: Int
    /// What a step's gradients take until its update.
    private let gradientMiB: Int

    init(_ folder: String, lowWaterMiB: Int, gradientMiB: Int = 0) {
        var place = URL(fileURLWithPath: folder)
        while place.path != "/", !FileManager.default.fileExists(atPath: place.path) {
            place.deleteLastPathComponent()
        }
        path = place.path
        self.lowWaterMiB = lowWaterMiB
        self.gradientMiB = gradientMiB
    }

    /// MiB that this process may still use; nil where the system does not tell.
    var freeMiB: Int? {
        var figures = statvfs()
        guard statvfs(path, &figures) == 0 else { return nil }
        let bytes = UInt64(figures.f_bavail).multipliedReportingOverflow(by: UInt64(figures.f_frsize))
        return bytes.overflow ? nil : Int(clamping: bytes.partialValue >> 20)
    }

    /// The room that there is, where it is less than that.
    private func lack(of needed: Int) -> Int? {
        guard lowWaterMiB > 0, let free = freeMiB, free < needed else { return nil }
        return free
    }

    /// Why a run cannot go on.
    func shortage(freeMiB: Int, mend: String) -> MMedError {
        MMedError(
            .tryAgain, at: path,
            "there were \(freeMiB) MiB of room left, expected \(lowWaterMiB) (storage.lowWaterMiB)", mend: mend)
    }

    /// Throws `tryAgain` when there is too little room to begin.
    func require(isResumed: Bool) throws {
        guard let free = lack(of: lowWaterMiB + gradientMiB) else { return }
        let gradients = gradientMiB > 0 ? ", and \(gradientMiB) for gradients" : ""
        throw MMedError(
            .tryAgain, at: path,
            "there are \(free) MiB of room left, expected \(lowWaterMiB) (storage.lowWaterMiB)\(gradients)",
            mend: isResumed ? "make room" : "make room, or choose another disk with --run-dir")
    }

    /// Calls once when the room has become low, with what is left; looks each second until it is cancelled.
    func watch(_ onLow: @escaping @Sendable (_ freeMiB: Int) -> Void) -> Task<Void, Never> {
        Task {
            while !Task.isCancelled {
                if let free = lack(of: lowWaterMiB) { return onLow(free) }
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }
}
