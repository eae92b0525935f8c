// @ts-check
/**
 * The half of an engine on onnxruntime that holds sessions and state; in Node it runs in a worker thread. Plain
 * JavaScript, so that a worker can load the same file from the sources and from the built package; its types are in
 * session-host.d.mts.
 *
 * In place (onnxruntime-node on the CPU): a run writes new state into spare buffers, and only when it has succeeded do they
 * take the places of those that hold the state, which are the spare ones of runs to come. So a failed run leaves the state
 * as it was, nothing is allocated per step, and functions that change the state in parts need spare buffers for one part.
 * Otherwise a run returns new tensors, which replace the old ones when it has succeeded.
 *
 * With a residence (WebGPU, CUDA), state lives in buffers of the provider; in place where sessions can allocate them (CUDA).
 * `getData` of such a tensor ends the process (onnxruntime-node 1.30), and so may disposing it after the session is gone
 * that made it: values are copied by sessions, tensors go first, and what a session made that is to be released is copied by
 * one that stays.
 */

/** @import { DType, HostTensor } from '@dimo/core' */
/** @import { HalfWire, HostOperation, HostOperations, SessionPort, HostFailure } from './protocol.js' */
/** @import { RuntimeMetadata, RuntimeSession as InferenceSession, RuntimeTensor as Tensor, SessionHost, SessionHostOptions, SessionRuntime } from './session-host.mjs' */
/**
 * `current` is float32 times 2^-exponent where it is float16; a scratch tensor has none until it is written. Memory that is
 * shared holds another tensor too. `maker` is the session of a function that `current` is a result of.
 * @typedef {{ dtype: DType, shape: readonly number[], current: Tensor | undefined, exponent: number, isScratch: boolean, isShared: boolean, maker?: InferenceSession | undefined }} StateTensor
 */
/** @typedef {Record<string, Tensor>} Tensors */

import { copyingSessions, isResident, sizeOf } from './copying-sessions.mjs';
import { dataOf, freeCopies, freeMemory, sharedBuffers } from './host-memory.mjs';

const arrays = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };

/** @param {readonly RuntimeMetadata[]} metadata @returns {SessionPort[]} */
function describe(metadata) {
  return metadata.map((port) => {
    if (!port.isTensor) throw new Error(`port ${port.name} is no tensor`);
    return { name: port.name, dtype: /** @type {DType} */ (port.type), shape: /** @type {number[]} */ (port.shape) };
  });
}

/**
 * Copies out of memory that onnxruntime may write again.
 * @param {Tensor} source @returns {HostTensor}
 */
function toHost(source) {
  const dtype = /** @type {DType} */ (source.type);
  return { dtype, shape: [...source.dims], data: /** @type {any} */ (source.data).slice() };
}

/**
 * A float16 tensor whose data are the bit patterns. Where the platform has a Float16Array, onnxruntime makes one of them, and
 * the native half of onnxruntime-node 1.30 reads that as nothing.
 * @param {SessionRuntime} ort @param {Uint16Array} bits @param {readonly number[]} shape @returns {Tensor}
 */
function float16Tensor(ort, bits, shape) {
  return Object.defineProperty(new ort.Tensor('float16', bits, shape), 'data', { value: bits });
}

/** Bit patterns of a float16 tensor made here. @param {Tensor} source */
const bitsOf = (source) => /** @type {Uint16Array} */ (source.data);

/** @param {Map<string, StateTensor>} state */
function disposeTree(state) {
  for (const { current } of state.values()) if (current && isResident(current)) current.dispose();
}

/** @param {StateTensor} slot @param {Tensor} value @param {InferenceSession} [maker] */
function replace(slot, value, maker) {
  const old = slot.current;
  slot.current = value;
  slot.maker = maker;
  slot.isShared = false;
  if (old && isResident(old)) old.dispose();
}

/** @param {SessionRuntime} ort @param {SessionHostOptions} [options] @returns {SessionHost} */
export function createSessionHost(ort, { inPlace = false, beforeCommit = () => {} } = {}) {
  /** @type {Map<number, Map<string, StateTensor>>} */
  const trees = new Map();
  /** @type {Map<number, InferenceSession>} */
  const sessions = new Map();
  let copying = copyingSessions(ort, undefined);
  /** A copying session, through which memory of the device is allocated. @type {InferenceSession | undefined} */
  let allocating;

  /** Tensors that hold no state now, by place, type and number of elements. @type {Map<string, Tensor[]>} */
  const spares = new Map();

  /** On the device a tensor has one shape for all its life. @param {StateTensor} slot @param {boolean} resident */
  const spareKey = ({ dtype, shape }, resident) =>
    resident ? `${dtype} ${shape.join()} on the device` : `${dtype} ${sizeOf(shape)}`;

  /** A tensor to write into. @param {StateTensor} slot @returns {Tensor} */
  function takeSpare(slot) {
    const { dtype, shape } = slot;
    const resident = staysOnDevice(slot);
    const spare = spares.get(spareKey(slot, resident))?.pop();
    if (!resident) return tensor(dtype, shape, spare && dataOf(spare));
    return spare ?? /** @type {Required<InferenceSession>} */ (allocating).allocate(dtype, shape);
  }

  /** @param {StateTensor} slot @param {Tensor} value */
  function giveSpare(slot, value) {
    const key = spareKey(slot, isResident(value));
    const known = spares.get(key);
    if (known) known.push(value);
    else spares.set(key, [value]);
  }

  /** Forgets the spare tensors; returns those on the host. */
  function releaseSpares() {
    const all = [...spares.values()].flat();
    spares.clear();
    for (const spare of all) if (isResident(spare)) spare.dispose();
    return all.filter((spare) => !isResident(spare));
  }

  /** @param {DType} dtype @param {readonly number[]} shape @param {HostTensor['data']} [data] @returns {Tensor} */
  function tensor(dtype, shape, data = new arrays[dtype](sizeOf(shape))) {
    return new ort.Tensor(dtype, /** @type {any} */ (data), shape);
  }

  /** @param {HostTensor | HalfWire} wired @param {boolean} isShared @returns {StateTensor} */
  function stateTensor(wired, isShared) {
    const { dtype, shape } = wired;
    const [current, exponent] =
      'bits' in wired ? [float16Tensor(ort, wired.bits, shape), wired.exponent] : [tensor(dtype, shape, wired.data), 0];
    return { dtype, shape, current, exponent, isScratch: false, isShared };
  }

  /** @param {StateTensor} slot */
  const staysOnDevice = ({ dtype, shape }) => copying.modelOf(dtype, shape) !== undefined;

  /**
   * New state stays on the device, if it can be copied from there; outputs come to the host, which is the default. Names
   * that the graph does not have are refused, so a session that is not optimized, and never run, is asked for them.
   * @param {Uint8Array} model
   */
  async function stateLocations(model) {
    const options = /** @type {const} */ ({ executionProviders: ['cpu'], graphOptimizationLevel: 'disabled' });
    const session = await ort.InferenceSession.create(model, { ...options, logSeverityLevel: 4 });
    const ports = describe(session.outputMetadata);
    await session.release();
    const resident = ports.filter(
      ({ name, dtype, shape }) => name.startsWith('n:') && copying.modelOf(dtype, shape) !== undefined,
    );
    return Object.fromEntries(resident.map(({ name }) => [name, /** @type {const} */ ('gpu-buffer')]));
  }

  /** @param {number} id */
  function treeOf(id) {
    const tree = trees.get(id);
    if (!tree) throw new Error(`device tree ${id} is not known to the session host`);
    return tree;
  }

  /** What a tensor holds. @param {Map<string, StateTensor>} state @param {string} name */
  function valueOf(state, name) {
    const { current } = /** @type {StateTensor} */ (state.get(name));
    if (!current) throw new Error(`the scratch tensor "${name}" is read before it is written`);
    return current;
  }

  /** @param {number} id */
  function sessionOf(id) {
    const session = sessions.get(id);
    if (!session) throw new Error(`function ${id} is not known to the session host`);
    return session;
  }

  /**
   * Runs into buffers made before.
   * @param {InferenceSession} session @param {(name: string) => StateTensor} slotOf @param {Tensors} feeds
   * @returns {Promise<Tensors>}
   */
  async function runInPlace(session, slotOf, feeds) {
    /** @type {Tensors} */
    const fetches = {};
    /** @type {{ slot: StateTensor, written: Tensor }[]} */
    const replaced = [];
    for (const { name, dtype, shape } of describe(session.outputMetadata)) {
      if (name.startsWith('n:')) {
        const slot = slotOf(name);
        const isWrittenOver = slot.isScratch && slot.current && !Object.hasOwn(feeds, `s:${name.slice(2)}`);
        const written = isWrittenOver ? /** @type {Tensor} */ (slot.current) : takeSpare(slot);
        fetches[name] = written;
        if (!isWrittenOver) replaced.push({ slot, written });
      } else fetches[name] = tensor(dtype, shape); // written in place, then handed to the other thread without a copy
    }
    try {
      freeCopies(await session.run(feeds, fetches), fetches);
      beforeCommit();
    } catch (error) {
      for (const { slot, written } of replaced) giveSpare(slot, written);
      throw error;
    }
    for (const { slot, written } of replaced) {
      if (slot.current && !slot.isShared) giveSpare(slot, slot.current);
      slot.current = undefined; // not to be disposed
      replace(slot, written);
    }
    return fetches;
  }

  /**
   * Runs into buffers that the provider makes.
   * @param {InferenceSession} session @param {(name: string) => StateTensor} slotOf @param {Tensors} feeds
   * @returns {Promise<Tensors>}
   */
  async function runIntoNew(session, slotOf, feeds) {
    const results = await session.run(feeds);
    const replacing = session.outputNames.filter((name) => name.startsWith('n:'));
    const resultOf = (/** @type {string} */ name) => /** @type {Tensor} */ (results[name]);
    try {
      beforeCommit();
    } catch (error) {
      for (const name of replacing) if (isResident(resultOf(name))) resultOf(name).dispose();
      throw error;
    }
    for (const name of replacing) replace(slotOf(name), resultOf(name), session);
    return results;
  }

  /** @type {SessionHost} */
  const operations = {
    async reside({ residence }) {
      copying = copyingSessions(ort, residence);
      // The only sure answer to "does the provider run here?" is to run something on it.
      const probe = await copying.copyTo(tensor('float32', [1], new Float32Array([1])), 'gpu-buffer');
      const isWorking = isResident(probe) && (await copying.copyTo(probe, 'cpu')).data[0] === 1;
      if (isResident(probe)) probe.dispose();
      if (!isWorking) throw new Error('the provider returns something else than it was given');
      if (inPlace) allocating = await copying.anySession();
      return undefined;
    },

    async upload({ tree, tensors, scratch }) {
      /** @type {Map<string, StateTensor>} */
      const state = new Map();
      trees.set(tree, state);
      for (const [name, { dtype, shape }] of Object.entries(scratch))
        state.set(name, { dtype, shape, current: undefined, exponent: 0, isScratch: true, isShared: false });
      const shared = sharedBuffers(tensors);
      try {
        for (const [name, wired] of Object.entries(tensors)) {
          const slot = stateTensor(wired, shared.has(('bits' in wired ? wired.bits : wired.data).buffer));
          slot.current = await copying.copyTo(/** @type {Tensor} */ (slot.current), 'gpu-buffer');
          if (isResident(slot.current)) slot.isShared = false;
          state.set(name, slot);
        }
      } catch (error) {
        operations.releaseTree({ tree });
        throw error;
      }
      return undefined;
    },

    async assign({ tree, tensors }) {
      const state = treeOf(tree);
      for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
        const slot = /** @type {StateTensor} */ (state.get(name));
        if (copying.isResident) replace(slot, await copying.copyTo(tensor(dtype, shape, data), 'gpu-buffer'));
        else if (slot.isShared || !slot.current) replace(slot, tensor(dtype, shape, data));
        else /** @type {any} */ (slot.current.data).set(data);
      }
      return undefined;
    },

    async download({ tree, names }) {
      const state = treeOf(tree);
      /** @type {[string, HostTensor | HalfWire][]} */
      const entries = [];
      for (const name of names) {
        const { shape, exponent } = /** @type {StateTensor} */ (state.get(name));
        const current = valueOf(state, name);
        if (current.type === 'float16') {
          entries.push([name, { dtype: 'float32', shape, bits: bitsOf(current).slice(), exponent }]);
        } else entries.push([name, toHost(await copying.copyTo(current, 'cpu'))]);
      }
      return Object.fromEntries(entries);
    },

    widen({ tree, names, values }) {
      const state = treeOf(tree);
      for (const name of names) {
        const slot = /** @type {StateTensor} */ (state.get(name));
        const scale = 2 ** -slot.exponent;
        const wide = Float32Array.from(
          bitsOf(valueOf(state, name)),
          (pattern) => /** @type {number} */ (values[pattern]) * scale,
        );
        replace(slot, tensor('float32', slot.shape, wide));
        slot.exponent = 0;
      }
      return undefined;
    },

    releaseTree({ tree }) {
      const state = trees.get(tree) ?? new Map();
      trees.delete(tree);
      disposeTree(state);
      if (!inPlace) return undefined;
      const held = [...state.values()].flatMap(({ current }) => (current && !isResident(current) ? [current] : []));
      freeMemory([...held, ...releaseSpares()].map(dataOf));
      return undefined;
    },

    async compile({ fn, model, sessionOptions }) {
      const placement = copying.isResident && !inPlace ? { preferredOutputLocation: await stateLocations(model) } : {};
      const session = await ort.InferenceSession.create(model, { ...sessionOptions, ...placement });
      sessions.set(fn, session);
      return { inputs: describe(session.inputMetadata), outputs: describe(session.outputMetadata) };
    },

    async run({ fn, tree, inputs, names }) {
      const session = sessionOf(fn);
      const state = treeOf(tree);
      const heldBy = (/** @type {string} */ port) => /** @type {string} */ (names[port.slice(2)]);
      /** @type {Record<string, Tensor>} */
      const feeds = {};
      for (const name of session.inputNames) {
        const key = name.slice(2);
        if (name.startsWith('s:')) {
          feeds[name] = valueOf(state, heldBy(name));
          continue;
        }
        const { dtype, shape, data } = /** @type {HostTensor} */ (inputs[key]);
        feeds[name] = tensor(dtype, shape, data);
      }
      const slotOf = (/** @type {string} */ port) => /** @type {StateTensor} */ (state.get(heldBy(port)));
      const results = await (inPlace ? runInPlace : runIntoNew)(session, slotOf, feeds);
      const outputs = session.outputNames.filter((name) => name.startsWith('o:'));
      // fromEntries, not assignment: a tensor may be called `__proto__`.
      return Object.fromEntries(
        outputs.map((name) => {
          const { type, dims, data } = /** @type {Tensor} */ (results[name]);
          return [name.slice(2), /** @type {HostTensor} */ ({ dtype: type, shape: [...dims], data })];
        }),
      );
    },

    async releaseFunction({ fn }) {
      const session = sessions.get(fn);
      if (!session) return undefined;
      for (const slot of [...trees.values()].flatMap((state) => [...state.values()]))
        if (slot.maker === session && slot.current && isResident(slot.current)) {
          const copy = await copying.copied(slot.current, 'gpu-buffer');
          if (copy !== slot.current) replace(slot, copy);
        }
      sessions.delete(fn);
      await session.release();
      return undefined;
    },

    async close() {
      for (const state of trees.values()) disposeTree(state);
      trees.clear();
      releaseSpares();
      for (const session of [...sessions.values(), ...(await copying.sessions())]) await session.release();
      sessions.clear();
      return undefined;
    },
  };

  return operations;
}

/** @param {HostOperation} op @param {unknown} error @returns {HostFailure} */
export function failureOf(op, error) {
  const message = error instanceof Error ? error.message : String(error);
  if (/alloc|out of memory/i.test(message))
    return { code: 'device', message, hint: 'lower the batch size or use a smaller model' };
  return { code: op === 'compile' ? 'trace' : 'device', message };
}

/** Buffers of host tensors in an answer, which belong to nobody else. @param {unknown} value @returns {ArrayBuffer[]} */
export function transferable(value) {
  if (typeof value !== 'object' || value === null) return [];
  const buffers = Object.values(value).flatMap((entry) => {
    const { data, bits } = /** @type {Partial<HostTensor & HalfWire>} */ (entry ?? {});
    const buffer = (data ?? bits)?.buffer;
    return buffer instanceof ArrayBuffer ? [buffer] : [];
  });
  return [...new Set(buffers)];
}
