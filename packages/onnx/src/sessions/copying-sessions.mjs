// @ts-check
/** Tensors between the host and a provider's device: sessions copy them, since nothing else can reach that memory. */

/** @import { CopyModel, Residence } from './protocol.js' */
/** @import { RuntimeSession as InferenceSession, RuntimeTensor as Tensor, SessionRuntime } from './session-host.mjs' */

/** @param {readonly number[]} shape */
export const sizeOf = (shape) => shape.reduce((product, length) => product * length, 1);

/** @param {Tensor} tensor */
export const isResident = (tensor) => tensor.location === 'gpu-buffer';

/**
 * Copying sessions, each made when it is needed.
 * @param {SessionRuntime} ort @param {Residence | undefined} residence
 */
export function copyingSessions(ort, residence) {
  /** By direction, type and rank. @type {Map<string, Promise<InferenceSession>>} */
  const made = new Map();

  /** @param {CopyModel} copy @param {'gpu-buffer' | 'cpu'} location */
  function sessionFor({ dtype, rank, model }, location) {
    const key = `${location} ${dtype} ${rank}`;
    const known = made.get(key);
    if (known) return known;
    const options = { ...residence?.sessionOptions, preferredOutputLocation: { 'o:x': location } };
    const session = ort.InferenceSession.create(model, options);
    made.set(key, session);
    session.catch(() => made.delete(key));
    return session;
  }

  const copying = {
    isResident: residence !== undefined,

    /**
     * The graph that copies such tensors. Without elements there is nothing to keep on the device; the types and ranks left
     * out do not occur as weights.
     * @param {string} dtype @param {readonly number[]} shape
     */
    modelOf(dtype, shape) {
      if (sizeOf(shape) === 0) return undefined;
      return residence?.copies.find((model) => model.dtype === dtype && model.rank === shape.length);
    },

    /** A copy, or the same tensor where none can be made. @param {Tensor} source @param {'gpu-buffer' | 'cpu'} location */
    async copied(source, location) {
      const copy = copying.modelOf(source.type, source.dims);
      if (!copy) return source;
      const session = await sessionFor(copy, location);
      return /** @type {Tensor} */ ((await session.run({ 's:x': source }))['o:x']);
    },

    /**
     * A tensor's values in a new tensor at another place; the same tensor where nothing is resident.
     * @param {Tensor} source @param {'gpu-buffer' | 'cpu'} location @returns {Promise<Tensor>}
     */
    async copyTo(source, location) {
      return isResident(source) === (location === 'gpu-buffer') ? source : copying.copied(source, location);
    },

    /** One of the sessions there are. */
    anySession: () => [...made.values()][0],

    /** All of them. */
    sessions: () => Promise.all(made.values()),
  };
  return copying;
}
