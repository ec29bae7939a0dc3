// `npm run picture`: runs the session below with the real programs and draws it as docs/images/terminal.svg.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Commands before the session, which the picture omits: names, and a VMM without a VM for each clone. */
const SETUP = `
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
PATH=$OLDPWD/bin:$PATH
guest=\${NEPHOS_CACHE:-\${XDG_CACHE_HOME:-$HOME/.cache}/nephos}/guest
answers() { ch-remote --api-socket $1.sock ping >/dev/null 2>&1; }
for i in 1 2 3; do
  cloud-hypervisor --api-socket clone$i.sock 2>clone$i.err &
  until answers clone$i; do sleep 0.1; done
done
`;

/** The session, as it is typed and shown. Lines that start with "#" are shown only. */
const SESSION = [
  '# Boot a Linux guest. This machine has no KVM.',
  'cloud-hypervisor --api-socket vm.sock --kernel $guest/vmlinuz --initramfs $guest/initramfs.cpio.gz \\' +
    '\n      --cmdline console=ttyS0 --memory size=512M --serial file=vm.log --console off 2>vm.err &',
  'time until grep -qs login: vm.log; do sleep 0.05; done',
  '# Pause the VM and take a snapshot, with the HTTP API of Cloud Hypervisor.',
  `api() { curl -sS --unix-socket $1.sock -X PUT http://localhost/api/v1/$2 -d "$3" \\` +
    String.raw`
      -w "$1 $2: %{http_code} after %{time_total} s\n"; }`,
  'api vm vm.pause',
  `api vm vm.snapshot '{"destination_url": "file://'$PWD'/snapshot"}'`,
  '# Three more VMMs wait for a VM. Start a clone in each: it maps the RAM of the snapshot copy-on-write.',
  `for i in 1 2 3; do
      api clone$i vm.restore '{"source_url": "file://'$PWD'/snapshot", "resume": true,
                               "overrides": {"serial": {"file": "clone'$i'.log"}}}'
  done`,
  String.raw`ch-remote --api-socket clone3.sock info | grep -o '"state":"\w*"\|"accelerator":"\w*"'`,
];

/** Size of a character and of the frame, in pixels. SF Mono is the widest of the fonts. */
const CELL = { width: 8.7, height: 19 };
const MARGIN = { left: 18, top: 56 };

type Kind = 'comment' | 'command' | 'output';
interface Line {
  readonly kind: Kind;
  readonly text: string;
}

const folder = mkdtempSync(join(tmpdir(), 'nephos-picture-'));
try {
  mkdirSync(join(folder, 'snapshot'));
  const lines = await recordSession();
  mkdirSync('docs/images', { recursive: true });
  writeFileSync('docs/images/terminal.svg', drawTerminal(lines));
  for (const { text } of lines) console.log(text);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Runs the session in one shell. Rejects when a command fails. */
async function recordSession(): Promise<Line[]> {
  const shell = spawn('bash', ['-c', 'cd "$0" && exec bash 2>&1', folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const output = createInterface(shell.stdout)[Symbol.asyncIterator]();
  const run = async (command: string): Promise<string[]> => {
    shell.stdin.write(`TIMEFORMAT='real %R s'\n${command}\necho "== $?"\n`);
    const lines: string[] = [];
    for (;;) {
      const { value, done } = await output.next();
      if (done === true) throw new Error(`the shell exited during: ${command}`);
      const [, status] = /^== (\d+)$/.exec(value) ?? [];
      if (status === undefined) lines.push(value);
      else if (status === '0') return lines;
      else throw new Error(`${command}\nfailed with exit code ${status}: ${lines.join('\n')}`);
    }
  };
  try {
    await run(SETUP);
    return await runSession(run);
  } finally {
    shell.stdin.end();
    if (shell.exitCode === null) await once(shell, 'exit');
  }
}

/** Returns the lines of the picture: each command with its output. */
async function runSession(run: (command: string) => Promise<string[]>): Promise<Line[]> {
  const shown: Line[] = [];
  for (const command of SESSION) {
    if (command.startsWith('#')) {
      if (shown.length > 0) shown.push({ kind: 'output', text: '' });
      shown.push({ kind: 'comment', text: command });
      continue;
    }
    const [first = '', ...others] = command.split('\n');
    shown.push(
      { kind: 'command', text: `$ ${first}` },
      ...others.map((text) => ({ kind: 'command', text }) as const),
    );
    const answer = await run(command);
    shown.push(...answer.filter((text) => text !== '').map((text) => ({ kind: 'output', text }) as const));
  }
  return shown;
}

function drawTerminal(lines: readonly Line[]): string {
  const columns = Math.max(...lines.map(({ text }) => text.length));
  const width = Math.ceil(columns * CELL.width + 2 * MARGIN.left);
  const height = MARGIN.top + lines.length * CELL.height;
  const texts = lines.map(
    ({ kind, text }, row) =>
      `  <text xml:space="preserve" class="${kind}" x="${MARGIN.left}" y="${MARGIN.top + row * CELL.height}">${escapeXml(text)}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
  <title>A terminal: a guest boots, a snapshot is taken, and three clones of the guest run</title>
  <style>
    text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre }
    .comment { fill: #8b949e }
    .command { fill: #e6edf3 }
    .output { fill: #7ee787 }
  </style>
  <rect width="${width}" height="${height}" rx="8" fill="#0d1117"/>
  <circle cx="22" cy="20" r="6" fill="#ff5f57"/>
  <circle cx="42" cy="20" r="6" fill="#febc2e"/>
  <circle cx="62" cy="20" r="6" fill="#28c840"/>
${texts.join('\n')}
</svg>
`;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
