/** What trainers of PyTorch keep beside the weights: how far they are, and the state of Adam. */
import { openWeightFile, type WeightSource } from '../../storage/weight-source.js';
import type { HostTree } from '../../tensors/tensors.js';
import { isReadable, PickleList, PickleTuple, TensorReference, type PickleValue } from './pickle-values.js';
import { readTensors } from './read-tensors.js';
import { containers, describeValue, entriesOf } from './state-dict.js';
import { openTorchFile } from './torch-file.js';

/** Key of the state dict of the optimizer. */
const optimizerKey = 'optimizer_state_dict';
/** Key of the iterations made. */
const iterationKey = 'iter';

/** The state dict of an optimizer of the family of Adam, with one group of parameters. */
export interface TorchAdam {
  /** Settings of the group that are numbers or truth values, by their names in PyTorch; `betas` are two. */
  readonly settings: ReadonlyMap<string, number | boolean | readonly number[]>;
  /** Updates made. */
  readonly updates: number;
  /** Shapes of the moments, in the order in which the optimizer was given the parameters. */
  readonly shapes: readonly (readonly number[])[];
}

/** A checkpoint of a trainer, but for its weights. */
export interface TorchTrainingState {
  /** Iterations made, where the file says them. */
  readonly iteration: number | undefined;
  /** The optimizer; a text says why its state cannot be used. */
  readonly adam: TorchAdam | string;
  /** Further keys of the file, in words. */
  readonly others: readonly string[];
  /**
   * Reads a moment of a parameter, the mean of its gradients or that of their squares.
   *
   * @param index - in `TorchAdam.shapes`.
   * @throws WeightError, NonFiniteError for damage.
   */
  moment(index: number, which: 'exp_avg' | 'exp_avg_sq'): Promise<HostTree[string]>;
  close(): Promise<void>;
}

/** Moments of a parameter in the file. */
interface Moments {
  readonly step: PickleValue | undefined;
  readonly exp_avg: TensorReference;
  readonly exp_avg_sq: TensorReference;
}

/**
 * Opens what a trainer's checkpoint holds beside the weights: `optimizer_state_dict` and `iter`.
 *
 * @throws WeightError if the file is damaged, hostile or of another kind.
 */
export async function openTorchTrainingState(source: WeightSource, name: string): Promise<TorchTrainingState> {
  const path = `${source.location}/${name}`;
  const file = await openWeightFile(source, name);
  try {
    const torch = await openTorchFile(file, path);
    const root = entriesOf(torch.root) ?? new Map<PickleValue, PickleValue>();
    const found = parametersOf(entriesOf(root.get(optimizerKey)));
    const parameters = typeof found === 'string' ? [] : found.parameters;
    const known = [...containers, optimizerKey, iterationKey];
    // A bare state dict has the names of its tensors at the top.
    const isTrainers = containers.some((key) => root.has(key));
    return {
      iteration: countOf(root.get(iterationKey)),
      adam: typeof found === 'string' ? found : await adamOf(found, (wanted) => readTensors(torch, wanted, { path })),
      others: isTrainers
        ? [...root].flatMap(([key, value]) =>
            typeof key === 'string' && !known.includes(key) ? [`${key} (${describeValue(value)})`] : [],
          )
        : [],
      async moment(index, which) {
        const name = `${optimizerKey}.state.${index}.${which}`;
        return (await readTensors(torch, [[name, parameters[index]![which]]], { path }))[name]!;
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

interface FoundAdam {
  readonly settings: TorchAdam['settings'];
  readonly parameters: readonly Moments[];
}

/** Moments of all parameters by their number; or why there are none. */
function parametersOf(optimizer: ReadonlyMap<PickleValue, PickleValue> | undefined): FoundAdam | string {
  if (!optimizer) return `the file has no ${optimizerKey}`;
  const groups = itemsOf(optimizer.get('param_groups'));
  const state = entriesOf(optimizer.get('state'));
  if (!groups || !state) return `${optimizerKey} is not the state dict of an optimizer of PyTorch`;
  if (groups.length !== 1)
    return `the optimizer has ${groups.length} groups of parameters, whose order is not that of the model`;
  const group = entriesOf(groups[0]);
  const numbers = itemsOf(group?.get('params'))?.map(countOf);
  if (!group || !numbers || numbers.some((number, i) => number !== i))
    return 'the parameters of the optimizer are not numbered in their order';
  const byNumber = new Map([...state].map(([key, value]) => [countOf(key), entriesOf(value)]));
  const parameters: Moments[] = [];
  for (const number of numbers) {
    const entries = byNumber.get(number);
    const first = entries?.get('exp_avg');
    const second = entries?.get('exp_avg_sq');
    if (!entries || entries.size === 0)
      return `the optimizer has no state for parameter ${number} of ${numbers.length}, which it has not updated`;
    if (!isFloat(first) || !isFloat(second) || first.shape.join() !== second.shape.join())
      return `parameter ${number} of the optimizer has no moments of Adam (exp_avg, exp_avg_sq)`;
    parameters.push({ step: entries.get('step'), exp_avg: first, exp_avg_sq: second });
  }
  return { settings: settingsOf(group), parameters };
}

async function adamOf(
  { settings, parameters }: FoundAdam,
  read: (wanted: [string, TensorReference][]) => Promise<HostTree>,
): Promise<TorchAdam | string> {
  const inTensors = parameters.flatMap(({ step }, i): [string, TensorReference][] =>
    step instanceof TensorReference && isReadable(step.dtype) && step.shape.length === 0 ? [[String(i), step]] : [],
  );
  const tensors = await read(inTensors);
  const steps = new Set(parameters.map(({ step }, i) => countOf(tensors[String(i)]?.data[0] ?? step)));
  const [updates] = steps;
  if (updates === undefined || steps.size > 1) return 'the parameters of the optimizer were not updated equally often';
  return { settings, updates, shapes: parameters.map(({ exp_avg }) => exp_avg.shape) };
}

function settingsOf(group: ReadonlyMap<PickleValue, PickleValue>): TorchAdam['settings'] {
  const settings = new Map<string, number | boolean | readonly number[]>();
  for (const [key, value] of group) {
    if (typeof key !== 'string' || key === 'params') continue;
    const items = itemsOf(value);
    if (typeof value === 'number' || typeof value === 'boolean') settings.set(key, value);
    else if (items?.every((item) => typeof item === 'number')) settings.set(key, items);
  }
  return settings;
}

function isFloat(value: PickleValue | undefined): value is TensorReference {
  return value instanceof TensorReference && isReadable(value.dtype) && value.dtype.includes('float');
}

function itemsOf(value: PickleValue | undefined): readonly PickleValue[] | undefined {
  return value instanceof PickleList || value instanceof PickleTuple ? value.items : undefined;
}

/** A whole number >= 0. */
function countOf(value: PickleValue | undefined): number | undefined {
  const number = typeof value === 'bigint' ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}
