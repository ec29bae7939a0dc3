// Runs a command in the guest from the host, over vsock, and prints its output.
//
// The guest needs a program that runs a shell for each connection, e.g. socat. socat drops the last output of a shell that
// fails, or that takes more than half a second after the last input, hence `true` and `-t`:
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
// the shell exits at the end of its input
guest.end(`${command}\n`);
