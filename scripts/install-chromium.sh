#!/usr/bin/env bash
# Installs Chromium for the browser tests from the distribution's own packages (Debian; Ubuntu's package is a snap, which
# does not work for root in containers). Needs root. Does nothing if one is there. Exit 3: no such package here.
set -euo pipefail
if [[ -n ${DIMO_CHROMIUM:-} && -x ${DIMO_CHROMIUM} ]] || command -v chromium >/dev/null; then
  echo "Chromium is installed"
  exit 0
fi
apt-get update -qq
if ! apt-cache show chromium >/dev/null 2>&1; then
  echo "this distribution has no package chromium; install one by other means and set DIMO_CHROMIUM" >&2
  exit 3
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
chromium --version
