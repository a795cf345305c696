# Sourced by scripts/check and scripts/test: stages, each of which runs whatever became of the others.

failed=()

# Run a command, and say what became of it and how long it took: stage NAME COMMAND...
stage() {
    local name=$1 began=$SECONDS verdict=ok
    shift
    "$@" || { verdict=FAILED && failed+=("$name"); }
    echo "$name: $verdict, $((SECONDS - began)) s"
}

# Print what a command says only if it fails.
quiet() {
    local said
    said=$("$@" 2>&1) || { echo "$said" && return 1; }
}

# Look at the files without running them.
check_files() {
    stage format quiet ruff format --check .
    stage lint quiet ruff check .
    stage types quiet mypy bridge tests benchmarks
    stage imports quiet lint-imports --no-cache --no-logo
}

# Name the stages that failed, and end.
finish() {
    if [ ${#failed[@]} -gt 0 ]; then
        echo "failed: ${failed[*]}"
        exit 1
    fi
    exit 0
}
