/** `manifest.json` of a model folder on a web server: which files there are, how long, and their SHA-256. */
import { escapeText, OptionError, requireObject, sha256Hex } from '@dimo/core';

/** Name of the file. */
export const manifestFileName = 'manifest.json';

/** What is known of a file before it is fetched. */
export interface ManifestEntry {
  /** Length in bytes. */
  readonly bytes: number;
  /** SHA-256, 64 lowercase hexadecimal digits. */
  readonly sha256: string;
}

/** Files of a folder by name, with `/` in the names of those in subfolders. */
export interface ModelManifest {
  readonly version: 1;
  readonly files: Readonly<Record<string, ManifestEntry>>;
}

/** A manifest larger than this is refused. */
const maximumManifestBytes = 2 ** 20;

/** The manifest of files that are at hand, for the server that will offer them: `JSON.stringify` it. */
export async function modelManifest(files: Readonly<Record<string, Uint8Array>>): Promise<ModelManifest> {
  const entries: [string, ManifestEntry][] = [];
  for (const [name, bytes] of Object.entries(files))
    if (name !== manifestFileName) entries.push([name, { bytes: bytes.length, sha256: await sha256Hex(bytes) }]);
  return { version: 1, files: Object.fromEntries(entries) };
}

/**
 * Reads a manifest.
 *
 * @param where - its place, for messages.
 * @throws OptionError if it is too long, no JSON, of another version, or has an entry of the wrong form.
 */
export function parseManifest(bytes: Uint8Array, where: string): ModelManifest {
  const place = escapeText(where);
  if (bytes.length > maximumManifestBytes)
    throw new OptionError(`${place}: has ${bytes.length} bytes, at most ${maximumManifestBytes} are allowed`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new OptionError(`${place}: is not JSON`, { path: where, cause });
  }
  const { version, files } = requireObject(parsed, place);
  if (version !== 1)
    throw new OptionError(`${place}: expected version 1, got ${escapeText(JSON.stringify(version) ?? 'none')}`);
  const entries = Object.entries(requireObject(files, `${place}: files`)).map(([name, value]) => {
    const label = `${place}: files: ${escapeText(name)}`;
    checkFileName(name, place);
    const { bytes: length, sha256 } = requireObject(value, label);
    if (!Number.isSafeInteger(length) || (length as number) < 0)
      throw new OptionError(`${label}: bytes: expected a whole number, got ${escapeText(String(length))}`);
    if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256))
      throw new OptionError(`${label}: sha256: expected 64 lowercase hexadecimal digits`);
    return [name, { bytes: length as number, sha256 }] as const;
  });
  return { version: 1, files: Object.fromEntries(entries) };
}

/**
 * Refuses names that lead out of a folder.
 *
 * @throws OptionError
 */
export function checkFileName(name: string, where: string): void {
  const isPlain =
    name !== '' &&
    !/[\0\\?#]/.test(name) &&
    !/^[A-Za-z][A-Za-z0-9+.-]*:/.test(name) &&
    name.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
  if (!isPlain)
    throw new OptionError(`${where}: "${escapeText(name, 200)}" is no plain file name inside a folder`, {
      hint: 'names are relative, with / between folders, and have no empty, "." or ".." part',
    });
}
