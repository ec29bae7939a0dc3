// The tests of the device again, with guest memory that it cannot map.
import { useAccess } from '../vhost-user/test-memory.ts';

useAccess('process');
await import('./device.test.ts');
await import('./open-requests.test.ts');
await import('./requests.fuzz.test.ts');
