// @ts-check
/**
 * The worker thread of the `onnx` engine. `session.run` is a synchronous native call; here it blocks nobody. Requests
 * are served one after another.
 *
 * Each state tensor has two buffers: a run reads one and writes the other, and only when it has succeeded do they change
 * places. So a failed run leaves the state as it was, and nothing is allocated per step.
 *
 * With a residence (WebGPU), state lives in buffers of the provider instead: a run returns new ones, which replace the
 * old ones when it has succeeded. `getData` of such a tensor ends the process (onnxruntime-node 1.30), and so does
 * disposing it after the sessions are gone: values are copied by sessions, and tensors go first.
 */
import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';

/** @import { InferenceSession, Tensor } from 'onnxruntime-node' */
/** @import { DType, HostTensor } from '@dimo/core' */
/** @import { HalfWire, Residence, SessionPort, WorkerFailure, WorkerOperation, WorkerOperations, WorkerRequest } from './onnx-protocol.js' */
/** `current` is float32 times 2^-exponent where it is float16. @typedef {{ shape: readonly number[], current: Tensor, spare: Tensor | undefined, exponent: number }} StateTensor */

const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort);
/** `gate` of onnx-protocol.ts. */
const gate = /** @type {Int32Array} */ (workerData.gate);
const [busy, stopping] = [0, 1];
/** @type {typeof import('onnxruntime-node')} */
let ort;
/** @type {Map<number, Map<string, StateTensor>>} */
const trees = new Map();
/** @type {Map<number, InferenceSession>} */
const sessions = new Map();
/** @type {Residence | undefined} */
let residence;
/** Copying sessions by direction, type and rank. @type {Map<string, InferenceSession>} */
const copiers = new Map();

const arrays = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };

/** @param {readonly number[]} shape */
const sizeOf = (shape) => shape.reduce((product, length) => product * length, 1);

/** @param {DType} dtype @param {readonly number[]} shape @param {HostTensor['data']} [data] @returns {Tensor} */
function tensor(dtype, shape, data = new arrays[dtype](sizeOf(shape))) {
  return new ort.Tensor(dtype, /** @type {any} */ (data), shape);
}

/**
 * Copies out of memory that onnxruntime may write again.
 * @param {Tensor} source @returns {HostTensor}
 */
function toHost(source) {
  const dtype = /** @type {DType} */ (source.type);
  return { dtype, shape: [...source.dims], data: /** @type {any} */ (source.data).slice() };
}

/** @param {HostTensor | HalfWire} wired @returns {StateTensor} */
function stateTensor(wired) {
  const { shape } = wired;
  if ('bits' in wired)
    return { shape, current: new ort.Tensor('float16', wired.bits, shape), spare: undefined, exponent: wired.exponent };
  return { shape, current: tensor(wired.dtype, shape, wired.data), spare: undefined, exponent: 0 };
}

/** @param {readonly InferenceSession.ValueMetadata[]} metadata @returns {SessionPort[]} */
function describe(metadata) {
  return metadata.map((port) => {
    if (!port.isTensor) throw new Error(`port ${port.name} is no tensor`);
    return { name: port.name, dtype: /** @type {DType} */ (port.type), shape: /** @type {number[]} */ (port.shape) };
  });
}

/** @param {Tensor} tensor */
const isResident = (tensor) => tensor.location === 'gpu-buffer';

/**
 * A tensor's values in a new tensor at another place; the same tensor where nothing is resident.
 * @param {Tensor} source @param {'gpu-buffer' | 'cpu'} location @returns {Promise<Tensor>}
 */
async function copyTo(source, location) {
  if (isResident(source) === (location === 'gpu-buffer')) return source;
  const [dtype, rank] = [source.type, source.dims.length];
  const copy = residence?.copies.find((model) => model.dtype === dtype && model.rank === rank);
  // Without elements there is nothing to keep on the device; the types and ranks left out do not occur as weights.
  if (!copy || sizeOf(source.dims) === 0) return source;
  const key = `${location} ${dtype} ${rank}`;
  let session = copiers.get(key);
  if (!session) {
    const options = { ...residence?.sessionOptions, preferredOutputLocation: { 'o:x': location } };
    copiers.set(key, (session = await ort.InferenceSession.create(copy.model, options)));
  }
  return /** @type {Tensor} */ ((await session.run({ 's:x': source }))['o:x']);
}

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
    ({ name, dtype, shape }) =>
      name.startsWith('n:') && residence?.copies.some((copy) => copy.dtype === dtype && copy.rank === shape.length),
  );
  return Object.fromEntries(resident.map(({ name }) => [name, /** @type {const} */ ('gpu-buffer')]));
}

/** @param {StateTensor} slot @param {Tensor} value */
function replace(slot, value) {
  const old = slot.current;
  slot.current = value;
  if (isResident(old)) old.dispose();
}

/** @param {Map<string, StateTensor>} state */
function disposeTree(state) {
  for (const { current } of state.values()) if (isResident(current)) current.dispose();
}

/** @param {number} id */
function treeOf(id) {
  const tree = trees.get(id);
  if (!tree) throw new Error(`device tree ${id} is not known to the worker`);
  return tree;
}

/** @param {number} id */
function sessionOf(id) {
  const session = sessions.get(id);
  if (!session) throw new Error(`function ${id} is not known to the worker`);
  return session;
}

/** @typedef {Record<string, Tensor>} Tensors */

/**
 * Runs into buffers made before.
 * @param {InferenceSession} session @param {Map<string, StateTensor>} state @param {Tensors} feeds
 * @returns {Promise<Tensors>}
 */
async function runInPlace(session, state, feeds) {
  /** @type {Tensors} */
  const fetches = {};
  /** @type {StateTensor[]} */
  const replaced = [];
  for (const { name, dtype, shape } of describe(session.outputMetadata)) {
    if (name.startsWith('n:')) {
      const slot = /** @type {StateTensor} */ (state.get(name.slice(2)));
      slot.spare ??= tensor(dtype, slot.shape);
      fetches[name] = slot.spare;
      replaced.push(slot);
    } else fetches[name] = tensor(dtype, shape); // written in place, then handed to the other thread without a copy
  }
  await session.run(feeds, fetches);
  for (const slot of replaced) [slot.current, slot.spare] = [/** @type {Tensor} */ (slot.spare), slot.current];
  return fetches;
}

/**
 * Runs into buffers that the provider makes.
 * @param {InferenceSession} session @param {Map<string, StateTensor>} state @param {Tensors} feeds
 * @returns {Promise<Tensors>}
 */
async function runResident(session, state, feeds) {
  const results = await session.run(feeds);
  for (const name of session.outputNames) {
    if (!name.startsWith('n:')) continue;
    replace(/** @type {StateTensor} */ (state.get(name.slice(2))), /** @type {Tensor} */ (results[name]));
  }
  return /** @type {Tensors} */ (results);
}

/** @type {{ [Op in WorkerOperation]: (body: WorkerOperations[Op]['request']) => Promise<WorkerOperations[Op]['response']> | WorkerOperations[Op]['response'] }} */
const operations = {
  load() {
    // require: a missing package and a broken native library both fail here, with their own message.
    ort = createRequire(import.meta.url)('onnxruntime-node');
    ort.env.logLevel = 'error';
    return {
      versions: { 'onnxruntime-node': ort.env.versions.node ?? ort.env.versions.common },
      backends: ort.listSupportedBackends().flatMap(({ name, bundled }) => (bundled ? [name] : [])),
    };
  },

  async reside({ residence: given }) {
    residence = given;
    // The only sure answer to "does the provider run here?" is to run something on it.
    const probe = await copyTo(tensor('float32', [1], new Float32Array([1])), 'gpu-buffer');
    const isWorking = isResident(probe) && (await copyTo(probe, 'cpu')).data[0] === 1;
    if (isResident(probe)) probe.dispose();
    if (!isWorking) throw new Error('the provider returns something else than it was given');
    return undefined;
  },

  async upload({ tree, tensors }) {
    const state = new Map();
    for (const [name, wired] of Object.entries(tensors)) {
      const slot = stateTensor(wired);
      slot.current = await copyTo(slot.current, 'gpu-buffer');
      state.set(name, slot);
    }
    trees.set(tree, state);
    return undefined;
  },

  async assign({ tree, tensors }) {
    const state = treeOf(tree);
    for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
      const slot = /** @type {StateTensor} */ (state.get(name));
      if (residence) replace(slot, await copyTo(tensor(dtype, shape, data), 'gpu-buffer'));
      else /** @type {any} */ (slot.current.data).set(data);
    }
    return undefined;
  },

  async download({ tree, names }) {
    const state = treeOf(tree);
    /** @type {[string, HostTensor | HalfWire][]} */
    const entries = [];
    for (const name of names) {
      const { shape, current, exponent } = /** @type {StateTensor} */ (state.get(name));
      if (current.type === 'float16') {
        const bits = /** @type {Uint16Array} */ (/** @type {unknown} */ (current.data)).slice();
        entries.push([name, { dtype: 'float32', shape, bits, exponent }]);
      } else entries.push([name, toHost(await copyTo(current, 'cpu'))]);
    }
    return Object.fromEntries(entries);
  },

  widen({ tree, names, values }) {
    const state = treeOf(tree);
    for (const name of names) {
      const slot = /** @type {StateTensor} */ (state.get(name));
      const bits = /** @type {Uint16Array} */ (/** @type {unknown} */ (slot.current.data));
      const scale = 2 ** -slot.exponent;
      slot.current = tensor(
        'float32',
        slot.shape,
        Float32Array.from(bits, (pattern) => /** @type {number} */ (values[pattern]) * scale),
      );
      slot.exponent = 0;
    }
    return undefined;
  },

  releaseTree({ tree }) {
    disposeTree(trees.get(tree) ?? new Map());
    trees.delete(tree);
    return undefined;
  },

  async compile({ fn, model, sessionOptions }) {
    const placement = residence ? { preferredOutputLocation: await stateLocations(model) } : {};
    const session = await ort.InferenceSession.create(model, { ...sessionOptions, ...placement });
    sessions.set(fn, session);
    return { inputs: describe(session.inputMetadata), outputs: describe(session.outputMetadata) };
  },

  async run({ fn, tree, inputs }) {
    const session = sessionOf(fn);
    const state = treeOf(tree);
    /** @type {Record<string, Tensor>} */
    const feeds = {};
    for (const name of session.inputNames) {
      const key = name.slice(2);
      if (name.startsWith('s:')) {
        feeds[name] = /** @type {StateTensor} */ (state.get(key)).current;
        continue;
      }
      const { dtype, shape, data } = /** @type {HostTensor} */ (inputs[key]);
      feeds[name] = tensor(dtype, shape, data);
    }
    const results = residence ? await runResident(session, state, feeds) : await runInPlace(session, state, feeds);
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
    await sessions.get(fn)?.release();
    sessions.delete(fn);
    return undefined;
  },

  async close() {
    for (const state of trees.values()) disposeTree(state);
    trees.clear();
    for (const session of [...sessions.values(), ...copiers.values()]) await session.release();
    sessions.clear();
    copiers.clear();
    return undefined;
  },
};

/** @param {WorkerOperation} op @param {unknown} error @returns {WorkerFailure} */
function failureOf(op, error) {
  const message = error instanceof Error ? error.message : String(error);
  if (op === 'load') return { code: 'backend-unavailable', message };
  if (/alloc|out of memory/i.test(message))
    return { code: 'device', message, hint: 'lower the batch size or use a smaller model' };
  return { code: op === 'compile' ? 'trace' : 'device', message };
}

/** Buffers of host tensors in an answer, which belong to nobody else. @param {unknown} value @returns {ArrayBuffer[]} */
function transferable(value) {
  if (typeof value !== 'object' || value === null) return [];
  const buffers = Object.values(value).flatMap((entry) => {
    const { data, bits } = /** @type {Partial<HostTensor & HalfWire>} */ (entry ?? {});
    const buffer = (data ?? bits)?.buffer;
    return buffer instanceof ArrayBuffer ? [buffer] : [];
  });
  return [...new Set(buffers)];
}

/** @param {WorkerRequest} request */
async function serve({ id, op, body }) {
  Atomics.store(gate, busy, 1);
  try {
    if (Atomics.load(gate, stopping)) return; // the process is ending: begin nothing native
    const value = await operations[op](/** @type {any} */ (body));
    port.postMessage({ id, value }, transferable(value));
  } catch (error) {
    port.postMessage({ id, failure: failureOf(op, error) });
  } finally {
    Atomics.store(gate, busy, 0);
    Atomics.notify(gate, busy);
  }
  if (op === 'close') port.close();
}

let queue = Promise.resolve();
port.on('message', (/** @type {WorkerRequest} */ request) => {
  queue = queue.then(() => serve(request));
});
