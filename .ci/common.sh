# For the scripts beside it: how they speak, and where the cache is.
name=$(basename "$0" .sh)
say() { echo "$name: $*"; }
# What is wrong, the mend, and the exit code.
fail() {
    echo "$name: $1" >&2
    echo "$name: mend: $2" >&2
    exit "${3:-69}"
}
cache_folder() {
    if [ -n "${MMED_CACHE:-}" ]; then
        echo "$MMED_CACHE"
        return
    fi
    case ${XDG_CACHE_HOME:-} in /*) echo "$XDG_CACHE_HOME/mmed" ;; *) echo "$HOME/.cache/mmed" ;; esac
}
