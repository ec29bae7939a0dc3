// Runs untrusted code, as an AI agent writes it, in a fresh VM: without network, with limits of time, RAM and output. Prints the result
// as JSON. The VM and all its processes are gone afterwards.
//
//   node build/examples/agent-sandbox.js python:3.13-alpine 'print(sum(range(10)))' python3 -
//   node build/examples/agent-sandbox.js alpine:3.20 'echo hello'
import { GuestError, run } from 'nephos';

const [image, code, ...interpreter] = process.argv.slice(2);
if (image === undefined || code === undefined) {
  console.error(
    'usage: agent-sandbox <image> <code> [interpreter that reads the code from its standard input]',
  );
  process.exit(2);
}

await using vm = await run(image, {
  network: 'none',
  memory: 256 * 2 ** 20,
  user: '65534:65534',
  cwd: '/tmp',
});
try {
  const result = await vm.exec(interpreter.length > 0 ? interpreter : ['sh'], {
    input: code,
    timeoutMs: 30_000,
    maxOutputBytes: 2 ** 20,
  });
  console.log(JSON.stringify(result));
} catch (error) {
  // the code ran too long, wrote too much, or crashed the guest: the agent gets the reason
  if (!(error instanceof GuestError)) throw error;
  console.log(JSON.stringify({ error: error.fault, message: error.message }));
}
