/** Facts about the keys of the schema, read from its JSON Schema: what is valid where, and in words. */
import { z } from 'zod';
import { configSchema } from './schema.js';
import type { KeyPath } from './yaml-source.js';

/** The part of JSON Schema that zod writes for our schema. */
export interface SchemaNode {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: unknown;
  readonly items?: SchemaNode;
  readonly prefixItems?: readonly SchemaNode[];
  readonly anyOf?: readonly SchemaNode[];
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  /** For sections: what else may be written in their place. */
  readonly shorthand?: string;
  /** The key that the shorthand sets. */
  readonly shorthandKey?: string;
}

let cached: SchemaNode | undefined;

/** JSON Schema of the configuration file (of what may be written, not of the resolved result). */
export function configJsonSchema(): SchemaNode {
  cached ??= z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }) as SchemaNode;
  return cached;
}

/** The schema at a key, or undefined if there is no such key. Below free-form keys everything is unknown. */
export function schemaAt(path: KeyPath): SchemaNode | undefined {
  let node: SchemaNode | undefined = configJsonSchema();
  for (const key of path)
    node = typeof key === 'number' ? (node?.items ?? node?.prefixItems?.[key]) : node?.properties?.[key];
  return node;
}

/** True for keys that hold whatever a plugin wants. */
export function isFreeForm(node: SchemaNode): boolean {
  return node.type === 'object' && node.properties === undefined;
}

/** Every key of the schema, sections included, parents first. */
export function allKeyPaths(node: SchemaNode = configJsonSchema(), path: readonly string[] = []): string[][] {
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) => [
    [...path, key],
    ...allKeyPaths(child, [...path, key]),
  ]);
}

/** What a key accepts, in words: `an integer >= 1`, `one of forward-kl, reverse-kl`. */
export function expectedText(node: SchemaNode | undefined): string {
  if (!node) return 'another value';
  if (node.enum) return `one of ${node.enum.map(String).join(', ')}`;
  if (node.anyOf) return node.anyOf.map(expectedText).join(', or ');
  switch (node.type) {
    case 'integer':
      return `an integer${rangeText(node)}`;
    case 'number':
      return `a finite number${rangeText(node)}`;
    case 'string':
      return 'text (1 to 4096 characters, none of them a control character)';
    case 'boolean':
      return 'true or false';
    case 'array':
      return node.prefixItems
        ? `a pair of ${expectedText(node.prefixItems[0])}`
        : `a list of values, each ${expectedText(node.items)}`;
    case 'object':
      return sectionText(node);
    default:
      return 'another value';
  }
}

function sectionText(node: SchemaNode): string {
  if (isFreeForm(node)) return 'a section of keys';
  const section = `a section with ${Object.keys(node.properties ?? {}).join(', ')}`;
  return node.shorthand === undefined ? section : `${node.shorthand}, or ${section}`;
}

function rangeText({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: SchemaNode): string {
  const isLarge = (bound: number | undefined) => bound === undefined || Math.abs(bound) >= Number.MAX_SAFE_INTEGER;
  const lower = isLarge(minimum) ? undefined : minimum;
  const upper = isLarge(maximum) ? undefined : maximum;
  const open = exclusiveMinimum !== undefined ? `(${exclusiveMinimum}` : lower !== undefined ? `[${lower}` : undefined;
  const close = exclusiveMaximum !== undefined ? `${exclusiveMaximum})` : upper !== undefined ? `${upper}]` : undefined;
  if (open && close) return ` in ${open}, ${close}`;
  if (open) return exclusiveMinimum !== undefined ? ` above ${exclusiveMinimum}` : ` >= ${lower}`;
  if (close) return exclusiveMaximum !== undefined ? ` below ${exclusiveMaximum}` : ` <= ${upper}`;
  return '';
}
