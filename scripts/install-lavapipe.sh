#!/usr/bin/env bash
# Installs Mesa's software Vulkan driver (lavapipe) on Debian 12, for the WebGPU tests on machines without a GPU. The
# driver in bookworm itself is too old for Dawn, so it comes from bookworm-backports, from the same mirror as the rest.
# Needs root. Does nothing if a recent enough lavapipe is there. Exit 3: this is not such a Debian machine.
set -euo pipefail
minimum=23
installed=$(dpkg-query -W -f='${Version}' mesa-vulkan-drivers 2>/dev/null || true)
if [[ -n $installed && ${installed%%.*} -ge $minimum ]]; then
  echo "mesa-vulkan-drivers $installed is installed"
  exit 0
fi
sources=/etc/apt/sources.list.d
target=$sources/bookworm-backports.sources
original=$(grep -lE '^Suites:.*\bbookworm\b' "$sources"/*.sources 2>/dev/null | grep -v backports | head -1 || true)
if [[ -z $original ]]; then
  echo "no Debian 12 package source found in $sources; install a Vulkan driver by other means" >&2
  exit 3
fi
# The first stanza that serves bookworm, with the suite exchanged: mirror and signing key stay those of the machine.
awk -v RS= '/(^|\n)Suites:[^\n]*bookworm([ \n]|$)/ { print; exit }' "$original" |
  sed -E 's/^Suites:.*/Suites: bookworm-backports/' >"$target"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -t bookworm-backports mesa-vulkan-drivers libvulkan1 >/dev/null
dpkg-query -W -f='mesa-vulkan-drivers ${Version} installed\n' mesa-vulkan-drivers
