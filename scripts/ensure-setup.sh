#!/usr/bin/env bash
# First step of `npm test` and `npm run demo`: sets the machine up if something is missing, and builds if the
# sources are newer than the build.
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

if node_is_new_enough && [ -z "$(missing_tools)" ] && npm_is_done && guest_is_done; then
  build_is_done || { lock_tree && build_is_done || build; }
else
  setup
fi
