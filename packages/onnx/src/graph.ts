/**
 * The intermediate representation between tracing and ONNX bytes: a list of nodes in execution order and the values that
 * they read and write. Values and nodes are immutable once made.
 */
import type { DType } from '@dimo/core';

/** Element type of a value; `int64` occurs only in shapes, axes and indices that ONNX itself asks for. */
export type ElementType = DType | 'int64';

/** Where a value comes from. */
export type ValueSource =
  | { readonly kind: 'input'; readonly name: string }
  /** Literal elements, row-major. */
  | { readonly kind: 'constant'; readonly data: ArrayLike<number> }
  | { readonly kind: 'node'; readonly node: GraphNode; readonly output: number };

/** One tensor of the graph. */
export interface Value {
  /** Unique within a trace, in order of creation. */
  readonly id: number;
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly source: ValueSource;
}

/** A node attribute with its ONNX kind: a JavaScript number does not tell an integer from a float. */
export type Attribute =
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'string'; readonly value: string };

/** Attributes by name. */
export type Attributes = Readonly<Record<string, Attribute>>;

/** Integer attribute. */
export const int = (value: number): Attribute => ({ kind: 'int', value });
/** Float attribute. */
export const float = (value: number): Attribute => ({ kind: 'float', value });
/** Attribute with a list of integers. */
export const ints = (value: readonly number[]): Attribute => ({ kind: 'ints', value });
/** String attribute. */
export const text = (value: string): Attribute => ({ kind: 'string', value });

/** Operator domain: the ONNX standard, or onnxruntime's own operators. */
export type Domain = '' | 'com.microsoft';

/** One operator call. */
export interface GraphNode {
  /** Unique within a trace, in order of creation. */
  readonly id: number;
  readonly op: string;
  readonly domain: Domain;
  /** `undefined` stands for an optional input that is left out. */
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: Attributes;
  readonly outputs: readonly Value[];
  /** Outputs from this index on may be left out when nobody reads them. */
  readonly numRequiredOutputs: number;
  /** True for a node that computes again what another has computed, to be run just before its result is read. */
  readonly isRepeated?: boolean;
}

/** What an input or output of the graph means to the traced function. */
export type PortRole = 'state' | 'input' | 'output' | 'newState';

/** A named input or output of the graph. */
export interface GraphPort {
  /** Name in the ONNX file: `s:`, `i:`, `o:` or `n:` and the key. */
  readonly name: string;
  readonly role: PortRole;
  /** Name in the tensor tree of the traced function. */
  readonly key: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly value: Value;
}

/**
 * A traced function. `inputs` holds only what the function reads; `outputs` holds every output and each state tensor
 * that the function replaces.
 */
export interface TracedGraph {
  readonly inputs: readonly GraphPort[];
  readonly outputs: readonly GraphPort[];
  /** In execution order; every node contributes to an output. */
  readonly nodes: readonly GraphNode[];
}

/** Prefix of port names by role; keeps names of inputs and outputs apart. */
export const portPrefix: Readonly<Record<PortRole, string>> = {
  state: 's:',
  input: 'i:',
  output: 'o:',
  newState: 'n:',
};

/** True if both shapes have the same lengths. */
export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((length, axis) => length === b[axis]);
}
