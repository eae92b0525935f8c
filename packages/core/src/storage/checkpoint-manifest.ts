/**
 * `state.json`: what a checkpoint consists of and what run it belongs to. It carries a SHA-256 of its own text and of
 * every file, so that one flipped bit anywhere is found.
 */
import { isRecord } from '../options/check-options.js';
import { CheckpointError } from '../errors.js';
import { escapeText } from '../text/escape-text.js';
import { canonicalJson, jsonDifferences, type JsonDifference, type JsonValue } from './json.js';
import { sha256Hex } from './sha256.js';

/** The facts that must be the same for a resumed run to give the same bits. */
export interface CheckpointIdentity {
  /** The resolved configuration of the run: plain data that JSON can hold, checked when it is saved. */
  readonly config: unknown;
  readonly seed: number;
  /** Name of the engine: `onnx`. */
  readonly engine: string;
  /** Type that the training computes in. @default 'float32' */
  readonly dtype?: string;
  /** Number of processes that train together. @default 1 */
  readonly ranks?: number;
  /** Version of this software. */
  readonly version: string;
}

/** Length and content hash of one file of a checkpoint. */
export interface CheckpointFile {
  readonly bytes: number;
  readonly sha256: string;
}

/** Content of `state.json`, apart from its own hash. */
export interface CheckpointManifest {
  readonly format: 'dimo-checkpoint';
  readonly formatVersion: 1;
  /** Steps completed. */
  readonly step: number;
  readonly identity: Required<CheckpointIdentity>;
  /** SHA-256 of the configuration's canonical JSON: a short name for it. */
  readonly configSha256: string;
  /** By file name, `generator.safetensors`. */
  readonly files: Readonly<Record<string, CheckpointFile>>;
  /** Counters and whatever else the training keeps on the host. */
  readonly state: JsonValue;
}

/** Names of a checkpoint's files; no name leads out of its folder. */
const fileName = /^[a-z][a-z0-9-]{0,63}\.safetensors$/;

/** Text of `state.json`. @throws OptionError if `identity` or `state` holds what JSON cannot. */
export async function encodeManifest(
  content: Omit<CheckpointManifest, 'format' | 'formatVersion' | 'configSha256' | 'identity'> & {
    readonly identity: CheckpointIdentity;
  },
): Promise<Uint8Array> {
  const identity = { dtype: 'float32', ranks: 1, ...content.identity };
  const configSha256 = await sha256Hex(encodeText(JSON.stringify(canonicalJson(identity.config, 'config'))));
  const manifest = canonicalJson({ ...content, identity, configSha256, format: 'dimo-checkpoint', formatVersion: 1 });
  return encodeText(await withHash(manifest));
}

/**
 * Reads `state.json`.
 *
 * @throws CheckpointError if a single character differs from what was written, or the format is another.
 */
export async function decodeManifest(bytes: Uint8Array, path: string): Promise<CheckpointManifest> {
  const fail = (message: string, cause?: unknown): CheckpointError =>
    new CheckpointError(`${escapeText(path)}: ${message}`, { path, cause });
  let text: string;
  let parsed: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    parsed = JSON.parse(text);
  } catch (cause) {
    throw fail('is not JSON: the file is damaged', cause);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw fail('is not a manifest');
  const { sha256: _hash, ...manifest } = parsed as Record<string, JsonValue>;
  // Written text is canonical, so it must come back letter by letter, its own hash included.
  if ((await withHash(manifest)) !== text) throw fail('does not match its own hash: the file is damaged');
  if (manifest['format'] !== 'dimo-checkpoint' || manifest['formatVersion'] !== 1)
    throw fail(
      `has format ${escapeText(String(manifest['format']))} ${escapeText(String(manifest['formatVersion']))}, expected dimo-checkpoint 1`,
    );
  if (!isManifest(manifest)) throw fail('lacks a step, an identity or well-formed file entries');
  return manifest;
}

/** A hash proves that nothing changed, not that this software wrote it: names and numbers are checked all the same. */
function isManifest(manifest: Record<string, unknown>): manifest is Record<string, unknown> & CheckpointManifest {
  const { step, identity, files, state } = manifest;
  return (
    Number.isSafeInteger(step) &&
    isRecord(identity) &&
    state !== undefined &&
    isRecord(files) &&
    Object.entries(files).every(
      ([name, file]) =>
        fileName.test(name) &&
        isRecord(file) &&
        Number.isSafeInteger(file['bytes']) &&
        typeof file['sha256'] === 'string',
    )
  );
}

/** Pretty JSON with a last key `sha256`, the hash of the text without it. */
async function withHash(manifest: JsonValue): Promise<string> {
  const sha256 = await sha256Hex(encodeText(JSON.stringify(manifest)));
  return `${JSON.stringify({ ...(manifest as Record<string, JsonValue>), sha256 }, null, 2)}\n`;
}

/** Differences of two identities that no override allows: `config.optimizer` allows everything below it. */
export function identityDifferences(
  saved: CheckpointIdentity,
  current: CheckpointIdentity,
  override: readonly string[],
): JsonDifference[] {
  return jsonDifferences(complete(saved), complete(current)).filter(
    ({ path }) => !override.some((key) => path === key || path.startsWith(`${key}.`)),
  );
}

/** With what an identity leaves out. */
function complete(identity: CheckpointIdentity): JsonValue {
  return canonicalJson({ dtype: 'float32', ranks: 1, ...identity });
}

/** The first override that names nothing in either identity. */
export function unknownOverride(
  saved: CheckpointIdentity,
  current: CheckpointIdentity,
  override: readonly string[],
): string | undefined {
  // Against nothing, every leaf is a difference.
  const paths = [saved, current].flatMap((identity) => leaves(complete(identity)));
  return override.find((key) => !paths.some((path) => path === key || path.startsWith(`${key}.`)));
}

function leaves(value: JsonValue | undefined, path = ''): string[] {
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return [path];
  return Object.entries(value).flatMap(([key, each]) => leaves(each, path === '' ? key : `${path}.${key}`));
}

/** Refuses to resume, with up to 10 differences. */
export function identityError(differences: readonly JsonDifference[], location: string): CheckpointError {
  const show = (value: JsonValue | undefined): string =>
    value === undefined ? 'absent' : escapeText(JSON.stringify(value), 100);
  const lines = differences
    .slice(0, 10)
    .map(({ path, saved, current }) => `\n  ${escapeText(path, 120)}: saved ${show(saved)}, now ${show(current)}`);
  const rest = differences.length > 10 ? `\n  and ${differences.length - 10} more` : '';
  const keys = [...new Set(differences.map(({ path }) => path))].slice(0, 3).map((path) => escapeText(path, 120));
  return new CheckpointError(
    `${escapeText(location)}: this checkpoint cannot be continued bit for bit, the run differs in:${lines.join('')}${rest}`,
    { path: location, hint: `use the saved settings, or allow single keys: --resume-override ${keys.join(',')}` },
  );
}

function encodeText(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
