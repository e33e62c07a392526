#!/usr/bin/env bash
# Runs a bundle's run.py as aarch64 under qemu's user emulation and prints whether it answers as the checkpoint did.
#
#   benchmarks/aarch64.sh BUNDLE [WORK_FOLDER]
#
# Correctness only: an emulated processor's milliseconds say nothing. Needs a Debian-like system with apt-get, dpkg-deb,
# Python 3 with pip, and `apt-get install qemu-user-static`; nothing is installed, everything is unpacked in
# WORK_FOLDER (default: a folder under TMPDIR, kept for the next time).
set -euo pipefail

bundle=$(realpath "${1:?usage: benchmarks/aarch64.sh BUNDLE [WORK_FOLDER]}")
work=$(realpath --canonicalize-missing "${2:-${TMPDIR:-/tmp}/tailorbird-aarch64}")
pip=${PYTHON:-$(dirname "$0")/../.venv/bin/python}
root=$work/root site=$work/site
emulator=$(command -v qemu-aarch64-static) || {
    echo "qemu-aarch64-static is not here: apt-get install qemu-user-static" >&2
    exit 2
}
[ -f "$bundle/run.py" ] || { echo "$bundle is not a bundle: it has no run.py" >&2; exit 2; }

# Debian's own aarch64 packages, by a package list of their own: the system's stays as it is.
if [ ! -f "$root/unpacked" ]; then
    mkdir -p "$work"/apt/lists/partial "$work"/apt/cache/archives/partial "$root"
    touch "$work/apt/status"
    cat > "$work/apt.conf" <<EOF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Dir::State "$work/apt";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
EOF
    export APT_CONFIG=$work/apt.conf
    apt-get --quiet --quiet update
    apt-get --quiet --quiet --yes --no-install-recommends --download-only install python3 libstdc++6
    unset APT_CONFIG
    for package in "$work"/apt/cache/archives/*.deb; do dpkg-deb --extract "$package" "$root"; done
    # The emulator shows the host's /proc and /sys where this folder has none, and onnxruntime's reader of processor
    # facts crashes on another architecture's: so there is a Cortex-A76 with one core, like the one emulated.
    mkdir -p "$root/proc" "$root/sys/devices/system/cpu"
    printf '%s\n' 'processor : 0' 'Features : fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimddp' \
        'CPU implementer : 0x41' 'CPU architecture: 8' 'CPU variant : 0x3' 'CPU part : 0xd0b' 'CPU revision : 1' \
        > "$root/proc/cpuinfo"
    for list in present possible online; do echo 0 > "$root/sys/devices/system/cpu/$list"; done
    touch "$root/unpacked"
fi

python=$(find "$root/usr/bin" -name 'python3.[0-9]*' -type f | head -n 1)
version=${python##*python}
if [ ! -d "$site/onnxruntime" ]; then
    platforms=(--platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64)
    "$pip" -m pip install --quiet --disable-pip-version-check --target "$site" --only-binary :all: \
        --python-version "$version" "${platforms[@]}" onnxruntime numpy onnxruntime-extensions
fi

emulated() {
    env PYTHONHOME="$root/usr" PYTHONPATH="$site" "$emulator" -cpu cortex-a76 -L "$root" "$python" "$@"
}

emulated -c 'import platform, numpy, onnxruntime
print(platform.machine(), "Python", platform.python_version(), "numpy", numpy.__version__, "onnxruntime", onnxruntime.__version__)'
failed=0
for model in $("$pip" -c 'import json, sys; print(*json.load(open(sys.argv[1]))["models"])' "$bundle/bundle.json"); do
    flags=(--model "$model")
    [ "$model" = student.text.onnx ] && flags=(--text-model)
    emulated "$bundle/run.py" --threads 1 --check "${flags[@]}" || failed=1
done
exit "$failed"
