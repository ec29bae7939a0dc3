import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VmConfig } from '../config/vm-config.ts';
import { decode, encode } from './decode.ts';
import type { Struct } from './field.ts';
import { withAbsolutePaths } from './absolute-paths.ts';

/** A configuration with paths in `folder`, or relative ones where that is empty. */
function configuration(folder: string, made = folder) {
  return decode(VmConfig, {
    kernel: { path: `${folder}k` },
    initramfs: { path: `${folder}../i` },
    payload: { kernel: `${folder}k`, initramfs: `${folder}../i` },
    memory: { size: 0, zones: [{ id: 'z', size: 2 ** 20, file: `${folder}zone` }] },
    disks: [{ path: `${folder}a.raw`, id: 'a' }, { path: '/b.raw' }],
    net: [{ vhost_user: true, vhost_socket: `${folder}net.sock` }],
    pmem: [{ file: `${folder}p` }],
    fs: [
      { tag: 't', socket: `${folder}fs.sock` },
      { tag: 'u', directory: `${folder}shared` },
    ],
    vsock: { cid: 3, socket: `${made}v` },
    rng: { src: `${folder}random` },
    serial: { mode: 'File', file: `${folder}s` },
    console: { mode: 'Socket', socket: `${made}c` },
    debug_console: { mode: 'File', file: `${folder}d` },
    devices: [{ path: `${folder}card` }],
  });
}

test('relative paths are made absolute, except those of sockets that the VMM makes', () => {
  const done = withAbsolutePaths(VmConfig, configuration(''), '/in, here');
  assert.deepEqual(encode(VmConfig, done), encode(VmConfig, configuration('/in, here/', '')));
  assert.deepEqual(withAbsolutePaths(VmConfig, done, '/other'), done);
  assert.equal(withAbsolutePaths(VmConfig, configuration(''), '/').kernel.path, '/k');
});

test('every member that names a file or a socket is declared as a path', () => {
  const undeclared = (schema: Struct, at: string): string[] =>
    Object.entries(schema.fields).flatMap(([name, { isPath, nested, document }]) => {
      const place = `${at}.${name}`;
      if (nested !== undefined) return undeclared(nested, place);
      // a switch that is called like a file
      if (document['type'] === 'boolean') return [];
      return /(^|_)(path|file|socket|src|kernel|initramfs|firmware|directory)$/.test(name) && !isPath
        ? [place]
        : [];
    });
  assert.deepEqual(undeclared(VmConfig, ''), []);
});
