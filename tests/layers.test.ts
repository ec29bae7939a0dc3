// Layers of OCI images, mounted by the kernel of this host: squashfs on loop devices, overlayfs above.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeSquashfs } from '../src/images/layers/write-squashfs.ts';

/** Runs a shell script, and returns its output. `$1` and so on are the arguments. */
function sh(script: string, ...args: readonly string[]): string {
  return execFileSync('/bin/sh', ['-euc', script, 'sh', ...args], { encoding: 'utf8' });
}

/** Makes an archive of a tree that a script makes, with GNU tar; the format `pax` alone has a place for extended attributes. */
function archiveOf(folder: string, script: string, format: 'pax' | 'gnu' = 'pax'): string {
  const tree = mkdtempSync(join(folder, 'tree-'));
  execFileSync('/bin/sh', ['-euc', script], { cwd: tree });
  const archive = `${tree}.tar`;
  const attributes = format === 'pax' ? ['--xattrs', '--xattrs-include=*'] : [];
  const options = ['--numeric-owner', '--sparse', `--format=${format}`, ...attributes];
  execFileSync('tar', [...options, '-cf', archive, '-C', tree, '.']);
  return archive;
}

/** Writes a layer as a squashfs. */
async function squashfsOf(archive: string): Promise<string> {
  const diffId = `sha256:${createHash('sha256').update(readFileSync(archive)).digest('hex')}`;
  const target = `${archive}.squashfs`;
  await writeSquashfs({ image: 'test', diffId, path: archive, mediaType: '' }, target);
  return target;
}

/** Mounts layers, the lowest first, as a read-only overlay. */
function mountLayers(folder: string, layers: readonly string[]): Disposable & { readonly path: string } {
  const mounted: string[] = [];
  const unmount = (): void => {
    for (const path of mounted.toReversed()) execFileSync('umount', [path]);
  };
  const mount = (name: string, ...args: readonly string[]): string => {
    const path = join(folder, name);
    mkdirSync(path, { recursive: true });
    execFileSync('mount', [...args, path]);
    mounted.push(path);
    return path;
  };
  try {
    const lower = layers.map((layer, i) => mount(`layer${i}`, '-t', 'squashfs', '-o', 'loop,ro', layer));
    const empty = join(folder, 'empty');
    mkdirSync(empty, { recursive: true });
    const options = `lowerdir=${[...lower.toReversed(), empty].join(':')}`;
    const path = mount('merged', '-t', 'overlay', '-o', options, 'overlay');
    return { path, [Symbol.dispose]: unmount };
  } catch (error) {
    unmount();
    throw error;
  }
}

function requireRoot(): void {
  assert.equal(process.getuid?.(), 0, 'this test mounts file systems: run it as root');
}

test('layers have owners, modes, capabilities, devices, links and holes of their archives', async (t) => {
  requireRoot();
  const folder = mkdtempSync(join(tmpdir(), 'nephos-layers-'));
  const script = `
    mkdir -p bin etc tmp 'a dir, "x"'
    chmod 1777 tmp
    cp /bin/true bin/setuid; chown 12:34 bin/setuid; chmod 6755 bin/setuid
    # CAP_SETUID is bit 7: a byte above 127, which is not UTF-8
    cp /bin/true bin/capable; setcap cap_net_raw,cap_setuid=ep bin/capable
    ln bin/capable bin/second; ln bin/capable etc/third
    ln -s ../bin/setuid etc/link
    mknod etc/block b 259 70000; mknod etc/character c 1 3; mkfifo etc/fifo
    printf 'name' >"$(printf 'etc/\\377\\tname')"
    printf 'long' >"etc/$(printf '%0200d' 0)"
    truncate -s 3M etc/sparse; printf 'middle' | dd of=etc/sparse bs=1 seek=1500000 conv=notrunc status=none
    chown 3000000000:3000000001 etc/sparse
    touch -d 2001-02-03T04:05:06Z etc/sparse
  `;
  for (const format of ['pax', 'gnu'] as const) {
    await t.test(format, async () => {
      const merged = mountLayers(mkdtempSync(join(folder, 'mount-')), [
        await squashfsOf(archiveOf(folder, script, format)),
      ]);
      using _mounts = merged;
      const stat = (path: string): string =>
        sh('stat -c "%F %a %u:%g %h %t:%T" "$1"', join(merged.path, path)).trim();
      assert.equal(stat('tmp'), 'directory 1777 0:0 2 0:0');
      assert.equal(stat('bin/setuid'), 'regular file 6755 12:34 1 0:0');
      assert.equal(stat('etc/block'), 'block special file 644 0:0 1 103:11170');
      assert.equal(stat('etc/character'), 'character special file 644 0:0 1 1:3');
      assert.equal(stat('etc/fifo'), 'fifo 644 0:0 1 0:0');
      assert.equal(stat('etc/third'), 'regular file 755 0:0 3 0:0');
      assert.equal(stat('etc/sparse'), 'regular file 644 3000000000:3000000001 1 0:0');
      assert.equal(sh('readlink "$1"', join(merged.path, 'etc/link')), '../bin/setuid\n');
      const inodes = ['bin/capable', 'bin/second', 'etc/third'].map(
        (name) => statSync(join(merged.path, name)).ino,
      );
      assert.equal(new Set(inodes).size, 1);
      const sparse = readFileSync(join(merged.path, 'etc/sparse'));
      assert.equal(sparse.length, 3 * 2 ** 20);
      assert.equal(sparse.indexOf('middle'), 1_500_000);
      assert.equal(statSync(join(merged.path, 'etc/sparse')).mtime.toISOString(), '2001-02-03T04:05:06.000Z');
      const names = readdirSync(join(merged.path, 'etc'), 'latin1');
      assert.ok(names.includes('\xff\tname') && names.includes('0'.repeat(200)));
      if (format === 'pax') {
        assert.match(sh('getcap "$1"', join(merged.path, 'etc/third')), /cap_setuid,cap_net_raw=ep/);
      }
    });
  }
  rmSync(folder, { recursive: true });
});

test('upper layers hide, replace and keep what lower layers have', async () => {
  requireRoot();
  const folder = mkdtempSync(join(tmpdir(), 'nephos-layers-'));
  const lower = archiveOf(
    folder,
    'mkdir -p keep gone opaque replaced; for d in keep gone opaque replaced; do echo low >$d/low; done; echo x >file',
  );
  const upper = archiveOf(
    folder,
    `touch .wh.gone .wh.file; mkdir opaque replaced keep; touch opaque/.wh..wh..opq .wh.replaced
     for d in opaque replaced keep; do echo up >$d/up; done`,
  );
  const again = archiveOf(folder, 'echo again >file; mkdir gone; echo new >gone/new');
  const layers = [await squashfsOf(lower), await squashfsOf(upper), await squashfsOf(again)];
  const listOf = (count: number): string[] => {
    using merged = mountLayers(mkdtempSync(join(folder, 'mount-')), layers.slice(0, count));
    return sh('cd "$1" && find . -type f -o -type c | sort', merged.path).trim().split('\n');
  };
  assert.deepEqual(listOf(2), ['./keep/low', './keep/up', './opaque/up', './replaced/up']);
  assert.deepEqual(listOf(3), [
    './file',
    './gone/new',
    './keep/low',
    './keep/up',
    './opaque/up',
    './replaced/up',
  ]);
  rmSync(folder, { recursive: true });
});
