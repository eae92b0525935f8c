/** Large files to the store that a hub names, whole or in parts; what the store has already is not sent. */
import { DimoError, escapeText, isRecord } from '@dimo/core';
import { stat } from 'node:fs/promises';
import { openFileChecked } from '../storage/files.js';
import { withIoError } from '../storage/io-error.js';
import { wrongAnswer } from './api.js';
import { jsonBody, requestJson } from './json-request.js';
import type { HubReference } from './reference.js';
import {
  request,
  safeAddress,
  TransferFailure,
  withRetries,
  type RequestBody,
  type RequestOptions,
} from './request.js';

const lfsJson = { accept: 'application/vnd.git-lfs+json', 'content-type': 'application/vnd.git-lfs+json' };

/** Bytes of a file that are in memory. */
const chunkBytes = 2 ** 18;

/** Parts of one file beyond which a store's plan is nonsense. */
const maximumParts = 10_000;

/** A file of this machine with what is known of its content. */
export interface LocalFile {
  /** Name in the repository. */
  readonly path: string;
  /** On this machine. */
  readonly source: string;
  /** Folder that a symbolic link must not lead out of. */
  readonly boundary: string;
  readonly bytes: number;
  /** Time of the last change: content that was hashed and content that is sent must be the same. */
  readonly modified: number;
}

/** What an upload needs to know. */
export interface UploadContext extends RequestOptions {
  readonly reference: HubReference;
  /** Bytes of the file that the store has; falls when an attempt starts over. */
  readonly onBytes: (bytes: number) => void;
}

/**
 * Brings a file into the store of a repository.
 *
 * @returns bytes that were sent; 0 if the store has the content already.
 */
export async function uploadLargeFile(file: LocalFile, sha256: string, context: UploadContext): Promise<number> {
  const { settings, signal } = context;
  return withRetries(settings, signal, async () => {
    // Signed addresses expire: every attempt asks for new ones.
    const { upload, verify } = await askUpload(file, sha256, context);
    if (upload) {
      const send = upload.header['chunk_size'] === undefined ? uploadWhole : uploadParts;
      await send(file, sha256, upload, context);
    }
    if (verify) {
      const send = jsonBody({ oid: sha256, size: file.bytes });
      await requestAny(verify.address, { ...context, headers: { ...lfsJson, ...sentHeaders(verify) }, send });
    }
    context.onBytes(file.bytes);
    return upload ? file.bytes : 0;
  });
}

interface Action {
  readonly address: URL;
  readonly header: Readonly<Record<string, string>>;
}

interface UploadPlan {
  /** Absent if the store has the content. */
  readonly upload?: Action | undefined;
  readonly verify?: Action | undefined;
}

async function askUpload(file: LocalFile, sha256: string, context: UploadContext): Promise<UploadPlan> {
  const { reference, settings } = context;
  const { owner, repository, revision } = reference;
  const address = new URL(`${settings.endpoint}/${owner}/${repository}.git/info/lfs/objects/batch`);
  const send = jsonBody({
    operation: 'upload',
    transfers: ['basic', 'multipart'],
    hash_algo: 'sha256',
    ref: { name: `refs/heads/${revision}` },
    objects: [{ oid: sha256, size: file.bytes }],
  });
  const { value } = await requestJson(address, { ...context, headers: lfsJson, send });
  const objects: readonly unknown[] = isRecord(value) && Array.isArray(value['objects']) ? value['objects'] : [];
  const object = objects.find((entry) => isRecord(entry) && entry['oid'] === sha256);
  if (!isRecord(object)) throw wrongAnswer(reference, `does not say where ${escapeText(file.path, 200)} is to be sent`);
  if (object['error'] !== undefined) {
    const said = isRecord(object['error']) ? object['error']['message'] : undefined;
    throw wrongAnswer(
      reference,
      `refuses ${escapeText(file.path, 200)}${typeof said === 'string' ? `: ${escapeText(said, 200)}` : ''}`,
    );
  }
  const actions = isRecord(object['actions']) ? object['actions'] : {};
  const action = (name: string): Action | undefined => {
    const given = actions[name];
    if (given === undefined) return undefined;
    if (!isRecord(given) || typeof given['href'] !== 'string')
      throw wrongAnswer(reference, `names no address for ${escapeText(file.path, 200)}`);
    const header = isRecord(given['header']) ? given['header'] : {};
    return {
      address: safeAddress(given['href'], address, 'leads'),
      header: Object.fromEntries(
        Object.entries(header).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
      ),
    };
  };
  return { upload: action('upload'), verify: action('verify') };
}

/** Headers that a store asks for, but for those that the transport sets. */
function sentHeaders({ header }: Action): Record<string, string> {
  const own = /^(?:host|connection|content-length|transfer-encoding|expect|upgrade)$/i;
  return Object.fromEntries(Object.entries(header).filter(([name]) => !own.test(name)));
}

async function uploadWhole(file: LocalFile, _sha256: string, upload: Action, context: UploadContext): Promise<void> {
  const send = fileBody(file, 0, file.bytes, context.onBytes);
  await requestAny(upload.address, { ...context, headers: sentHeaders(upload), send });
}

async function uploadParts(file: LocalFile, sha256: string, upload: Action, context: UploadContext): Promise<void> {
  const { reference, settings, signal, onBytes } = context;
  const partBytes = Number(upload.header['chunk_size']);
  const count = Math.ceil(file.bytes / partBytes);
  const names = Object.keys(upload.header)
    .filter((name) => /^[0-9]{1,9}$/.test(name))
    .sort((a, b) => Number(a) - Number(b));
  const isSound =
    partBytes > 0 &&
    count <= maximumParts &&
    names.length === count &&
    names.every((name, i) => Number(name) === i + 1);
  if (!isSound) throw wrongAnswer(reference, `wants ${escapeText(file.path, 200)} in parts that do not add up`);
  const parts: { readonly partNumber: number; readonly etag: string }[] = [];
  for (const [i, name] of names.entries()) {
    const begin = i * partBytes;
    const address = safeAddress(upload.header[name]!, upload.address, 'leads');
    const send = fileBody(file, begin, Math.min(file.bytes, begin + partBytes), onBytes);
    // A part that is cut is sent again by itself; one whose address has expired needs a new plan.
    const etag = await withRetries(settings, signal, () =>
      requestAny(address, { ...context, send }, (response) => response.headers.get('etag')),
    ).catch((error: unknown) => {
      const cause = error instanceof Error ? error.cause : undefined;
      throw cause instanceof TransferFailure && cause.kind === 'wrong' ? cause : error;
    });
    if (etag === null) throw wrongAnswer(reference, `gives no ETag for part ${name} of ${escapeText(file.path, 200)}`);
    parts.push({ partNumber: i + 1, etag });
  }
  await requestAny(upload.address, { ...context, headers: lfsJson, send: jsonBody({ oid: sha256, parts }) });
}

/** A request whose answer has no content of interest. */
function requestAny<T = void>(
  address: URL,
  options: RequestOptions,
  use: (response: Response) => T = () => undefined as T,
): Promise<T> {
  return request(address, options, ({ response }) => Promise.resolve(use(response)));
}

function fileBody(file: LocalFile, begin: number, end: number, onBytes: (bytes: number) => void): RequestBody {
  return { method: 'PUT', length: end - begin, content: () => fileContent(file, begin, end, onBytes) };
}

async function* fileContent(
  { source, boundary, bytes, modified }: LocalFile,
  begin: number,
  end: number,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const opened = await openFileChecked(source, boundary);
  try {
    const now = await withIoError('read', source, () => stat(source));
    if (opened.length !== bytes || now.mtimeMs !== modified)
      throw new DimoError('io', `${escapeText(source)} changed while it was sent`, {
        path: source,
        hint: 'nothing was committed; run the same command again when the file stays as it is',
      });
    for (let at = begin; at < end; at += chunkBytes) {
      onBytes(at);
      yield await opened.read(at, Math.min(end, at + chunkBytes));
    }
  } finally {
    await opened.close();
  }
}
