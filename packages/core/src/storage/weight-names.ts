/**
 * Names of tensors as programs around a model write them: wrappers of PyTorch put words into the names, trainers put a
 * word before all of them, and keep tensors beside the model that its own loader does not look at.
 */
import type { SpecTree } from '../tensors/tensors.js';

/** Words that wrappers put between the parts of a name: DataParallel, torch.compile, FSDP, checkpointing, DeepSpeed. */
const wrapperWords = ['module', '_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_forward_module'];
const wrapper = new RegExp(`(?<=^|\\.)(?:${wrapperWords.join('|')})\\.`, 'g');

/** Words for a moving average of the weights; the weights themselves are preferred. */
const averageWord = /(?:^|[._])(?:ema|average|averaged|swa|shadow)(?:[._]|$)/i;

/** A model's tensors among those of a file. */
export interface FittedNames {
  /** Name in the file by the model's own name; lacks what the file lacks. */
  readonly fileNames: ReadonlyMap<string, string>;
  /** What stands before every name of the model in the file, such as `model.`; without the words of wrappers. */
  readonly prefix: string;
  /** Words of wrappers in those names. */
  readonly wrappers: readonly string[];
  /** Further prefixes under which the file has the whole model, such as `ema.`. */
  readonly alternatives: readonly string[];
  /** Tensors of the file, under their names there, that are not the model's. */
  readonly unused: readonly string[];
}

/**
 * The prefixes under which all the given names are in a file, the preferred one first: none, then others, then those of
 * moving averages. Words of wrappers do not count.
 *
 * @param names - names in the file.
 * @param anchors - names that the model certainly has.
 */
export function prefixesOf(names: readonly string[], anchors: readonly string[]): string[] {
  const bare = new Set(names.map(withoutWrappers));
  const [first = '', ...rest] = anchors;
  const prefixes = [...bare]
    .filter((name) => name === first || name.endsWith(`.${first}`))
    .map((name) => name.slice(0, name.length - first.length))
    .filter((prefix) => rest.every((anchor) => bare.has(prefix + anchor)));
  const rank = (prefix: string): number => (prefix === '' ? 0 : averageWord.test(prefix) ? 2 : 1);
  return prefixes.sort((a, b) => rank(a) - rank(b) || a.length - b.length);
}

/** The tensors of a file below a prefix, under the names that remain. */
export function tensorsUnder(found: SpecTree, prefix: string): SpecTree {
  return Object.fromEntries([...ownNames(Object.keys(found), prefix)].map(([own, name]) => [own, found[name]!]));
}

/**
 * Finds a model's tensors among those of a file.
 *
 * @param found - all tensors of the file.
 * @param parameters - those of the model.
 * @param prefix - where they are, if that is known. @default the prefix under which most of them are
 */
export function fitNames(found: SpecTree, parameters: SpecTree, prefix?: string): FittedNames {
  const wanted = Object.keys(parameters);
  const names = Object.keys(found);
  const anchors = [...new Set([wanted[0], wanted.at(-1)])].filter((name) => name !== undefined);
  const candidates =
    prefix === undefined ? [...new Set(['', ...anchors.flatMap((name) => prefixesOf(names, [name]))])] : [prefix];
  const ranked = candidates
    .map((candidate) => {
      const own = ownNames(names, candidate);
      return { candidate, own, hits: wanted.filter((name) => own.has(name)).length };
    })
    // Stable: of those that fit equally well the preferred one stays first.
    .sort((a, b) => b.hits - a.hits);
  const { candidate, own } = ranked[0]!;
  const fileNames = new Map(wanted.flatMap((name) => (own.has(name) ? [[name, own.get(name)!] as const] : [])));
  const used = new Set(fileNames.values());
  return {
    fileNames,
    prefix: candidate,
    wrappers: wrapperWords.filter((word) => [...fileNames].some(([name, there]) => addsWord(there, name, word))),
    alternatives: ranked.slice(1).flatMap(({ candidate: other, hits }) => (hits === wanted.length ? [other] : [])),
    unused: names.filter((name) => !used.has(name)),
  };
}

/**
 * True for a tensor that a model's own loader would pass over: nothing of the model is called like it, whatever the
 * number of the block. A tensor of a block that the model does not have shows that the model is of another size.
 */
export function isForeign(name: string, parameters: SpecTree, prefix = ''): boolean {
  const bare = withoutWrappers(name);
  return !bare.startsWith(prefix) || !familiesOf(parameters).has(family(bare.slice(prefix.length)));
}

/**
 * What `checkWeights` has to look at: the model's tensors under its own names, and those of the others that are no
 * strangers to it.
 */
export function fittedSpecs(
  found: SpecTree,
  parameters: SpecTree,
  { fileNames, prefix, unused }: FittedNames,
): SpecTree {
  return Object.fromEntries([
    ...[...fileNames].map(([own, name]) => [own, found[name]!] as const),
    ...unused.filter((name) => !isForeign(name, parameters, prefix)).map((name) => [name, found[name]!] as const),
  ]);
}

const knownFamilies = new WeakMap<SpecTree, ReadonlySet<string>>();

function familiesOf(parameters: SpecTree): ReadonlySet<string> {
  const known = knownFamilies.get(parameters) ?? new Set(Object.keys(parameters).map(family));
  knownFamilies.set(parameters, known);
  return known;
}

/** The name with every number replaced. */
function family(name: string): string {
  return name.replace(/(?<=^|\.)[0-9]+(?=\.|$)/g, '#');
}

/** Names in the file by the model's own name, for those that begin with the prefix. */
function ownNames(names: readonly string[], prefix: string): Map<string, string> {
  const own = new Map<string, string>();
  for (const name of names) {
    const bare = withoutWrappers(name);
    if (!bare.startsWith(prefix)) continue;
    const short = bare.slice(prefix.length);
    // Of two names that differ in wrappers alone the plain one is meant.
    if (!own.has(short) || name === bare) own.set(short, name);
  }
  // A model whose own names have such a word.
  for (const name of names) if (name.startsWith(prefix)) own.set(name.slice(prefix.length), name);
  return own;
}

function addsWord(there: string, name: string, word: string): boolean {
  return `.${there}`.split(`.${word}.`).length > `.${name}`.split(`.${word}.`).length;
}

function withoutWrappers(name: string): string {
  return name.includes('mod') ? name.replace(wrapper, '') : name;
}
