import { pmem } from '../../../devices/pmem/index.ts';
import { inspectPmem } from '../../../host/memory/pmem-file.ts';
import { checkSize } from '../disk/expected-image.ts';
import { prepares } from '../prepare.ts';

export const preparePmem = prepares(pmem, async (config, { expected }) => {
  const facts = await inspectPmem(config);
  const { file: path } = config;
  if (expected !== undefined) checkSize(path, facts.size, expected);
  return { facts, image: { path, bytes: facts.size } };
});
