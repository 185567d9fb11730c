#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs zoetrope-serve's packages from a folder and what they recommend, but not what that in turn recommends.
# Usage: install_debs.sh FOLDER (root, in a system that may be bare)
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "$1"/zoetrope_*.deb "$1"/zoetrope-models-default_*.deb
# shellcheck disable=SC2046
apt-get install -qq -y --no-install-recommends $(dpkg-query -W -f '${Recommends}' zoetrope | tr -d ,)
