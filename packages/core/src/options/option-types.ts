/** TypeScript types of options, from their schemas. Keys stay those of the schema, so that an editor leads to their sentence. */
import type { z } from 'zod';

/** The options of a section, also of one that may be written as a number. */
type ShapeOf<T> =
  T extends z.ZodPrefault<z.ZodObject<infer Shape>>
    ? Shape
    : T extends z.ZodPrefault<z.ZodPreprocess<z.ZodObject<infer Shape>>>
      ? Shape
      : never;

type IsSection<T> = [ShapeOf<T>] extends [never] ? false : true;

type GivenValue<T extends z.ZodType> =
  IsSection<T> extends true
    ? GivenOptions<ShapeOf<T>> | (number extends z.input<T> ? number : never)
    : DeepReadonly<z.input<T>>;

/** What a caller may give: every option can be left out, at every level, and has its default then. */
export type GivenOptions<Shape> = {
  readonly [K in keyof Shape]?: (Shape[K] extends z.ZodType ? GivenValue<Shape[K]> : never) | undefined;
};

type DeepReadonly<T> = T extends readonly unknown[]
  ? Readonly<T>
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

/** Options with their defaults filled in; what has none may be absent. */
export type ResolvedOptions<Shape extends z.ZodRawShape> = DeepReadonly<z.output<z.ZodObject<Shape>>>;
