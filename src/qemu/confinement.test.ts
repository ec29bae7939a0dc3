import assert from 'node:assert/strict';
import { test } from 'node:test';
import { confinementArguments } from './confinement.ts';

test('confined unless told otherwise, and only where there is seccomp', () => {
  assert.deepEqual(confinementArguments(undefined, 'linux'), confinementArguments('on', 'linux'));
  const [flag, filters = ''] = confinementArguments('on', 'linux');
  assert.equal(flag, '-sandbox');
  for (const part of ['obsolete', 'elevateprivileges', 'spawn', 'resourcecontrol']) {
    assert.ok(filters.split(',').includes(`${part}=deny`), part);
  }
  assert.deepEqual(confinementArguments('off', 'linux'), []);
  assert.deepEqual(confinementArguments('on', 'darwin'), []);
});
