# shellcheck shell=sh
# Sourced by the scripts beside it, in the project's root: one virtual environment, .venv, with the
# versions of constraints.txt.

# Debian keeps mosquitto where an ordinary user's PATH does not look.
PATH="$PATH:/usr/local/sbin:/usr/sbin"
export PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# stop_for_apt MISSING PACKAGE...: prints the one line to run, and ends.
stop_for_apt() {
    missing=$1
    shift
    sudo=
    [ "$(id -u)" = 0 ] || sudo='sudo '
    printf '%s missing. On Debian and Ubuntu this brings it; then start again:\n\n    %s\n\n' \
        "$missing" "${sudo}apt-get install -y --no-install-recommends $*" >&2
    exit 69
}

# make_venv PACKAGE...: an empty .venv unless there is a sound one; where this machine has no
# Python for it, the apt line for PACKAGE.
make_venv() {
    if .venv/bin/python -c 'import pip' 2>/dev/null; then
        return
    fi
    for python in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null; then
            "$python" -m venv --clear .venv
            return
        fi
    done
    stop_for_apt 'Python 3.11 or newer, with venv, is' "$@"
}

# fill_venv demo|dev: installs what the demo or the development needs; dev holds demo. Free of cost
# while pyproject.toml, constraints.txt and the place are those of the last installation.
fill_venv() {
    key=$({ cat pyproject.toml constraints.txt && pwd; } | cksum)
    case $(cat .venv/installed 2>/dev/null || true) in
    "$1 $key" | "dev $key") return ;;
    esac
    case $1 in
    demo) set -- demo -e '.[demo]' ;;
    # torch==2.13.0 is a download of gigabytes with CUDA, or of 190 MB without:
    # PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu makes pip take the latter.
    dev) set -- dev -e '.[train,demo,parquet,sparkplug,zstd]' --group dev ;;
    esac
    echo "Installing into .venv (a few minutes the first time) ..." >&2
    rm -f .venv/installed
    # --group and --build-constraint need a newer pip than Debian's.
    .venv/bin/python -m pip install -qq 'pip>=25.3'
    what=$1
    shift
    .venv/bin/python -m pip install -qq -c constraints.txt --build-constraint constraints.txt "$@"
    echo "$what $key" >.venv/installed
}
