import assert from 'node:assert/strict';
import { test } from 'node:test';
import { confinementArguments, userArguments } from './confinement.ts';

test('QEMU runs as the VMM’s user, or as another one without any of its rights', () => {
  assert.deepEqual(userArguments(), []);
  const known = userArguments({ name: 'a', uid: 7, gid: 8, inGroups: true }).join(' ');
  assert.match(known, /^--reuid a --regid 8 --init-groups /);
  const other = userArguments({ name: '7:8', uid: 7, gid: 8, inGroups: false }).join(' ');
  assert.match(other, /^--reuid 7 --regid 8 --clear-groups /);
  for (const words of [known, other]) {
    assert.match(words, /--inh-caps -all --bounding-set -all --no-new-privs$/);
  }
});

test('the filter is on by default, on hosts with seccomp only', () => {
  assert.deepEqual(confinementArguments(undefined, 'linux'), confinementArguments('on', 'linux'));
  const [flag, filters = ''] = confinementArguments('on', 'linux');
  assert.equal(flag, '-sandbox');
  for (const part of ['obsolete', 'elevateprivileges', 'spawn', 'resourcecontrol']) {
    assert.ok(filters.split(',').includes(`${part}=deny`), part);
  }
  assert.deepEqual(confinementArguments('off', 'linux'), []);
  assert.deepEqual(confinementArguments('on', 'darwin'), []);
});
