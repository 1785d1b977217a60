#!/bin/sh
# Makes the virtual environment that the Makefile works in. Usage: deploy/bootstrap.sh PYTHON VENV
#
# Debian and Ubuntu ship Python without the parts that `python3 -m venv` needs. They are installed
# where that is allowed (root, or sudo without a password); elsewhere the command to run is printed.
set -eu

python=$1
venv=$2

if ! command -v "$python" >/dev/null; then
  echo "bootstrap: $python not found; idalloc needs Python 3.11 or later (make PYTHON=/path/to/python)" >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "bootstrap: $("$python" --version) is too old; idalloc needs Python 3.11 or later (make PYTHON=/path/to/python)" >&2
  exit 1
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if [ "$(id -u)" = 0 ]; then
    sudo=
  elif sudo -n true 2>/dev/null; then
    sudo='sudo -n'
  else
    echo "bootstrap: $python cannot make virtual environments; run:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $package" >&2
    exit 1
  fi
  if ! command -v apt-get >/dev/null; then
    echo "bootstrap: $python lacks the modules ensurepip and venv; install them with your system's packages" >&2
    exit 1
  fi
  echo "bootstrap: installing $package ..." >&2
  $sudo apt-get update >&2
  $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$package" >&2
fi

# What an attempt without ensurepip has left behind has no pip.
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  "$python" -m venv --clear "$venv"
fi
