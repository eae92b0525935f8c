/**
 * Checkpoints that are either absent or complete. Writing: files into `tmp-<step>-<pid>/`, each flushed; `state.json`
 * last; the folder flushed, renamed to `step-<n>`, its parent flushed; then the `latest` pointer; only then are old
 * checkpoints deleted. Reading: the newest folder whose every byte verifies, with a warning for each one skipped.
 * `newest good checkpoint exists` holds between any two operations. Tensors are written and read one at a time.
 */
import { CheckpointError, DimoError, OptionError } from '../errors.js';
import { keptCheckpoints } from '../options/training-fields.js';
import { readTensors, type TensorSource } from '../tensors/tensor-source.js';
import type { HostTree } from '../tensors/tensors.js';
import type { ByteStream, Sha256Stream } from './byte-stream.js';
import {
  decodeManifest,
  encodeManifest,
  identityDifferences,
  unknownOverride,
  identityError,
  type CheckpointFile,
  type CheckpointIdentity,
} from './checkpoint-manifest.js';
import type { CheckpointStore } from './checkpoint-store.js';
import { escapeText } from '../text/escape-text.js';
import type { JsonValue } from './json.js';
import { safetensorsIn, type OpenSafetensors } from './safetensors-file.js';
import { streamSafetensors } from './safetensors-write.js';
import type { WeightFile } from './weight-source.js';

/** What a checkpoint holds. */
export interface Checkpoint {
  /** Steps completed. */
  readonly step: number;
  /**
   * Tensors by group: `generator`, `ema`, `auxiliary`, `optimizer`; each becomes a safetensors file. Those of a source are
   * read one at a time.
   */
  readonly groups: Readonly<Record<string, HostTree | TensorSource>>;
  /** Counters and whatever else the training keeps on the host. */
  readonly state: JsonValue;
  readonly identity: CheckpointIdentity;
}

/** Which checkpoints stay. */
export interface CheckpointRetention {
  /** Number of newest checkpoints kept. @default that of `checkpoint.keep` in a configuration */
  readonly keep?: number;
  /** Steps whose checkpoints are never deleted. @default none */
  readonly milestones?: readonly number[];
}

/** Options of `loadLatestCheckpoint`. */
export interface CheckpointLoadOptions {
  /** The run that wants to continue; without it any checkpoint is accepted, for inspection. */
  readonly identity?: CheckpointIdentity;
  /** Keys of the identity that may differ: `engine`, `config.optimizer`. */
  readonly override?: readonly string[];
  /** Receives one line for each checkpoint that was skipped, and why. */
  readonly onWarning?: (message: string) => void;
}

/** A checkpoint that was read and verified. */
export interface LoadedCheckpoint extends Checkpoint {
  /** `step-1200`. */
  readonly name: string;
  readonly groups: Readonly<Record<string, HostTree>>;
}

/** A checkpoint that was verified, and whose tensors are read when they are needed. */
export interface OpenCheckpoint extends Checkpoint {
  /** `step-1200`. */
  readonly name: string;
  /** Valid until `close`. */
  readonly groups: Readonly<Record<string, TensorSource>>;
  /** @throws DimoError with code `io` if a file has changed since it was verified. */
  close(): Promise<void>;
}

/** `state.json` beyond this many bytes is refused. */
const maximumManifestBytes = 64 * 2 ** 20;
const stepFolder = /^step-(0|[1-9][0-9]{0,15})(-replaced-[0-9]{1,6})?$/;
const temporaryEntry = /^tmp-.+-([0-9]+)$/;

/**
 * Saves a checkpoint.
 *
 * @returns its name, `step-<n>`. When this returns it is on the disk, and `latest` names it.
 * @throws DimoError with code `io`; older checkpoints are then as they were, and the partial one is removed.
 * @throws NonFiniteError if a tensor holds NaN or infinity.
 */
export async function saveCheckpoint(
  store: CheckpointStore,
  checkpoint: Checkpoint,
  retention: CheckpointRetention = {},
): Promise<string> {
  const { step, groups } = checkpoint;
  if (!Number.isSafeInteger(step) || step < 0)
    throw new CheckpointError(`saveCheckpoint: step must be an integer from 0, got ${step}`);
  const name = `step-${step}`;
  const temporary = `tmp-${step}-${store.processId}`;
  try {
    await store.remove(temporary);
    await store.makeFolder(temporary);
    const files: Record<string, CheckpointFile> = {};
    for (const [group, tree] of Object.entries(groups)) {
      if (!/^[a-z][a-z0-9-]{0,63}$/.test(group))
        throw new CheckpointError(`saveCheckpoint: "${escapeText(group)}" cannot be the name of a group`);
      const content = streamSafetensors(tree, { metadata: { format: 'pt' } });
      const hash = store.sha256();
      await store.writeFile(`${temporary}/${group}.safetensors`, hashed(content, hash));
      files[`${group}.safetensors`] = { bytes: content.length, sha256: hash.digest() };
    }
    const { state, identity } = checkpoint;
    await store.writeFile(`${temporary}/state.json`, await encodeManifest({ step, identity, files, state }));
    await store.syncFolder(temporary);
    // A checkpoint of the same step stays readable, under a name that is still found, until the new one is there.
    const names = await store.list('');
    if (names.includes(name)) {
      let copy = 0;
      while (names.includes(`${name}-replaced-${copy}`)) copy++;
      await store.rename(name, `${name}-replaced-${copy}`);
    }
    await store.rename(temporary, name);
    await store.syncFolder('');
  } catch (error) {
    await store.remove(temporary).catch(() => undefined);
    throw error;
  }
  await pointTo(store, name);
  await removeOld(store, step, retention);
  return name;
}

/** The content; its parts go through the hash on their way. */
function hashed(content: ByteStream, hash: Sha256Stream): ByteStream {
  return {
    length: content.length,
    async *parts() {
      for await (const part of content.parts()) {
        hash.update(part);
        yield part;
      }
    },
  };
}

/** Writes the `latest` pointer, for people and other tools; reading does not rely on it. */
async function pointTo(store: CheckpointStore, name: string): Promise<void> {
  const temporary = `tmp-latest-${store.processId}`;
  await store.writeFile(temporary, new TextEncoder().encode(`${name}\n`));
  await store.rename(temporary, 'latest');
  await store.syncFolder('');
}

/** Deletes checkpoints up to `step` beyond those to keep; later ones belong to a run that was left and are replaced in time. */
async function removeOld(store: CheckpointStore, step: number, retention: CheckpointRetention): Promise<void> {
  const { keep = keptCheckpoints.parse(undefined), milestones = [] } = retention;
  const known = (await listFolders(store)).filter((folder) => folder.step <= step);
  const kept = known.filter((folder) => !folder.isReplaced).slice(0, Math.max(1, keep));
  const old = known.filter(
    (folder) => !kept.includes(folder) && (folder.isReplaced || !milestones.includes(folder.step)),
  );
  const doomed = old.map(({ name }) => ({ name, temporary: `tmp-${name}-${store.processId}` }));
  for (const { name, temporary } of doomed) {
    // Renamed first, so that a half-deleted checkpoint is never mistaken for one.
    await store.remove(temporary);
    await store.rename(name, temporary);
  }
  for (const { temporary } of doomed) await store.remove(temporary);
}

interface StepFolder {
  readonly name: string;
  readonly step: number;
  readonly isReplaced: boolean;
}

/** Checkpoint folders, newest first; of one step the one that was not replaced first. */
async function listFolders(store: CheckpointStore): Promise<StepFolder[]> {
  const names = await store.list('');
  return names
    .flatMap((name) => {
      const match = stepFolder.exec(name);
      return match === null ? [] : [{ name, step: Number(match[1]), isReplaced: match[2] !== undefined }];
    })
    .sort((a, b) => b.step - a.step || Number(a.isReplaced) - Number(b.isReplaced) || (a.name < b.name ? -1 : 1));
}

/** Names of the checkpoints in a folder, newest first, not verified. */
export async function listCheckpoints(store: CheckpointStore): Promise<readonly string[]> {
  return (await listFolders(store)).map(({ name }) => name);
}

/**
 * Removes what killed processes left behind (`tmp-*` of dead processes, and of this process's number from before a
 * restart). Call it once at the start of a run, when the run's folder is locked.
 *
 * @returns the names that were removed.
 */
export async function cleanCheckpoints(store: CheckpointStore): Promise<readonly string[]> {
  const removed: string[] = [];
  for (const name of await store.list('')) {
    const match = temporaryEntry.exec(name);
    if (match === null) continue;
    const owner = Number(match[1]);
    if (owner !== store.processId && store.isProcessAlive(owner)) continue;
    await store.remove(name);
    removed.push(name);
  }
  return removed;
}

/**
 * Loads the newest checkpoint that verifies.
 *
 * @returns undefined if there is no checkpoint at all.
 * @throws CheckpointError if there are checkpoints but none verifies, or if the newest good one belongs to a run of
 *   another identity: then with the list of differences.
 */
export async function loadLatestCheckpoint(
  store: CheckpointStore,
  options: CheckpointLoadOptions = {},
): Promise<LoadedCheckpoint | undefined> {
  const loaded = await newest(store, options, async (name) => loadedFrom(await openVerified(store, name)));
  if (loaded) refuseOtherIdentity(loaded, store, options);
  return loaded;
}

/**
 * As `loadLatestCheckpoint`, for states that should not be in memory twice: every byte is compared with the manifest, and
 * no tensor is kept.
 *
 * @returns a checkpoint that has to be closed.
 */
export async function openLatestCheckpoint(
  store: CheckpointStore,
  options: CheckpointLoadOptions = {},
): Promise<OpenCheckpoint | undefined> {
  const opened = await newest(store, options, (name) => openVerified(store, name));
  try {
    if (opened) refuseOtherIdentity(opened, store, options);
    return opened;
  } catch (error) {
    await opened?.close();
    throw error;
  }
}

/**
 * Loads one checkpoint by name.
 *
 * @throws CheckpointError if it does not verify or belongs to a run of another identity.
 */
export async function loadCheckpoint(
  store: CheckpointStore,
  name: string,
  options: CheckpointLoadOptions = {},
): Promise<LoadedCheckpoint> {
  const loaded = await loadedFrom(await openVerified(store, name));
  refuseOtherIdentity(loaded, store, options);
  return loaded;
}

/** What `read` makes of the newest checkpoint that it does not refuse. */
async function newest<T>(
  store: CheckpointStore,
  { onWarning }: CheckpointLoadOptions,
  read: (name: string) => Promise<T>,
): Promise<T | undefined> {
  const names = await listCheckpoints(store);
  const reasons: string[] = [];
  for (const name of names) {
    try {
      return await read(name);
    } catch (error) {
      if (!DimoError.isInstance(error)) throw error;
      reasons.push(`checkpoint ${name} was skipped: ${error.message}`);
      onWarning?.(reasons.at(-1) as string);
    }
  }
  if (names.length === 0) return undefined;
  throw new CheckpointError(
    `${escapeText(store.location)}: none of the ${names.length} checkpoints can be read; ${reasons[0] ?? ''}`,
    { path: store.location, hint: 'restore a checkpoint from a copy, or start the run again in another folder' },
  );
}

function refuseOtherIdentity(
  loaded: Pick<OpenCheckpoint, 'name' | 'identity'>,
  store: CheckpointStore,
  options: CheckpointLoadOptions,
): void {
  if (options.identity === undefined) return;
  const { identity, override = [] } = options;
  const differences = identityDifferences(loaded.identity, identity, override);
  if (differences.length > 0) throw identityError(differences, `${store.location}/${loaded.name}`);
  const unknown = unknownOverride(loaded.identity, identity, override);
  if (unknown !== undefined)
    throw new OptionError(`override: neither the checkpoint nor the run has a setting "${escapeText(unknown, 120)}"`, {
      hint: 'leave it out: nothing else keeps this checkpoint from being continued',
    });
}

/** Everything of an open checkpoint, which is closed then. */
async function loadedFrom(opened: OpenCheckpoint): Promise<LoadedCheckpoint> {
  const { close, ...checkpoint } = opened;
  try {
    const groups: Record<string, HostTree> = {};
    for (const [group, tensors] of Object.entries(opened.groups)) groups[group] = await readTensors(tensors);
    return { ...checkpoint, groups };
  } finally {
    await close();
  }
}

/** Opens a checkpoint; every byte of it was compared with the manifest when this returns. */
async function openVerified(store: CheckpointStore, name: string): Promise<OpenCheckpoint> {
  const match = stepFolder.exec(name);
  if (match === null) throw new CheckpointError(`"${escapeText(name)}" is not the name of a checkpoint`);
  const path = `${store.location}/${name}`;
  const fail = (message: string): CheckpointError => new CheckpointError(`${escapeText(path)}: ${message}`, { path });
  const manifest = await decodeManifest(
    await store.readFile(`${name}/state.json`, maximumManifestBytes),
    `${path}/state.json`,
  );
  if (manifest.step !== Number(match[1])) throw fail(`holds step ${manifest.step}, not that of its name`);
  const opened: WeightFile[] = [];
  const close = async (): Promise<void> => {
    const closed = await Promise.allSettled(opened.splice(0).map((file) => file.close()));
    for (const result of closed) if (result.status === 'rejected') throw result.reason;
  };
  try {
    const groups: Record<string, OpenSafetensors> = {};
    for (const [file, expected] of Object.entries(manifest.files)) {
      const content = await store.openFile(`${name}/${file}`);
      opened.push(content);
      if (content.length !== expected.bytes)
        throw fail(`${file} has ${content.length} bytes, expected ${expected.bytes}`);
      const sha256 = await sha256Of(content, store.sha256());
      if (sha256 !== expected.sha256) throw fail(`${file} is damaged: its SHA-256 is not that of the manifest`);
      groups[file.replace(/\.safetensors$/, '')] = await safetensorsIn(content, { file, path: `${path}/${file}` });
    }
    const { step, state, identity } = manifest;
    return { name, step, state, identity, groups, close };
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
}

/** Bytes that are read at once to be compared. */
const partBytes = 2 ** 22;

async function sha256Of(file: WeightFile, hash: Sha256Stream): Promise<string> {
  for (let begin = 0; begin < file.length; begin += partBytes)
    hash.update(await file.read(begin, Math.min(file.length, begin + partBytes)));
  return hash.digest();
}
