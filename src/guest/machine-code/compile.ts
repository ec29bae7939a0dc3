import type { Expression, Operator, ProgramFunction, Statement, Value, Width } from './program.ts';

/*
 * Compiles a program to x86-64 code (Intel SDM, volume 2; system calls: System V ABI for x86-64, A.2.1). A value is computed in `rax`;
 * operands wait on the stack. A function has a frame: its variables are below `rbp`, its arguments above, the first one topmost.
 */

/** A reference in the code that `elf.ts` resolves: 4 bytes, relative to their end, or the absolute address of data. */
export type CodePart =
  | number[]
  | { readonly label: string }
  | { readonly relative: string }
  | { readonly data: Extract<Expression, { kind: 'text' | 'bytes' | 'space' }> };

const WORD = 8;
/** Distance of the last argument from `rbp`: the saved `rbp` and the return address are between them. */
const ARGUMENTS = 2 * WORD;

const PUSH_RAX = [0x50];
const POP_RCX = [0x59];
const JUMP = [0xe9];
const TEST_RAX = [0x48, 0x85, 0xc0];
const JUMP_IF_ZERO = [0x0f, 0x84];
const CALL = [0xe8];
const LEAVE_RETURN = [0xc9, 0xc3];
const SYSCALL = [0x0f, 0x05];

/** `rax` (left) and `rcx` (right) to `rax` */
const OPERATIONS: Readonly<Record<Operator, readonly number[]>> = {
  add: [0x48, 0x01, 0xc8],
  subtract: [0x48, 0x29, 0xc8],
  multiply: [0x48, 0x0f, 0xaf, 0xc1],
  and: [0x48, 0x21, 0xc8],
  or: [0x48, 0x09, 0xc8],
  equal: compare(0x94),
  unequal: compare(0x95),
  less: compare(0x9c),
  atLeast: compare(0x9d),
  atMost: compare(0x9e),
  greater: compare(0x9f),
};

/** cmp `rax`, `rcx`; `set<condition> al`; `movzx eax, al` */
function compare(condition: number): number[] {
  return [0x48, 0x39, 0xc8, 0x0f, condition, 0xc0, 0x0f, 0xb6, 0xc0];
}

/** `rax` from the memory at `rax` */
const LOADS: Readonly<Record<Width, readonly number[]>> = {
  1: [0x0f, 0xb6, 0x00],
  4: [0x8b, 0x00],
  8: [0x48, 0x8b, 0x00],
};

/** `rcx` to the memory at `rax` */
const STORES: Readonly<Record<Width, readonly number[]>> = {
  1: [0x88, 0x08],
  4: [0x89, 0x08],
  8: [0x48, 0x89, 0x08],
};

/** pop of the registers of a system call's values: `rdi`, `rsi`, `rdx`, r10, r8, r9 */
const POP_VALUE: readonly (readonly number[])[] = [
  [0x5f],
  [0x5e],
  [0x5a],
  [0x41, 0x5a],
  [0x41, 0x58],
  [0x41, 0x59],
];

interface Frame {
  readonly code: CodePart[];
  /** distance of each variable from `rbp` */
  readonly variables: Map<string, number>;
  readonly labels: { next: number };
  /** number of parameters of each function */
  readonly arity: ReadonlyMap<string, number>;
  locals: number;
}

/** Code of the start of a program: calls `main` with the address of the initial stack, exits with its result. */
export const START: readonly CodePart[] = [
  [0x54, ...CALL], // push `rsp`
  { relative: 'main' },
  [0x89, 0xc7, ...moveEax(231), ...SYSCALL], // mov edi, eax; exit_group
];

/** Compiles functions. @throws Error for a variable that is not set, or a call with other values than its function has parameters */
export function compile(functions: readonly ProgramFunction[]): CodePart[] {
  const labels = { next: 0 };
  const arity = new Map(functions.map(({ name, parameters }) => [name, parameters.length]));
  if (arity.size !== functions.length) throw new Error('two functions have the same name');
  return functions.flatMap((one) =>
    compileFunction(one, { code: [], variables: new Map(), labels, arity, locals: 0 }),
  );
}

function compileFunction({ name, parameters, body }: ProgramFunction, frame: Frame): CodePart[] {
  for (const [index, parameter] of parameters.entries()) {
    frame.variables.set(parameter, ARGUMENTS + WORD * (parameters.length - 1 - index));
  }
  addStatements(frame, body);
  return [
    { label: name },
    [0x55, 0x48, 0x89, 0xe5, 0x48, 0x81, 0xec, ...dword(frame.locals * WORD)], // push `rbp`; mov `rbp`, `rsp`; sub `rsp`
    ...frame.code,
    [0x31, 0xc0, ...LEAVE_RETURN],
  ];
}

function addStatements(frame: Frame, statements: readonly Statement[]): void {
  for (const statement of statements) addStatement(frame, statement);
}

function addStatement(frame: Frame, statement: Statement): void {
  switch (statement.kind) {
    case 'set':
      addValue(frame, statement.value);
      // mov [`rbp` + distance], `rax`
      frame.code.push([0x48, 0x89, 0x85, ...dword(declared(frame, statement.name))]);
      return;
    case 'store':
      addValue(frame, statement.value);
      frame.code.push([...PUSH_RAX]);
      addValue(frame, statement.address);
      frame.code.push([...POP_RCX, ...STORES[statement.width]]);
      return;
    case 'when':
      addBranches(frame, statement);
      return;
    case 'loop':
      addLoop(frame, statement);
      return;
    case 'give':
      addValue(frame, statement.value);
      frame.code.push([...LEAVE_RETURN]);
      return;
    default:
      addValue(frame, statement);
  }
}

function addBranches(
  frame: Frame,
  { condition, yes, no }: { condition: Value; yes: readonly Statement[]; no: readonly Statement[] },
): void {
  const [otherwise, end] = [newLabel(frame), newLabel(frame)];
  addValue(frame, condition);
  frame.code.push([...TEST_RAX, ...JUMP_IF_ZERO], { relative: otherwise });
  addStatements(frame, yes);
  frame.code.push([...JUMP], { relative: end }, { label: otherwise });
  addStatements(frame, no);
  frame.code.push({ label: end });
}

function addLoop(frame: Frame, { condition, body }: { condition: Value; body: readonly Statement[] }): void {
  const [start, end] = [newLabel(frame), newLabel(frame)];
  frame.code.push({ label: start });
  addValue(frame, condition);
  frame.code.push([...TEST_RAX, ...JUMP_IF_ZERO], { relative: end });
  addStatements(frame, body);
  frame.code.push([...JUMP], { relative: start }, { label: end });
}

/** Adds code that computes a value in `rax`. */
function addValue(frame: Frame, value: Value): void {
  if (typeof value === 'number') {
    frame.code.push(moveRax(value));
    return;
  }
  if (typeof value === 'string') {
    frame.code.push([0x48, 0x8b, 0x85, ...dword(known(frame, value))]);
    return;
  }
  addExpression(frame, value);
}

function addExpression(frame: Frame, value: Expression): void {
  const { code } = frame;
  switch (value.kind) {
    case 'text':
    case 'bytes':
    case 'space':
      code.push([0xb8], { data: value }); // mov eax, address: it is below 2^31
      return;
    case 'load':
      addValue(frame, value.address);
      code.push([...LOADS[value.width]]);
      return;
    case 'binary':
      addValue(frame, value.right);
      code.push([...PUSH_RAX]);
      addValue(frame, value.left);
      code.push([...POP_RCX, ...OPERATIONS[value.operator]]);
      return;
    case 'both':
    case 'either':
      addShortcut(frame, value);
      return;
    case 'call':
      addCall(frame, value);
      return;
    case 'system':
      pushAll(frame, value.values);
      code.push([...popValues(value.values.length), ...moveEax(value.number), ...SYSCALL]);
  }
}

function addCall(frame: Frame, { name, values }: Extract<Expression, { kind: 'call' }>): void {
  if (frame.arity.get(name) !== values.length)
    throw new Error(`call of ${name} with ${values.length} values`);
  pushAll(frame, values);
  // add `rsp`: removes the values
  frame.code.push([...CALL], { relative: name }, [0x48, 0x81, 0xc4, ...dword(values.length * WORD)]);
}

function addShortcut(
  frame: Frame,
  { kind, left, right }: Extract<Expression, { kind: 'both' | 'either' }>,
): void {
  const end = newLabel(frame);
  const toBoolean = [...TEST_RAX, 0x0f, 0x95, 0xc0, 0x0f, 0xb6, 0xc0]; // `setne al`; `movzx eax, al`
  addValue(frame, left);
  frame.code.push([...toBoolean, ...TEST_RAX, 0x0f, kind === 'both' ? 0x84 : 0x85], { relative: end });
  addValue(frame, right);
  frame.code.push(toBoolean, { label: end });
}

function pushAll(frame: Frame, values: readonly Value[]): void {
  for (const value of values) {
    addValue(frame, value);
    frame.code.push([...PUSH_RAX]);
  }
}

function popValues(count: number): number[] {
  return POP_VALUE.slice(0, count)
    .toReversed()
    .flatMap((one) => [...one]);
}

function declared(frame: Frame, name: string): number {
  const found = frame.variables.get(name);
  if (found !== undefined) return found;
  frame.locals += 1;
  const distance = -WORD * frame.locals;
  frame.variables.set(name, distance);
  return distance;
}

function known({ variables }: Frame, name: string): number {
  const found = variables.get(name);
  if (found === undefined) throw new Error(`variable ${name} is not set`);
  return found;
}

function newLabel({ labels }: Frame): string {
  labels.next += 1;
  return `.${labels.next}`;
}

/** mov `rax`, imm64, or the shorter form that extends 32 bits with their sign */
function moveRax(value: number): number[] {
  if (value === (value | 0)) return [0x48, 0xc7, 0xc0, ...dword(value)];
  const long = Buffer.alloc(WORD);
  long.writeBigInt64LE(BigInt(value));
  return [0x48, 0xb8, ...long];
}

function moveEax(value: number): number[] {
  return [0xb8, ...dword(value)];
}

function dword(value: number): number[] {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return [...bytes];
}
