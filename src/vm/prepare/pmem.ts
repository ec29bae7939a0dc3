import { pmem } from '../../devices/pmem.ts';
import { inspectPmem } from '../../host/pmem-file.ts';
import { prepares } from './prepare.ts';

export const preparePmem = prepares(pmem, async (config) => ({ facts: await inspectPmem(config) }));
