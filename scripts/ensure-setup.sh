#!/usr/bin/env bash
# What `npm test` and `npm run demo` begin with: sets the machine up if something is missing, builds if the
# sources are newer than the build, and otherwise ends at once.
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

if node_is_new_enough && [ -z "$(missing_tools)" ] && npm_is_done && guest_is_done; then
  build_is_done || { lock_tree && build_is_done || build; }
else
  setup
fi
