/** Bodies of up to 4 MiB that are made to take long: to read, to check, to refuse. By their names. */
export function largeBodies(): ReadonlyMap<string, Buffer> {
  const size = 4 * 2 ** 20 - 200;
  const repeat = (text: string, count: number): string => Array.from({ length: count }, () => text).join(',');
  const config = (more: string): string =>
    `{"cpus":{"boot_vcpus":1,"max_vcpus":1},"kernel":{"path":"/k"},${more}}`;
  const every = (item: string, count: number): string =>
    ['disks', 'net', 'fs', 'pmem', 'devices'].map((list) => `"${list}":[${repeat(item, count)}]`).join(',');
  const numbered = (count: number): string => Array.from({ length: count }, (_, i) => `"k${i}":1`).join(',');
  const node = (cpu: string): string => `{"guest_numa_id":0,"cpus":[${repeat(cpu, 1000)}]}`;
  const wrong =
    '{"tap":1,"ip":1,"mask":1,"mac":1,"iommu":1,"num_queues":"a","queue_size":"a","vhost_user":1,"id":1}';
  const longPath = `/${'é'.repeat(2000)}`;
  const texts: Readonly<Record<string, string>> = {
    'a list of numbers': `{"disks":[${repeat('1', 1_400_000)}]}`,
    'lists of empty objects': config(every('{}', 3000)),
    'lists as long as may be, wrong': config(every(wrong, 250)),
    'lists as long as may be, right': config(every('{"path":"/x","file":"/x","tag":"t","socket":"/s"}', 256)),
    'long paths, not ASCII': config(`"disks":[${repeat(`{"path":"${longPath}"}`, 50)}]`),
    'numbers in lists in a list, wrong': config(`"numa":[${repeat(node('"x"'), 15)}]`),
    'numbers in lists in a list, right': config(`"numa":[${repeat(node('1'), 15)}]`),
    'one string': config(`"cmdline":{"args":"${'x'.repeat(size)}"}`),
    'one string, not ASCII': config(`"cmdline":{"args":"${'é'.repeat(size / 2)}"}`),
    'one string of escapes': config(`"cmdline":{"args":"${'\\n'.repeat(size / 2)}"}`),
    'one string of long escapes': config(`"cmdline":{"args":"${'\\u0041'.repeat(size / 6)}"}`),
    'one string of text and escapes': config(`"cmdline":{"args":"${'ab\\n'.repeat(size / 4)}"}`),
    'one string, three bytes each': config(`"cmdline":{"args":"${'漢'.repeat(size / 3)}"}`),
    'one string with a fault at its end': config(`"cmdline":{"args":"${'é\\"'.repeat(size / 4)}\\x`),
    'a string for a list': config(`"disks":"${'x'.repeat(size)}"`),
    'one string that is shown': config(`"platform":{"uuid":"${'x'.repeat(size)}"}`),
    'the same long id for all': config(
      `"disks":[${repeat(`{"path":"/x","id":"${'a'.repeat(15_000)}"}`, 256)}]`,
    ),
    'a long name': `{"${'x'.repeat(size)}":1}`,
    'many names': `{${numbered(300_000)}}`,
    'as many names as may be': config(numbered(16_000)),
    'a prototype': `{"__proto__":[${repeat('1', 10_000)}],"constructor":{"prototype":1}}`,
    spaces: `${' '.repeat(size)}{}`,
    lines: `${'\n'.repeat(size)}x`,
    'one number': `{"a":${'1'.repeat(size)}}`,
    'numbers that are too large': `[${repeat('1e999999', 400_000)}]`,
    'lists in lists': '['.repeat(size),
    'objects in objects': '{"a":'.repeat(size / 5),
    'a URL': `{"source_url":"${'x'.repeat(size / 2)}","receiver_url":"${'y'.repeat(size / 2 - 100)}"}`,
  };
  const bodies = new Map(Object.entries(texts).map(([name, text]) => [name, Buffer.from(text)]));
  bodies.set('not UTF-8, at its end', Buffer.concat([Buffer.alloc(size, 'é'), Buffer.from([0xff])]));
  bodies.set('not UTF-8 at all', Buffer.alloc(size, 0x80));
  return bodies;
}
