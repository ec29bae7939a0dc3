// Shares files of this program with a guest, which reads one and writes another. Arguments: a kernel and an initramfs.
import { memoryTree, VirtualMachine } from 'nephos';

const [kernel = '', initramfs = ''] = process.argv.slice(2);
const files = memoryTree({ 'job.sh': 'uname -sr\n', 'out/': '' });
await using vm = await VirtualMachine.launch({
  cpus: { boot_vcpus: 1, max_vcpus: 1 },
  // the guest's RAM is shared with the file system
  memory: { size: 256 * 2 ** 20, shared: true },
  kernel: { path: kernel },
  initramfs: { path: initramfs },
  cmdline: { args: 'console=ttyS0' },
});
await vm.serial.waitFor('login:', { timeoutMs: 120_000 });
vm.serial.write('root\n');
await vm.serial.waitFor('# ');
await vm.addFs({ tag: 'files', provider: files });
// the guest finds the hot-plugged device within a moment
vm.serial.write('until mount -t virtiofs files /mnt; do sleep 0.1; done 2>/dev/null\n');
vm.serial.write('sh /mnt/job.sh > /mnt/out/result; echo exit code $?\n');
await vm.serial.waitFor(/exit code \d/, { timeoutMs: 60_000 });
console.log(`the guest wrote: ${String(files.readFile('out/result'))}`);
