/// The reference of all keys as Markdown; `docs/CONFIG.md` is this text, and a test holds it against the tables.
public enum ConfigReference {
    /// The whole page.
    public static var markdown: String {
        """
        # Configuration

        A run is a YAML file (`--config`), a cluster another (`--cluster`). Values come from the defaults below, then the file,
        then `--set path.to.key=value` (any number of times; the value is YAML, so `--set eval.stages=[base,dsa]` works).
        A key that is not listed, or a value of another type or out of its range, ends the command with exit code 78 before any
        work, naming the file, the line and the nearest known key. `config.resolved.yaml` in the run's folder is the complete
        result, and can be given as `--config` again. With `start --resume`, `--set` changes keys of `leases`, `storage` and
        `security` alone, for that process: no result rests on them. This page is made from the tables that read the files.

        ## Run

        \(table(RunConfig().descriptions()))
        A `preset` of `advantages` stands for the values in the table of `docs/GBA.md`; keys beside it win, also when they come from
        another place (file or `--set`) than the preset.

        ## Cluster

        \(table(ClusterConfig().descriptions()))
        Of an entry of `workers`, only `role` must be given. Without `keys` (or `--keys`), `start` refuses an address or host of
        another machine. Workers on other hosts are started there by hand, each with its key.

        """
    }

    private static func table(_ rows: [KeyDescription]) -> String {
        let head = "| key | default | meaning | value |\n|---|---|---|---|\n"
        return head
            + rows.map { row in
                let preset = row.preset.map { "`\($0)`" } ?? "required"
                return "| `\(row.path)` | \(preset) | \(row.meaning) | \(row.expects) |\n"
            }.joined()
    }
}
