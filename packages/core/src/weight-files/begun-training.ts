/**
 * A training that another program has begun, to be gone on with: weights, the moments of Adam, updates and iterations made,
 * as far as a file has them. What of it can be used and what cannot is said.
 */
import { WeightError } from '../errors.js';
import { openSafetensors } from '../storage/safetensors-file.js';
import type { WeightSource } from '../storage/weight-source.js';
import { withPrefix, type HostTree, type SpecTree } from '../tensors/tensors.js';
import type { TensorSource } from '../tensors/tensor-source.js';
import { escapeText } from '../text/escape-text.js';
import { inspectCheckpoint, listedNames, torchFile } from './checkpoints.js';
import type { TorchAdam, TorchTrainingState } from './torch/training-state.js';
import type { SizedModel } from './weight-places.js';

/** A training that another program has begun. Its tensors are read when they are asked for. */
export interface BegunTraining extends TensorSource {
  /**
   * `weights/<p>` of every parameter of the model; `m/<p>` and `v/<p>`, the moments of Adam, of every one or of none.
   */
  readonly specs: SpecTree;
  /** Updates that the moments are of; undefined where there are none. */
  readonly updates: number | undefined;
  /** Iterations made, where the file says them. */
  readonly iteration: number | undefined;
  /** Settings of the optimizer by their names in PyTorch: `lr`, `betas`, `eps`, `weight_decay`. */
  readonly settings: TorchAdam['settings'];
  /** What the file has that can be used, and what has to be left or is not there: a line each. */
  readonly taken: readonly string[];
  readonly left: readonly string[];
  /** Reads tensors one by one, keeping none. @throws NonFiniteError, WeightError for numbers that no training leaves */
  check(names: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens weights, in any of the files that `readCheckpoint` reads, and the state of their training where the file is the
 * checkpoint of a trainer of PyTorch with `optimizer_state_dict` and `iter`.
 *
 * Optimizers of PyTorch number parameters as they were given, which is the order of the state dict where that is
 * `model.parameters()`: the moments are used only if their number and all their shapes agree with it.
 *
 * @param file - its name in the source.
 * @throws WeightError for a file that is damaged or does not hold the weights of the model.
 */
export async function openBegunTraining(source: WeightSource, file: string, model: SizedModel): Promise<BegunTraining> {
  const { fileNames, leftOut, unused } = await inspectCheckpoint(source, { file }, { model, part: model.name });
  const isTorch = torchFile.test(file);
  const weights = await (isTorch ? openTorch : openOther)(source, file, [...fileNames.values()]);
  let state: TorchTrainingState | undefined;
  const close = async (): Promise<void> => {
    await weights.close();
    await state?.close();
  };
  try {
    state = isTorch
      ? await (await import('./torch/training-state.js')).openTorchTrainingState(source, file)
      : undefined;
    const numbers = new Map(Object.keys(weights.specs).map((name, i) => [name, i]));
    const numberOf = (parameter: string): number => numbers.get(fileNames.get(parameter)!)!;
    const adam = usableAdam(state?.adam ?? 'the file is none of a trainer', weights.specs);
    const hasMoments = typeof adam !== 'string';
    const { parameters } = model;
    const iteration = state?.iteration;
    const { others = [] } = state ?? {};
    const read = async (name: string): Promise<HostTree[string]> => {
      const part = name.slice(0, name.indexOf('/'));
      const parameter = name.slice(part.length + 1);
      if (part !== 'weights') return state!.moment(numberOf(parameter), part === 'm' ? 'exp_avg' : 'exp_avg_sq');
      const inFile = fileNames.get(parameter)!;
      return (await weights.read([inFile]))[inFile]!;
    };
    const begun: Omit<BegunTraining, 'check'> = {
      specs: {
        ...withPrefix('weights', parameters),
        ...(hasMoments ? { ...withPrefix('m', parameters), ...withPrefix('v', parameters) } : {}),
      },
      updates: hasMoments ? adam.updates : undefined,
      iteration,
      settings: typeof state?.adam === 'object' ? state.adam.settings : new Map(),
      taken: [
        `weights: ${fileNames.size} tensors${leftOut.length > 0 ? `, their names without ${listedNames(leftOut)}` : ''}`,
        ...(hasMoments ? [`Adam's moments of all of them, after ${adam.updates} updates`] : []),
        ...(iteration === undefined ? [] : [`iterations made: ${iteration}`]),
      ],
      left: [
        ...(hasMoments ? [] : [`Adam's moments start at zero: ${adam}`]),
        ...(hasMoments && adam.settings.get('amsgrad') === true ? ['the largest second moments of AMSGrad'] : []),
        ...(iteration === undefined ? ['iterations made: the file does not say them'] : []),
        ...(unused.length > 0 ? [`tensors that are not the model's: ${listedNames(unused)}`] : []),
        ...(others.length > 0 ? [`what else the file holds: ${listedNames(others)}`] : []),
      ],
      async read(names) {
        const tree: HostTree = {};
        for (const name of names) tree[name] = await read(name);
        return tree;
      },
      close,
    };
    return { ...begun, check: (names) => checkNumbers(begun, names, `${source.location}/${file}`) };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Weights in a file, one of the two kinds. */
type OpenedWeights = TensorSource & { close(): Promise<void> };

async function openTorch(source: WeightSource, file: string, needed: readonly string[]): Promise<OpenedWeights> {
  const { openTorchWeights, requireTensors } = await import('./torch/state-dict.js');
  const opened = await openTorchWeights(source, file);
  try {
    requireTensors(opened, needed);
    return opened;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

function openOther(source: WeightSource, file: string): Promise<OpenedWeights> {
  return openSafetensors(source, file, { narrowFloat64: true });
}

/** The optimizer, if its parameters are those of the state dict, as far as number and shapes show it; else why not. */
function usableAdam(adam: TorchAdam | string, specs: SpecTree): TorchAdam | string {
  if (typeof adam === 'string') return adam;
  const tensors = Object.entries(specs);
  if (adam.shapes.length !== tensors.length)
    return `the optimizer has ${adam.shapes.length} parameters, the file ${tensors.length} tensors of weights`;
  const other = tensors.findIndex(([, { shape }], i) => shape.join() !== adam.shapes[i]!.join());
  if (other < 0) return adam;
  const [name, { shape }] = tensors[other]!;
  return `parameter ${other} of the optimizer has the shape [${adam.shapes[other]!.join(', ')}], "${escapeText(name, 120)}" [${shape.join(', ')}]`;
}

async function checkNumbers({ read }: TensorSource, names: readonly string[], path: string): Promise<void> {
  for (const name of names) {
    const { data } = (await read([name]))[name]!;
    const wrong = name.startsWith('v/') ? (data as Float32Array).findIndex((value) => value < 0) : -1;
    if (wrong >= 0)
      throw new WeightError(
        `${escapeText(path)}: the second moment of "${escapeText(name.slice(2), 120)}" is ${data[wrong]} at element ${wrong}, expected numbers >= 0`,
        { path, hint: 'the state of the optimizer is damaged; its weights alone may be good' },
      );
  }
}
