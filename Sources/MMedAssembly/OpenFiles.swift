import Foundation

/// Raises this process's limit of open files as far as the system lets it: every connection is one, and a peer that opens
/// many must not keep workers out.
func raiseOpenFilesLimit() {
    let wanted: rlim_t = 65_536
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    let raised = min(wanted, limit.rlim_max)
    guard limit.rlim_cur < raised else { return }
    limit.rlim_cur = raised
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
