#!/bin/sh
# Fetch the vendored files from npm, check the recorded sums, and put them here.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# fetch PACKAGE VERSION SHA256-OF-THE-TARBALL: unpacks into ./package
fetch() {
  rm -rf package
  npm pack --silent "$1@$2" >/dev/null
  echo "$3  $1-$2.tgz" | sha256sum --check --quiet
  tar xzf "$1-$2.tgz"
}

# keep SOURCE NAME SHA256
keep() {
  echo "$3  package/$1" | sha256sum --check --quiet
  install -m 644 "package/$1" "$here/$2"
}

fetch 3dmol 2.5.5 26d91c5036d4efe78fc032c22cb692fea92bbb3cb1e65d20bf3869673fb3d8f5
keep build/3Dmol-min.js 3Dmol-min.js f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016
keep LICENSE 3Dmol-LICENSE.txt 4c6eaaed856f3f28a3b1a98e74f4a8a71618de7d51ea4155c29f6f793bcef861

fetch swagger-ui-dist 5.35.0 1b8e891893404ea4c3558b6a87e2a3e494e7eedba41168c2ece5800a391a6ea6
keep swagger-ui-bundle.js swagger-ui-bundle.js e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2
keep swagger-ui.css swagger-ui.css 5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d
keep LICENSE swagger-ui-LICENSE.txt cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30
keep NOTICE swagger-ui-NOTICE.txt 0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2
echo "the vendored files are in place"
