// A program that launches a machine and keeps it: node launcher.js <configuration as JSON>
import { VirtualMachine, type VmConfig } from 'nephos';

const vm = await VirtualMachine.launch(JSON.parse(process.argv[2] ?? '') as VmConfig);
await vm.ended;
