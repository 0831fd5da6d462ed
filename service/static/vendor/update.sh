#!/bin/sh
# Fetch 3Dmol.js from npm, check the recorded sums, and put the minified build and its licence here.
set -eu
version=2.5.5
package_sha256=26d91c5036d4efe78fc032c22cb692fea92bbb3cb1e65d20bf3869673fb3d8f5
script_sha256=f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent "3dmol@$version" >/dev/null
echo "$package_sha256  3dmol-$version.tgz" | sha256sum --check --quiet
tar xzf "3dmol-$version.tgz" package/build/3Dmol-min.js package/LICENSE
echo "$script_sha256  package/build/3Dmol-min.js" | sha256sum --check --quiet
install -m 644 package/build/3Dmol-min.js "$here/3Dmol-min.js"
install -m 644 package/LICENSE "$here/3Dmol-LICENSE.txt"
echo "3Dmol.js $version is in place"
