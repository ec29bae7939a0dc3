// nephos run -t: the host's terminal is that of the command, and is as before afterwards.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeHome } from './support/nephos.ts';
import { makeOciImage } from './support/oci-image.ts';
import { openTerminal } from './support/terminal.ts';
import { makeFolder } from './support/vmm.ts';
import { until } from './support/wait.ts';

const image = makeOciImage(join(makeFolder(), 'image'));

test('a shell has the terminal, with its size, changes of it, and Ctrl-C', async () => {
  await using home = makeHome();
  using terminal = await openTerminal('rows', '33', 'cols', '99');
  const { shell, path } = terminal;
  const before = terminal.settings();
  const child = home.onTerminal(path, 'run', '-it', '--rm', image, '--', 'sh');
  const exited = once(child, 'exit');
  await shell.sees('# ');
  await until('the terminal is raw', terminal.isRaw);
  shell.type("stty -echo; PS1=; echo qui''et\r");
  await shell.sees('quiet\n');
  assert.equal(await shell.run('stty size; tty >/dev/null && echo $TERM'), '33 99\nxterm');
  // the kernel sends SIGWINCH to the program on the terminal
  execFileSync('stty', ['-F', path, 'rows', '44', 'cols', '111']);
  await until('the guest has the new size', async () => (await shell.run('stty size')) === '44 111');
  const from = shell.shown().length;
  shell.type('sh -c "echo waits; exec sleep 1000"\r');
  await until('the program runs', () => shell.shown().includes('waits\n', from));
  shell.type('\u0003');
  assert.equal(await shell.run('echo after'), 'after');
  shell.type('exit 5\r');
  assert.deepEqual(await exited, [5, null]);
  execFileSync('stty', ['-F', path, 'rows', '33', 'cols', '99']);
  assert.equal(terminal.settings(), before);
});

test('SIGTERM ends the command, and the terminal is as before', async () => {
  await using home = makeHome();
  using terminal = await openTerminal();
  const before = terminal.settings();
  const words = ['sh', '-c', 'echo waits; exec sleep 1000'];
  const child = home.onTerminal(terminal.path, 'run', '-it', '--rm', image, '--', ...words);
  const exited = once(child, 'exit');
  await terminal.shell.sees('waits');
  await until('the terminal is raw', terminal.isRaw);
  child.kill('SIGTERM');
  assert.deepEqual(await exited, [143, null]);
  assert.equal(terminal.settings(), before);
});

test('without -i the command has a terminal without input, and one output', async () => {
  await using home = makeHome();
  const script = 'tty; echo to stderr >&2; wc -c';
  const { code, stdout, stderr } = await home.nephosWith(
    ...(['unread', 'run', '-t', '--rm', image, '--', 'sh', '-c', script] as const),
  );
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^\/dev\/pts\/\d+\r\nto stderr\r\n0\r\n$/);
  const refused = await home.nephos('run', '-it', '--rm', image, '--', 'true');
  assert.equal(refused.code, 125);
  assert.match(refused.stderr, /standard input is not a terminal: use -i without -t/);
});
