import { ROUTES } from '../../api/routes.ts';
import type { RouteDefinition } from '../../api/route.ts';
import { RestoreConfig } from '../../api/requests.ts';
import { VmConfig } from '../../config/vm-config.ts';
import { MemoryZoneConfig } from '../../devices/memory/config.ts';
import { DEVICES } from '../../devices/table.ts';
import { nestedStructs } from '../../schema/openapi-schema.ts';
import type { Field, Struct } from '../../schema/field.ts';
import { formatSize } from '../../schema/size.ts';
import { VMM_FLAGS } from '../daemon-options.ts';
import type { Flag } from '../flag.ts';
import { VM_FLAGS } from '../vm-flags.ts';

const INTRODUCTION = `# Configuration reference

\`npm run manual\` generates this page from the schema that the server checks with. Do not edit it. [devices.md](devices.md)
describes the devices.

- **required**: JSON must have the member. A value in parentheses is the default of the command line.
- A member with **†** is not in the contract's document. Current clients or Nephos have it.
- Unknown members are ignored with a warning in the log, unless the struct refuses them.
- In JSON, sizes are whole numbers of bytes. On the command line they take K, M or G (powers of 1024). Switches take \`on\` and
  \`off\`. Words are accepted in any case. Put a value with a comma or an equals sign in double quotes.
- Lists on the command line are in brackets, \`[0-2,9]\`, and can be nested, \`[0@[1,2],1@[3-4]]\`. Put an item with a comma in
  double quotes.
`;

/** Returns docs/configuration.md: every member of every struct that a client sends. */
export function configurationReference(): string {
  const vm = unique(nestedStructs(VmConfig, 'everything'));
  const requests = unique(requestStructs()).filter((one) => !vm.includes(one));
  return [
    INTRODUCTION,
    ...section('A virtual machine', 'Body of vm.create, and `config` in vm.info.', vm),
    ...section('Requests', 'Bodies of the other endpoints. Those of vm.add-* are above.', requests),
    ...vmmFlags(),
  ].join('\n');
}

function requestStructs(): Struct[] {
  return Object.values<RouteDefinition>(ROUTES).flatMap(({ request }) =>
    request === undefined ? [] : nestedStructs(request, 'everything'),
  );
}

/** Removes repeated structs, which are nested in several places. */
function unique(structs: readonly Struct[]): Struct[] {
  return [...new Set(structs)];
}

function section(title: string, text: string, structs: readonly Struct[]): string[] {
  return [`## ${title}`, '', text, '', ...structs.flatMap(structSection)];
}

function structSection(one: Struct): string[] {
  const traits = [
    `${one.doc}.`,
    ...placesOf(one),
    ...(one.strict ? ['Unknown members are refused.'] : []),
    ...Object.entries(one.aliases).map(([alias, name]) => `\`${alias}\` is accepted for \`${name}\`.`),
  ];
  return [
    `### ${one.name}`,
    '',
    traits.join(' '),
    '',
    '| member | type | default | unit | command line | meaning |',
    '|---|---|---|---|---|---|',
    ...Object.entries(one.fields).map(([name, field]) => row(one, name, field)),
    '',
  ];
}

/** Returns the places of a struct: flags of the command line and endpoints. */
function placesOf(one: Struct): string[] {
  const flags = flagsOf(one);
  const endpoints = Object.entries<RouteDefinition>(ROUTES)
    .filter(([, { request }]) => request === one)
    .map(([name]) => name);
  const places = [...flags, ...endpoints];
  return places.length === 0 ? [] : [`Used by ${places.join(', ')}.`];
}

/** Returns the flags that take an option string of the struct. */
function flagsOf(one: Struct): string[] {
  const flags = DEVICES.filter(({ struct }) => struct === one).map(({ flag = '' }) => flag);
  if (one === MemoryZoneConfig) flags.push('memory-zone');
  if (one === RestoreConfig) flags.push('restore');
  return flags.map((flag) => `\`--${flag}\``);
}

function row(owner: Struct, name: string, field: Field): string {
  const cells = [
    `\`${name}\`${field.beyond ? ' †' : ''}`,
    typeOf(field),
    defaultOf(field),
    unitOf(field),
    wordsOf(owner, name, field),
    `${field.doc}${field.later ? ' (not supported yet: refused)' : ''}`,
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`;
}

function typeOf({ document, nested, syntax }: Field): string {
  const isList = document['type'] === 'array';
  if (nested !== undefined)
    return `${isList ? 'list of ' : ''}[${nested.name}](#${nested.name.toLowerCase()})`;
  if (isList) return `list of ${typeWord(document['items'])}`;
  const words: unknown = document['enum'];
  if (Array.isArray(words)) return words.map((word) => `\`${word}\``).join(', ');
  if (document['type'] === 'string' && syntax.includes('|')) return choices(syntax);
  return typeWord(document);
}

function choices(syntax: string): string {
  return syntax
    .split('|')
    .map((word) => `\`${word}\``)
    .join(', ');
}

function typeWord(document: unknown): string {
  const type = typeof document === 'object' && document !== null && 'type' in document ? document.type : '';
  return String(type);
}

function defaultOf(field: Field): string {
  const value = field.defaultValue ?? field.wordDefault?.({});
  const shown = value === undefined ? '' : shownValue(field, value);
  if (field.required) return shown === '' ? 'required' : `required (${shown})`;
  return shown;
}

function shownValue(field: Field, value: unknown): string {
  const plain = `\`${JSON.stringify(value)}\``;
  return typeof value === 'number' && value > 0 && unitOf(field) === 'bytes'
    ? `${plain} (${formatSize(value)})`
    : plain;
}

/** Returns the unit of a field: the word in backticks in its text. */
function unitOf({ doc }: Field): string {
  return /`(bytes|bits|ms|milliseconds)`/.exec(doc)?.[1] ?? '';
}

/** Returns the command-line form of a member: a flag for members of VmConfig, else its part of an option string. */
function wordsOf(owner: Struct, name: string, field: Field): string {
  if (owner === VmConfig) return flagOf(name);
  if (flagsOf(owner).length === 0) return '';
  if (field.form !== undefined)
    return field.form.syntax
      .split(',')
      .map((one) => `\`${one}\``)
      .join(' ');
  return field.read === undefined ? '' : `\`${field.word ?? name}=${field.syntax}\``;
}

function flagOf(member: string): string {
  const flag = DEVICES.find((one) => one.member === member)?.flag ?? member;
  return VM_FLAGS.some(({ name }) => name === flag) ? `\`--${flag}\`` : '';
}

function vmmFlags(): string[] {
  return [
    '## Flags of the VMM',
    '',
    '| flag | value | default | meaning |',
    '|---|---|---|---|',
    ...VMM_FLAGS.map(flagRow),
    '',
  ];
}

function flagRow({ name, short, syntax = '', fallback = '', doc }: Flag): string {
  const names = [`--${name}`, ...(short === undefined ? [] : [`-${short}`])];
  const value = syntax === '' ? '' : `\`${syntax.replaceAll('|', String.raw`\|`)}\``;
  return `| ${names.map((one) => `\`${one}\``).join(', ')} | ${value} | ${fallback} | ${doc} |`;
}
