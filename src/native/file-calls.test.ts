import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  type BigIntStats,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { AT_EMPTY_PATH, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, UNCHANGED_ID } from './file-calls.ts';
import { deviceNumber, StatusBuffer, type FileStatus } from './file-status.ts';
import { loadLibc } from './libc.ts';
import { allocate, putAddress, putVector } from './memory.ts';
import { hostOpenFlags, O_CLOEXEC, O_DIRECT, O_PATH, O_RDONLY, O_RDWR, O_TRUNC } from './open-flags.ts';
import { errno, ENOENT } from './system-error.ts';

const libc = await loadLibc();
const EEXIST = 17;
const ENODATA = 61;

interface Folder {
  readonly path: string;
  readonly fd: number;
}

/** Runs with an open temporary folder. `text` returns the address of a NUL-terminated string, until the end. */
function inFolder(act: (folder: Folder, text: (value: string) => number) => void): () => void {
  return () => {
    const path = mkdtempSync(join(tmpdir(), 'calls "é" '));
    const fd = openSync(path, O_RDONLY);
    const kept: Buffer[] = [];
    const text = (value: string): number => {
      const bytes = Buffer.from(`${value}\0`);
      kept.push(bytes);
      return libc.addressOf(bytes);
    };
    try {
      act({ path, fd }, text);
    } finally {
      closeSync(fd);
      rmSync(path, { recursive: true, force: true });
    }
  };
}

function expectedStatus(stats: BigIntStats): Omit<FileStatus, 'isMountRoot'> {
  const time = (ns: bigint) => {
    const nanoseconds = Number(((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n);
    return { seconds: Number((ns - BigInt(nanoseconds)) / 1_000_000_000n), nanoseconds };
  };
  return {
    inode: stats.ino,
    mode: Number(stats.mode),
    links: Number(stats.nlink),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    device: Number(stats.rdev),
    size: Number(stats.size),
    blocks: Number(stats.blocks),
    blockSize: Number(stats.blksize),
    accessed: time(stats.atimeNs),
    modified: time(stats.mtimeNs),
    changed: time(stats.ctimeNs),
    created: time(stats.birthtimeNs),
    hostDevice: Number(stats.dev),
  };
}

function checkStatus(actual: FileStatus | number, path: string): void {
  assert.ok(typeof actual === 'object');
  const { isMountRoot, ...status } = actual;
  assert.deepEqual(status, expectedStatus(lstatSync(path, { bigint: true })));
  assert.equal(isMountRoot, path === '/proc');
}

test(
  'statx gives the attributes that Node gives, for each type of file',
  inFolder(({ path, fd }, text) => {
    const status = new StatusBuffer();
    writeFileSync(join(path, 'file'), 'x'.repeat(5000));
    utimesSync(join(path, 'file'), -1.5, 5e9 + 0.25);
    linkSync(join(path, 'file'), join(path, 'other'));
    symlinkSync('no/where', join(path, 'link'));
    mkdirSync(join(path, 'folder'), { mode: 0o1_751 });
    const large = openSync(join(path, 'large'), 'w');
    assert.equal(libc.ftruncate(large, 2 ** 43 + 5), 0);
    for (const name of ['file', 'link', 'folder', 'large'])
      checkStatus(status.ofEntry(fd, text(name)), join(path, name));
    checkStatus(status.ofEntry(0, text('/dev/null')), '/dev/null');
    checkStatus(status.ofEntry(0, text('/proc')), '/proc');
    checkStatus(status.ofDescriptor(large), join(path, 'large'));
    checkStatus(status.ofDescriptor(fd), path);
    assert.equal(status.ofEntry(fd, text('missing')), ENOENT);
    assert.equal(lstatSync('/dev/null').rdev, deviceNumber(1, 3));
    closeSync(large);
    status.free();
  }),
);

test('a device number has 12 bits of the major and 20 of the minor', () => {
  assert.equal(deviceNumber(0x123, 0xabcde), 0xabc1_23de);
  assert.equal(deviceNumber(8, 1), 0x801);
});

test(
  'files are opened, written, read, extended and cut at offsets above 4 GiB',
  inFolder(({ path, fd }, text) => {
    const file = libc.openat(fd, text('file'), O_RDWR | constants.O_CREAT | O_CLOEXEC, 0o640);
    assert.ok(file >= 0);
    const data = allocate(4096);
    new Uint8Array(data.view.buffer).set(Buffer.from('abcdef'), 1000);
    putVector(data.view, 0, data.address + 1000, 2);
    putVector(data.view, 1, data.address + 1002, 4);
    const at = 2 ** 33;
    assert.equal(libc.pwritev(file, data.address, 2, at), 6);
    assert.equal(libc.pwritev2(file, data.address, 1, at + 6, 0), 2);
    assert.equal(fstatSync(file).size, at + 8);
    putVector(data.view, 0, data.address + 2000, 8);
    assert.equal(libc.preadv(file, data.address, 1, at), 8);
    assert.equal(Buffer.from(data.view.buffer, 2000, 8).toString(), 'abcdefab');
    assert.equal(libc.preadv2(file, data.address, 1, at + 4, 0), 4);
    assert.equal(Buffer.from(data.view.buffer, 2000, 4).toString(), 'efab');
    assert.equal(libc.lseek(file, 0, 3), libc.lseek(file, 1, 3));
    assert.equal(libc.fallocate(file, 0, at, 100), 0);
    assert.equal(fstatSync(file).size, at + 100);
    assert.equal(libc.ftruncate(file, 3), 0);
    assert.equal(fstatSync(file).size, 3);
    for (const sync of [libc.fsync, libc.fdatasync, libc.syncfs]) assert.equal(sync(file), 0);
    assert.equal(lstatSync(join(path, 'file')).mode & 0o777, 0o640 & ~process.umask());
    libc.close(file);
    data.free();
  }),
);

test(
  'ranges are copied between files',
  inFolder(({ path, fd }, text) => {
    writeFileSync(join(path, 'from'), '0123456789');
    writeFileSync(join(path, 'to'), 'abcdefghij');
    const [from, to] = [libc.openat(fd, text('from'), O_RDONLY, 0), libc.openat(fd, text('to'), O_RDWR, 0)];
    const offsets = allocate(16);
    putAddress(offsets.view, 0, 2);
    putAddress(offsets.view, 8, 4);
    assert.equal(libc.copy_file_range(from, offsets.address, to, offsets.address + 8, 3, 0), 3);
    assert.equal(readFileSync(join(path, 'to'), 'utf8'), 'abcd234hij');
    libc.close(from);
    libc.close(to);
    offsets.free();
  }),
);

test(
  'entries are created, linked, renamed and removed by names in a directory',
  inFolder(({ path, fd }, text) => {
    assert.equal(libc.mkdirat(fd, text('dir "ü"'), 0o700), 0);
    assert.equal(libc.mknodat(fd, text('fifo'), constants.S_IFIFO | 0o600, 0), 0);
    assert.ok(lstatSync(join(path, 'fifo')).isFIFO());
    assert.equal(libc.symlinkat(text('a/b'), fd, text('link')), 0);
    const into = allocate(100);
    assert.equal(libc.readlinkat(fd, text('link'), into.address, 100), 3);
    assert.equal(Buffer.from(into.view.buffer, 0, 3).toString(), 'a/b');
    assert.equal(libc.linkat(fd, text('fifo'), fd, text('fifo2'), 0), 0);
    assert.equal(lstatSync(join(path, 'fifo')).nlink, 2);
    // RENAME_NOREPLACE
    assert.equal(libc.renameat2(fd, text('fifo'), fd, text('fifo2'), 1), -1);
    assert.equal(errno(), EEXIST);
    assert.equal(libc.renameat2(fd, text('link'), fd, text('link2'), 0), 0);
    assert.equal(readlinkSync(join(path, 'link2')), 'a/b');
    assert.equal(libc.unlinkat(fd, text('dir "ü"'), 0), -1);
    assert.equal(libc.unlinkat(fd, text('dir "ü"'), AT_REMOVEDIR), 0);
    for (const name of ['fifo', 'fifo2', 'link2']) assert.equal(libc.unlinkat(fd, text(name), 0), 0);
    assert.deepEqual(readdirSync(path), []);
    into.free();
  }),
);

test(
  'modes, owners and times are set by name and by descriptor',
  inFolder(({ path, fd }, text) => {
    const name = join(path, 'file');
    writeFileSync(name, '');
    const file = libc.openat(fd, text('file'), O_RDWR, 0);
    assert.equal(libc.fchmod(file, 0o604), 0);
    assert.equal(lstatSync(name).mode & 0o7777, 0o604);
    assert.equal(libc.fchmodat(fd, text('file'), 0o4_711, 0), 0);
    assert.equal(lstatSync(name).mode & 0o7777, 0o4711);
    assert.equal(libc.fchown(file, UNCHANGED_ID, process.getgid?.() ?? 0), 0);
    assert.equal(libc.fchownat(fd, text('file'), UNCHANGED_ID, UNCHANGED_ID, AT_SYMLINK_NOFOLLOW), 0);
    const times = allocate(32);
    putAddress(times.view, 0, 5_000_000_000);
    putAddress(times.view, 8, 7);
    putAddress(times.view, 16, 1);
    putAddress(times.view, 24, 999_999_999);
    assert.equal(libc.utimensat(fd, text('file'), times.address, AT_SYMLINK_NOFOLLOW), 0);
    const { atimeNs, mtimeNs } = lstatSync(name, { bigint: true });
    assert.deepEqual([atimeNs, mtimeNs], [5_000_000_000_000_000_007n, 1_999_999_999n]);
    putAddress(times.view, 0, 3);
    assert.equal(libc.futimens(file, times.address), 0);
    assert.equal(lstatSync(name, { bigint: true }).atimeNs, 3_000_000_007n);
    assert.equal(libc.faccessat(fd, text('file'), constants.R_OK, 0), 0);
    libc.close(file);
    times.free();
  }),
);

test(
  'openat2 stays beneath a directory; O_PATH descriptors are reached by /proc/self/fd',
  inFolder(({ path, fd }, text) => {
    symlinkSync('/etc', join(path, 'out'));
    writeFileSync(join(path, 'file'), 'text');
    const how = allocate(24);
    putAddress(how.view, 0, O_PATH | O_CLOEXEC);
    // RESOLVE_BENEATH
    putAddress(how.view, 16, 8);
    assert.equal(libc.openat2(fd, text('out/passwd'), how.address, 24), -1);
    assert.equal(errno(), 18);
    const opened = libc.openat2(fd, text('file'), how.address, 24);
    assert.ok(opened >= 0);
    const again = libc.openat(0, text(`/proc/self/fd/${opened}`), O_RDONLY, 0);
    assert.equal(readFileSync(again, 'utf8'), 'text');
    libc.close(again);
    libc.close(opened);
    how.free();
  }),
);

test(
  'directories are read as records with names and inodes',
  inFolder(({ path, fd }, text) => {
    const names = ['a', 'b'.repeat(255), 'ü'];
    for (const name of names) writeFileSync(join(path, name), '');
    const directory = libc.openat(fd, text('.'), O_RDONLY, 0);
    const records = allocate(8192);
    const bytes = libc.getdents64(directory, records.address, 8192);
    const found = new Map<string, bigint>();
    for (let at = 0; at < bytes; at += records.view.getUint16(at + 16, true)) {
      const name = Buffer.from(records.view.buffer, at + 19, records.view.getUint16(at + 16, true) - 19);
      found.set(name.toString('utf8', 0, name.indexOf(0)), records.view.getBigUint64(at, true));
    }
    assert.deepEqual([...found.keys()].toSorted(), ['.', '..', ...names].toSorted());
    assert.equal(found.get('a'), lstatSync(join(path, 'a'), { bigint: true }).ino);
    assert.equal(libc.getdents64(directory, records.address, 8192), 0);
    libc.close(directory);
    records.free();
  }),
);

test(
  'extended attributes are set, read, listed and removed by descriptor and by path',
  inFolder(({ path, fd }, text) => {
    writeFileSync(join(path, 'file'), '');
    symlinkSync('file', join(path, 'link'));
    const file = libc.openat(fd, text('file'), O_RDWR, 0);
    const value = allocate(100);
    const [name, link] = [text('user.nephos'), text(join(path, 'link'))];
    value.view.setUint32(0, 0x6162_6364);
    assert.equal(libc.fsetxattr(file, name, value.address, 3, 0), 0);
    assert.equal(libc.fgetxattr(file, name, value.address + 50, 50), 3);
    assert.equal(Buffer.from(value.view.buffer, 50, 3).toString(), 'abc');
    assert.equal(libc.getxattr(link, name, 0, 0), 3);
    assert.equal(libc.lgetxattr(link, name, 0, 0), -1);
    assert.equal(errno(), ENODATA);
    const listed = libc.flistxattr(file, value.address, 100);
    const names = Buffer.from(value.view.buffer, 0, listed).toString().split('\0');
    assert.ok(names.includes('user.nephos'));
    assert.equal(libc.listxattr(link, 0, 0), listed);
    assert.equal(libc.fremovexattr(file, name), 0);
    assert.equal(libc.setxattr(link, name, value.address, 2, 0), 0);
    assert.equal(libc.removexattr(link, name), 0);
    assert.equal(libc.fgetxattr(file, name, 0, 0), -1);
    assert.equal(errno(), ENODATA);
    libc.close(file);
    value.free();
  }),
);

test(
  'numbers of a file system are those of Node',
  inFolder(({ path, fd }) => {
    const into = allocate(120);
    assert.equal(libc.fstatfs(fd, into.address), 0);
    const { type, bsize, blocks, files } = statfsSync(path);
    const numbers = [0, 8, 16, 40].map((at) => Number(into.view.getBigUint64(at, true)));
    assert.deepEqual(numbers, [type, bsize, blocks, files]);
    into.free();
  }),
);

test(
  'a file handle names a file, and opens it again for root',
  inFolder(({ path, fd }, text) => {
    assert.equal(process.getuid?.(), 0, 'this test needs root: it calls open_by_handle_at');
    writeFileSync(join(path, 'file'), 'text');
    const handle = allocate(200);
    handle.view.setUint32(0, 128, true);
    const mount = handle.address + 192;
    const file = libc.openat(fd, text('file'), O_PATH, 0);
    assert.equal(libc.name_to_handle_at(file, text(''), handle.address, mount, AT_EMPTY_PATH), 0);
    const opened = libc.open_by_handle_at(fd, handle.address, O_RDONLY);
    assert.equal(readFileSync(opened, 'utf8'), 'text');
    libc.close(opened);
    libc.close(file);
    handle.free();
  }),
);

test('a limit of the process is read', () => {
  const limit = allocate(16);
  // RLIMIT_NOFILE
  assert.equal(libc.prlimit(0, 7, 0, limit.address), 0);
  const line = /Max open files\s+(\d+)\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'));
  assert.deepEqual(
    [limit.view.getBigUint64(0, true), limit.view.getBigUint64(8, true)].map(String),
    line?.slice(1),
  );
  limit.free();
});

test('flags of a guest lose those that do not concern the host', () => {
  const added = hostOpenFlags(0);
  assert.equal(
    hostOpenFlags(O_RDWR | O_DIRECT | O_PATH | constants.O_NOATIME | constants.O_CREAT),
    O_RDWR | added,
  );
  assert.equal(hostOpenFlags(O_TRUNC | constants.O_APPEND), O_TRUNC | constants.O_APPEND | added);
  assert.notEqual(added & constants.O_NOFOLLOW, 0);
});
