// Every list of the command line, in the forms that it has there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RestoreConfig, VmReceiveMigrationData, VmSendMigrationData } from '../api/requests.ts';
import { CpusConfig } from '../devices/cpus/config.ts';
import { DiskConfig } from '../devices/disk/config.ts';
import { FwCfgConfig } from '../devices/payload/fw-cfg.ts';
import { DEVICES } from '../devices/table.ts';
import { MemoryZoneConfig } from '../devices/memory/config.ts';
import { NetConfig } from '../devices/net/config.ts';
import { GenericVhostUserConfig } from '../devices/unsupported/config.ts';
import { NumaConfig } from '../devices/numa/config.ts';
import { PlatformConfig } from '../devices/platform/config.ts';
import type { Struct } from '../schema/field.ts';
import { parseWords, OptionStringError } from '../schema/option-string.ts';

interface Row {
  readonly struct: Struct;
  readonly key: string;
  readonly member?: string;
  /** keys that the struct requires in addition */
  readonly beside?: string;
  /** texts that mean the same, and the member's JSON */
  readonly same: readonly (readonly [texts: readonly string[], json: unknown])[];
  readonly wrong: readonly string[];
}

const NUMBERS: Pick<Row, 'same' | 'wrong'> = {
  same: [
    [
      ['[0-2,9]', '[0,1,2,9]', '"0-2,9"', '"[0-2,9]"', '0-2:9', '[ 0 - 2 , 9 ]', ' [0-2, 9] '],
      [0, 1, 2, 9],
    ],
    [['[4]', '4', '"4"', '[ 4 ]'], [4]],
    [['[]', '[ ]', '"[]"'], []],
  ],
  wrong: ['[0-2', '[0-2,]', '[,1]', '[2-0]', '[a]', '[1-2-3]', '[0,1]]', '[[0]]', '[0-99999999]'],
};

const NAMES: Pick<Row, 'same' | 'wrong'> = {
  same: [
    [
      ['[a,b c]', '[ a , b c ]', '["a",b c]'],
      ['a', 'b c'],
    ],
    [
      ['["a,b",c]', '[ "a,b" , c]'],
      ['a,b', 'c'],
    ],
    [['["x=1, [y]","]"]'], ['x=1, [y]', ']']],
    [['[k=v,k=w]'], ['k=v', 'k=w']],
    [['[a]', 'a'], ['a']],
    [['[]'], []],
  ],
  wrong: ['[a', '[a,]', '[,]', '[a,,b]'],
};

function affinity(number: string): Pick<Row, 'same' | 'wrong'> {
  return {
    same: [
      [
        ['[0@[1,2],1@[3-4]]', '[ 0 @ [ 1 , 2 ] , 1@[3,4] ]', '"[0@[1,2],1@[3-4]]"'],
        [
          { [number]: 0, host_cpus: [1, 2] },
          { [number]: 1, host_cpus: [3, 4] },
        ],
      ],
      [['[0@1]', '[0@[1]]', '0@1'], [{ [number]: 0, host_cpus: [1] }]],
      [['[]'], []],
    ],
    wrong: ['[0]', '[0@[1,2]', '[@[1]]', '[0@1@2]', '[0@[1,]]'],
  };
}

const LISTS: readonly Row[] = [
  { struct: NumaConfig, key: 'cpus', ...NUMBERS },
  { struct: NumaConfig, key: 'pci_segments', ...NUMBERS },
  { struct: NumaConfig, key: 'memory_zones', ...NAMES },
  { struct: NumaConfig, key: 'sgx_epc_sections', ...NAMES },
  {
    struct: NumaConfig,
    key: 'distances',
    same: [
      [
        ['[1@20,2@25]', '1@20:2@25', '"1@20,2@25"', '[ 1@20 , 2 @ 25 ]'],
        [
          { destination: 1, distance: 20 },
          { destination: 2, distance: 25 },
        ],
      ],
      [['[1@20]', '1@20'], [{ destination: 1, distance: 20 }]],
      [['[]'], []],
    ],
    wrong: ['[1@20', '[1]', '[1@2@3]', '[1@20,]', '[1@[20]]'],
  },
  { struct: CpusConfig, key: 'affinity', beside: 'boot=2,', ...affinity('vcpu') },
  {
    struct: CpusConfig,
    key: 'features',
    same: [
      [['[amx]', 'amx', '[ amx ]', '["amx"]'], { amx: true }],
      [['[]'], { amx: false }],
    ],
    wrong: ['[amx,]', '[avx]', '[amx'],
  },
  { struct: DiskConfig, key: 'queue_affinity', beside: 'path=/x,', ...affinity('queue_index') },
  { struct: NetConfig, key: 'fd', ...NUMBERS },
  {
    struct: NetConfig,
    key: 'forward',
    member: 'forwards',
    same: [
      [
        ['[tcp:2222-22,udp:53-53]', 'tcp:2222-22+udp:53-53', '[ tcp:2222-22 , udp:53-53 ]'],
        [
          { protocol: 'tcp', host_port: 2222, guest_port: 22 },
          { protocol: 'udp', host_port: 53, guest_port: 53 },
        ],
      ],
      [['[2222-22]', '2222-22'], [{ host_port: 2222, guest_port: 22 }]],
      [['[]'], []],
    ],
    wrong: ['[2222-22', '[2222-22,]', '[2222]', '2222-22+'],
  },
  { struct: PlatformConfig, key: 'iommu_segments', ...NUMBERS },
  { struct: PlatformConfig, key: 'oem_strings', ...NAMES },
  { struct: GenericVhostUserConfig, key: 'queue_sizes', beside: 'socket=/s,device_type=1,', ...NUMBERS },
  {
    struct: FwCfgConfig,
    key: 'items',
    same: [
      [
        [
          '[name=opt/a,file=/x:y:name=opt/b,string="a, b: [c]"]',
          '[ name=opt/a , file=/x:y : name=opt/b,string="a, b: [c]" ]',
        ],
        {
          item_list: [
            { name: 'opt/a', file: '/x:y' },
            { name: 'opt/b', string: 'a, b: [c]' },
          ],
        },
      ],
    ],
    wrong: ['[]', '[name=opt/a', '[name=opt/a,]', '[file]', 'opt/a'],
  },
  {
    struct: RestoreConfig,
    key: 'net_fds',
    beside: 'source_url=file:///x,',
    same: [
      [
        ['[net1@[3,4],net2@[5]]', '[ net1@[3-4] , net2@5 ]', '"[net1@[3,4],net2@[5]]"'],
        [
          { id: 'net1', num_fds: 2, fds: [3, 4] },
          { id: 'net2', num_fds: 1, fds: [5] },
        ],
      ],
      [['[a@b@[3]]'], [{ id: 'a@b', num_fds: 1, fds: [3] }]],
      [['[]'], []],
    ],
    wrong: ['[net1]', '[net1@[]]', '[@[3]]', '[net1@[3,]]', '[net1@[3]'],
  },
];

for (const { struct, key, member = key, beside = '', same, wrong } of LISTS) {
  const read = (text: string): unknown => parseWords(struct, `${beside}${key}=${text}`).json[member];
  test(`${struct.name}: ${key} is a list in brackets`, () => {
    for (const [texts, json] of same) for (const text of texts) assert.deepEqual(read(text), json, text);
    for (const text of wrong) assert.throws(() => read(text), OptionStringError, text);
  });
}

test('a key may follow a list, and the error for an unclosed list names it', () => {
  const node = (text: string): unknown => parseWords(NumaConfig, text).json;
  assert.deepEqual(node('cpus=[0-1,3] ,memory_zones=[a,b],guest_numa_id=1'), {
    guest_numa_id: 1,
    cpus: [0, 1, 3],
    memory_zones: ['a', 'b'],
  });
  assert.throws(
    () => node('guest_numa_id=0,cpus=[0-2,9'),
    (error) =>
      error instanceof OptionStringError && error.hint === 'the list cpus=[0-2 has no closing bracket',
  );
});

test('each list of the command line is in the table above', () => {
  const structs: readonly Struct[] = [
    ...DEVICES.flatMap(({ struct }) => struct ?? []),
    ...[MemoryZoneConfig, FwCfgConfig, RestoreConfig, VmSendMigrationData, VmReceiveMigrationData],
  ];
  const lists = new Set(
    structs.flatMap(({ name: owner, fields }) =>
      Object.entries(fields)
        .filter(([, field]) => field.read !== undefined || field.form !== undefined)
        .filter(([, { document, syntax }]) => document['type'] === 'array' || syntax.startsWith('['))
        .map(([name, field]) => `${owner}.${field.word ?? name}`),
    ),
  );
  assert.deepEqual([...lists].toSorted(), LISTS.map(({ struct, key }) => `${struct.name}.${key}`).toSorted());
});
