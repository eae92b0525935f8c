/** Tensors that are read a few at a time: from a device, a file or memory. Large states are then never copied as a whole. */
import { ShapeError } from '../errors.js';
import { specsOf, type HostTree, type SpecTree } from './tensors.js';

/** Named tensors whose names, shapes and dtypes are known, and whose values are read when they are needed. */
export interface TensorSource {
  readonly specs: SpecTree;
  /** Reads tensors. What is read is borrowed: it is not to be changed. @throws DimoError if one cannot be read. */
  read(names: readonly string[]): Promise<HostTree>;
}

/** Tells a source from a tree, in which every value is a tensor. */
export function isTensorSource(tensors: HostTree | TensorSource): tensors is TensorSource {
  return typeof (tensors as Partial<TensorSource>).read === 'function';
}

/** Tensors in memory as a source; a source as it is. */
export function tensorSource(tensors: HostTree | TensorSource): TensorSource {
  if (isTensorSource(tensors)) return tensors;
  return {
    specs: specsOf(tensors),
    read: (names) => Promise.resolve(Object.fromEntries(names.map((name) => [name, tensors[name]!]))),
  };
}

/** The tensors of a device tree, as they are when they are read. */
export function deviceTensors(tree: {
  readonly specs: SpecTree;
  download(names: readonly string[]): Promise<HostTree>;
}): TensorSource {
  return { specs: tree.specs, read: (names) => tree.download(names) };
}

/**
 * Some tensors of a source, under other names.
 *
 * @param names - the source's name of each, by the new one.
 * @throws ShapeError if the source lacks one of them.
 */
export function selectTensors(source: TensorSource, names: Readonly<Record<string, string>>): TensorSource {
  const specs = Object.fromEntries(
    Object.entries(names).map(([name, original]) => {
      const spec = Object.hasOwn(source.specs, original) ? source.specs[original] : undefined;
      if (!spec) throw new ShapeError(`there is no tensor "${original}" among those that are read`);
      return [name, spec];
    }),
  );
  return {
    specs,
    async read(wanted) {
      const tensors = await source.read(wanted.map((name) => names[name]!));
      return Object.fromEntries(wanted.map((name) => [name, tensors[names[name]!]!]));
    },
  };
}

/** All tensors of a source, in memory together. */
export function readTensors({ specs, read }: TensorSource): Promise<HostTree> {
  return read(Object.keys(specs));
}
