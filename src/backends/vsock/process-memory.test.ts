// The tests of the device again, with guest memory that it cannot map.
import { useAccess } from '../vhost-user/test-memory.ts';

useAccess('process');
await import('./connection-setup.test.ts');
await import('./connections.fuzz.test.ts');
await import('./packets.fuzz.test.ts');
