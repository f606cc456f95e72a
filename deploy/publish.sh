#!/bin/sh
# Publishes the bundles of /models (read-only here): to Triton first, then to the gateway. So the
# gateway hears of a version only when Triton can have it. Arguments: `attnvgg-export triton --help`.
#
# A version that left /models leaves the gateway. Triton keeps it, and what is served can go back.
set -eu
models=/models bundles=/bundles
exec 9> "$bundles/.lock"
flock 9
attnvgg-export triton "$models" --repository /triton/repository "$@"

# Each appears and vanishes by a rename, as a folder whose name begins with a dot is passed over.
retire() {
  rm -rf "${1%/*}/.old"
  mv "$1" "${1%/*}/.old"
  rm -rf "${1%/*}/.old"
}

for manifest in "$models"/*/*/manifest.json; do
  from=${manifest%/manifest.json}
  version=${from##*/}
  home=$bundles/$(basename "${from%/*}")
  if cmp -s "$manifest" "$home/$version/manifest.json"; then continue; fi
  mkdir -p "$home"
  rm -rf "$home/.new"
  cp -R "$from" "$home/.new"
  if [ -e "$home/$version" ]; then retire "$home/$version"; fi
  mv "$home/.new" "$home/$version"
  echo "published $(basename "$home") version $version"
done
for place in "$bundles"/*/*/; do
  place=${place%/}
  relative=${place#"$bundles"/}
  if [ -e "$models/$relative/manifest.json" ] || [ ! -e "$place" ]; then continue; fi
  retire "$place"
  rmdir "${place%/*}" 2>/dev/null || true
  echo "retired   $(dirname "$relative") version $(basename "$relative")"
done
if [ -e "$models/default" ]; then
  cp "$models/default" "$bundles/.default.new"
  mv "$bundles/.default.new" "$bundles/default"
else
  rm -f "$bundles/default"
fi
