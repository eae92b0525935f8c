/** Tensors of a training's state as the groups of a checkpoint, each of which is a file, and back. Nothing is read here. */
import { deviceTensors, DimoError, selectTensors, type DeviceTree, type SpecTree, type TensorSource } from '@dimo/core';

/** Group of a state tensor: the part of its name before the first `/`, as checkpoints write it. */
function groupOf(name: string): string {
  return name.slice(0, name.indexOf('/')).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Name of a state tensor within its group. */
function nameInGroup(name: string): string {
  return name.slice(name.indexOf('/') + 1);
}

/** What belongs to the tensors of a state, by group and by their names in it; without the groups that are frozen. */
export function toGroups<T>(
  state: Readonly<Record<string, T>>,
  frozen: readonly string[],
): Record<string, Record<string, T>> {
  const groups: Record<string, Record<string, T>> = {};
  for (const [name, value] of Object.entries(state)) {
    const group = groupOf(name);
    if (!frozen.includes(group)) (groups[group] ??= {})[nameInGroup(name)] = value;
  }
  return groups;
}

/** The state of a training by group, to be read from the device. */
export function groupsOnDevice(
  state: Pick<DeviceTree, 'specs' | 'download'>,
  frozen: readonly string[],
): Record<string, TensorSource> {
  const source = deviceTensors(state);
  const names = toGroups(Object.fromEntries(Object.keys(state.specs).map((name) => [name, name])), frozen);
  return Object.fromEntries(Object.entries(names).map(([group, own]) => [group, selectTensors(source, own)]));
}

/**
 * Inverse of `toGroups`, without what is frozen.
 *
 * @param specs - of the program's own state; names, shapes and dtypes must be those.
 * @throws DimoError with code `checkpoint` if they are others.
 */
export function fromGroups(
  groups: Readonly<Record<string, TensorSource>>,
  specs: SpecTree,
  frozen: readonly string[],
): TensorSource {
  const kept = Object.entries(specs).filter(([name]) => !frozen.includes(groupOf(name)));
  for (const [name, spec] of kept) {
    const saved = groups[groupOf(name)]?.specs[nameInGroup(name)];
    if (!saved || saved.dtype !== spec.dtype || saved.shape.join() !== spec.shape.join())
      throw new DimoError(
        'checkpoint',
        `the checkpoint does not fit the run: tensor "${name}" is missing or has another shape`,
      );
  }
  return {
    specs: Object.fromEntries(kept),
    async read(names) {
      const entries = [];
      for (const name of names) {
        const own = nameInGroup(name);
        entries.push([name, (await groups[groupOf(name)]!.read([own]))[own]!] as const);
      }
      return Object.fromEntries(entries);
    },
  };
}
