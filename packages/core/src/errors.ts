/**
 * The one error family. A message says where, what was expected, what came, and what to do; `code` is stable and may be
 * tested for; `hint` is the way on, when it needs its own sentence.
 */

/** Marks errors of this family across copies of the package. */
const mark = Symbol.for('dimo.error');

/** Stable codes. */
export type DimoErrorCode =
  | 'option' // a wrong setting or argument
  | 'shape' // a tensor of another shape or dtype than required
  | 'weights' // a weight file or tree that does not fit, or is damaged
  | 'checkpoint' // a damaged or foreign checkpoint
  | 'backend-unavailable' // an engine that this machine cannot run
  | 'device' // the device failed while running: lost, out of memory
  | 'non-finite' // NaN or infinity where numbers were expected
  | 'io' // a file system operation failed
  | 'network' // a transfer failed: no connection, or the other side sent something else than it promised
  | 'locked' // another process owns the folder
  | 'plugin' // a plugin that cannot be loaded or breaks the contract
  | 'trace' // a function that cannot be traced
  | 'cancelled' // stopped on request
  | 'internal'; // a defect of this software

/** Options of every `DimoError`. */
export interface DimoErrorOptions {
  /** The file or folder at fault. */
  path?: string | undefined;
  /** What to do about it, one sentence. */
  hint?: string | undefined;
  /** The error underneath. */
  cause?: unknown;
}

/** Base class of every error that this project throws on purpose. */
export class DimoError extends Error {
  readonly code: DimoErrorCode;
  readonly path: string | undefined;
  readonly hint: string | undefined;
  readonly [mark] = true;

  constructor(code: DimoErrorCode, message: string, options: DimoErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.path = options.path;
    this.hint = options.hint;
  }

  /** True for errors of this family, also from another copy of the package. */
  static isInstance(error: unknown): error is DimoError {
    return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[mark] === true;
  }
}

/** A wrong setting or argument. */
export class OptionError extends DimoError {
  constructor(message: string, options?: DimoErrorOptions) {
    super('option', message, options);
  }
}

/** A tensor of another shape or dtype than required. */
export class ShapeError extends DimoError {
  constructor(message: string, options?: DimoErrorOptions) {
    super('shape', message, options);
  }
}

/** A weight file or weight tree that is damaged or does not fit the model. */
export class WeightError extends DimoError {
  constructor(message: string, options?: DimoErrorOptions) {
    super('weights', message, options);
  }
}

/** A checkpoint that is damaged, incomplete or belongs to another run. */
export class CheckpointError extends DimoError {
  constructor(message: string, options?: DimoErrorOptions) {
    super('checkpoint', message, options);
  }
}

/** An engine that this machine cannot run; the hint says what would make it available. */
export class BackendUnavailableError extends DimoError {
  constructor(message: string, options?: DimoErrorOptions) {
    super('backend-unavailable', message, options);
  }
}

/** NaN or infinity where finite numbers were expected. */
export class NonFiniteError extends DimoError {
  constructor(message: string, options?: DimoErrorOptions) {
    super('non-finite', message, options);
  }
}

/** A plugin that cannot be loaded or breaks the contract. */
export class PluginError extends DimoError {
  constructor(message: string, options?: DimoErrorOptions) {
    super('plugin', message, options);
  }
}

/** Throws a `DimoError` with code `internal` when a condition that must hold does not. */
export function assert(condition: unknown, message: () => string): asserts condition {
  if (!condition) throw new DimoError('internal', `${message()}; this is a defect, please report it`);
}
