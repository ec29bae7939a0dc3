// Runs a command in the guest from the host, over vsock: its output comes here, its input goes there.
//
// In the guest, a program that gives each connection a shell, e.g. with socat. It drops what a shell said last when that fails, or
// takes more than half a second after the last input, hence `true` and `-t`:
//   socat -t 60 VSOCK-LISTEN:1234,fork 'SYSTEM:/bin/sh; true,stderr' &
// On the host:
//   node build/examples/vsock-run.js /run/vm.vsock 1234 'uname -a; cat /proc/meminfo | head -1'
import { connectVsock } from '../src/sdk/vsock.ts';

const [path, port, command] = process.argv.slice(2);
if (path === undefined || port === undefined || command === undefined) {
  console.error('usage: vsock-run <the vsock socket> <port> <command>');
  process.exit(2);
}
const guest = await connectVsock(path, Number(port));
guest.pipe(process.stdout);
// the shell ends when its input does
guest.end(`${command}\n`);
