import CSystem
import Dispatch
import Foundation
import MMedConfig
import MMedCore
import MMedLocks
import Synchronization

/// The workers that a cluster file places on this machine: started with the coordinator, restarted when they die, ended with it.
final class LocalWorkers: Sendable {
    private struct Child {
        let name: String
        let arguments: [String]
        var process: ChildProcess?
        /// The writing end of its standard input.
        var input: Int32?
        var restarts = 0
    }

    private let executable: String
    private let logFolder: String
    private let onEvent: @Sendable (String, String) -> Void
    private let children: Locked<[Child]>
    private let isStopping = Atomic<Bool>(false)
    /// A worker that dies more often than this is not started again: its log tells why.
    private static let restartsMax = 5
    /// A worker may hear of a run's end before this process has noticed it.
    private static let restartSeconds = 2.0

    /// The workers of a cluster that are started here, with the names they get.
    static func names(in cluster: ClusterConfig) -> [(name: String, worker: WorkerConfig)] {
        var counts: [String: Int] = [:]
        return cluster.workers.filter { $0.host == "local" }.flatMap { worker in
            (0..<worker.count).map { _ in
                counts[worker.role.rawValue, default: 0] += 1
                return ("\(worker.role.rawValue)-\(counts[worker.role.rawValue] ?? 1)", worker)
            }
        }
    }

    /// `onEvent` hears the worker's name and what happened to it; `keyFile` tells where the key of a worker is.
    init(
        cluster: ClusterConfig, executable: String, address: String, modelPath: String, logFolder: String,
        keyFile: (String) -> String? = { _ in nil }, onEvent: @escaping @Sendable (String, String) -> Void
    ) throws {
        self.executable = executable
        self.logFolder = logFolder
        self.onEvent = onEvent
        try FileManager.default.createDirectory(atPath: logFolder, withIntermediateDirectories: true)
        children = Locked(
            LocalWorkers.names(in: cluster).map { name, worker in
                var arguments = [
                    "--role", worker.role.rawValue, "--connect", address, "--name", name, "--threads",
                    String(worker.threads), "--model", modelPath, "--exit-with-stdin",
                ]
                if !worker.adapters.names.isEmpty {
                    arguments += ["--adapters", worker.adapters.names.map(\.text).joined(separator: ",")]
                }
                if let key = keyFile(name) { arguments += ["--key", key] }
                return Child(name: name, arguments: arguments)
            })
    }

    /// Throws `internalError` when a worker is to be started here and the program is not there.
    static func requireProgram(_ path: String, of cluster: ClusterConfig) throws(MMedError) {
        guard cluster.workers.contains(where: { $0.host == "local" }),
            !FileManager.default.isExecutableFile(atPath: path)
        else { return }
        throw MMedError(
            .internalError, at: path, "the worker program is not beside mmed-coord",
            mend: "build both with `make build`")
    }

    /// Starts all of them.
    func start() throws {
        let count = children.withLock { $0.count }
        for index in 0..<count { try launch(index) }
    }

    private func launch(_ index: Int) throws {
        let (name, arguments) = children.withLock { ($0[index].name, $0[index].arguments) }
        let path = logFolder + "/\(name).log"
        let output = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        var ends: [Int32] = [-1, -1]
        // The worker ends when this pipe closes, however this process ends.
        guard output >= 0, pipe2(&ends, O_CLOEXEC) == 0 else {
            let why = String(cString: strerror(errno))
            if output >= 0 { close(output) }
            throw MMedError(
                .tryAgain, at: path, "worker \(name) cannot be started (\(why))",
                mend: "check the folder's permissions and the limit of open files")
        }
        defer { for descriptor in [output, ends[0]] { close(descriptor) } }
        do {
            let process = try ChildProcess(executable, arguments, input: ends[0], output: output, errors: output) {
                [weak self] process in self?.ended(index, process)
            }
            children.withLock {
                if let former = $0[index].input { close(former) }
                $0[index].process = process
                $0[index].input = ends[1]
            }
        } catch {
            close(ends[1])
            throw error
        }
    }

    private func ended(_ index: Int, _ process: ChildProcess) {
        guard let end = process.end, !isStopping.load(ordering: .acquiring) else { return }
        let (name, restarts) = children.withLock { children -> (String, Int) in
            if children[index].process === process { children[index].process = nil }
            children[index].restarts += 1
            return (children[index].name, children[index].restarts)
        }
        let why = "\(end), see \(logFolder)/\(name).log"
        guard restarts <= LocalWorkers.restartsMax else {
            onEvent(name, "ended (\(why)); given up after \(LocalWorkers.restartsMax) restarts")
            return
        }
        // A death is told at once; a clean exit may be that of a run whose end this process does not know yet.
        let isClean = end == .exit(0)
        if !isClean { onEvent(name, "ended (\(why)); it will be started again") }
        DispatchQueue.global().asyncAfter(deadline: .now() + LocalWorkers.restartSeconds) { [weak self] in
            guard let self, !isStopping.load(ordering: .acquiring) else { return }
            if isClean { onEvent(name, "ended (\(why)); starting it again") }
            do { try launch(index) } catch { onEvent(name, "could not be started: \(error)") }
        }
    }

    /// From now on a worker that ends stays ended: the run is over or being stopped, and workers leave when they have nothing
    /// left.
    func expectEnds() { isStopping.store(true, ordering: .releasing) }

    /// Waits for all of them to end after the coordinator has told them to; those that linger are ended.
    func stop(within seconds: Double) {
        isStopping.store(true, ordering: .releasing)
        let processes = children.withLock { children -> [ChildProcess] in
            for index in children.indices {
                if let input = children[index].input { close(input) }
                children[index].input = nil
            }
            return children.compactMap(\.process)
        }
        let deadline = Date(timeIntervalSinceNow: seconds)
        for process in processes {
            while process.end == nil && Date() < deadline { usleep(20_000) }
            process.signal(SIGKILL)
        }
    }
}
