/** A typed array that a table uses as a column. */
type Column = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array;

/** Returns a longer copy of a column; the new rows are 0. */
export function lengthen<T extends Column>(column: T, rows: number): T;
export function lengthen(column: Column, rows: number): Column {
  const longer = create(column, rows);
  longer.set(column);
  return longer;
}

function create(column: Column, rows: number): Column {
  if (column instanceof Uint8Array) return new Uint8Array(rows);
  if (column instanceof Uint16Array) return new Uint16Array(rows);
  if (column instanceof Uint32Array) return new Uint32Array(rows);
  if (column instanceof Int32Array) return new Int32Array(rows);
  return new Float64Array(rows);
}

/** Returns the rows of a table that grows: half more, so that few copies are needed and little memory is unused. */
export function grownRows(rows: number): number {
  return Math.ceil(rows * 1.5);
}
