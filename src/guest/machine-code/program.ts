/*
 * Programs for the guest without a compiler: functions of 64-bit integers, written as values of TypeScript. `compile.ts` turns them
 * into x86-64 machine code, `elf.ts` into a static executable. A program has no library: it makes system calls.
 *
 * A text stands for a variable of the function, a number for itself. All arithmetic and comparisons are signed, and 64 bits wide.
 */

/** A value: a number, the name of a variable, or an expression. */
export type Value = number | string | Expression;

/** Operators of two values; comparisons give 1 or 0. */
export type Operator =
  | 'add'
  | 'subtract'
  | 'multiply'
  | 'and'
  | 'or'
  | 'equal'
  | 'unequal'
  | 'less'
  | 'greater'
  | 'atLeast'
  | 'atMost';

/** Width of a load or a store, in bytes. Loads of less than 8 bytes extend with zeros. */
export type Width = 1 | 4 | 8;

/** An expression. */
export type Expression =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'bytes'; readonly bytes: readonly number[] }
  | { readonly kind: 'space'; readonly name: string; readonly size: number }
  | { readonly kind: 'load'; readonly width: Width; readonly address: Value }
  | { readonly kind: 'binary'; readonly operator: Operator; readonly left: Value; readonly right: Value }
  | { readonly kind: 'both' | 'either'; readonly left: Value; readonly right: Value }
  | { readonly kind: 'call'; readonly name: string; readonly values: readonly Value[] }
  | { readonly kind: 'system'; readonly number: number; readonly values: readonly Value[] };

/** A statement. An expression is one, for its effect. */
export type Statement =
  | Expression
  | { readonly kind: 'set'; readonly name: string; readonly value: Value }
  | { readonly kind: 'store'; readonly width: Width; readonly address: Value; readonly value: Value }
  | {
      readonly kind: 'when';
      readonly condition: Value;
      readonly yes: readonly Statement[];
      readonly no: readonly Statement[];
    }
  | { readonly kind: 'loop'; readonly condition: Value; readonly body: readonly Statement[] }
  | { readonly kind: 'give'; readonly value: Value };

/** A function: its parameters are variables; others begin with {@link set}. It gives 0 if it ends without {@link give}. */
export interface ProgramFunction {
  readonly name: string;
  readonly parameters: readonly string[];
  readonly body: readonly Statement[];
}

/** Declares a function. */
export function define(
  name: string,
  parameters: readonly string[],
  body: readonly Statement[],
): ProgramFunction {
  return { name, parameters, body };
}

/** Address of a text that ends with a NUL. */
export const text = (value: string): Expression => ({ kind: 'text', text: value });

/** Address of constant bytes. */
export const bytes = (value: readonly number[]): Expression => ({ kind: 'bytes', bytes: value });

/** Address of memory of the program, `size` bytes of zeros at its start; the same for each use of its name. */
export const space = (name: string, size: number): Expression => ({ kind: 'space', name, size });

const load =
  (width: Width) =>
  (address: Value): Expression => ({ kind: 'load', width, address });

export const byteAt = load(1);
export const intAt = load(4);
export const wordAt = load(8);

const binary =
  (operator: Operator) =>
  (left: Value, right: Value): Expression => ({ kind: 'binary', operator, left, right });

export const add = binary('add');
export const subtract = binary('subtract');
export const multiply = binary('multiply');
export const bitAnd = binary('and');
export const bitOr = binary('or');
export const equal = binary('equal');
export const unequal = binary('unequal');
export const less = binary('less');
export const greater = binary('greater');
export const atLeast = binary('atLeast');
export const atMost = binary('atMost');

/** 1 if both are not 0; the right one is evaluated only if the left one is not 0. */
export const both = (left: Value, right: Value): Expression => ({ kind: 'both', left, right });

/** 1 if one is not 0; the right one is evaluated only if the left one is 0. */
export const either = (left: Value, right: Value): Expression => ({ kind: 'either', left, right });

export const not = (value: Value): Expression => equal(value, 0);

/** Result of a function of the program. */
export const call = (name: string, ...values: readonly Value[]): Expression => ({
  kind: 'call',
  name,
  values,
});

/** Result of a system call; a failure is the negative number of its error. */
export const system = (number: number, ...values: readonly Value[]): Expression => ({
  kind: 'system',
  number,
  values,
});

export const set = (name: string, value: Value): Statement => ({ kind: 'set', name, value });

const store =
  (width: Width) =>
  (address: Value, value: Value): Statement => ({ kind: 'store', width, address, value });

export const storeByte = store(1);
export const storeInt = store(4);
export const storeWord = store(8);

export const when = (
  condition: Value,
  yes: readonly Statement[],
  no: readonly Statement[] = [],
): Statement => ({ kind: 'when', condition, yes, no });

export const loop = (condition: Value, body: readonly Statement[]): Statement => ({
  kind: 'loop',
  condition,
  body,
});

/** Ends the function with a value. */
export const give = (value: Value): Statement => ({ kind: 'give', value });
