/**
 * The two questions that the hub's JSON interface is asked: which commit is a revision, and which files has it.
 * (`@huggingface/hub` asks them too, but sends the token to whatever host a `Link` header names, takes tokens of one
 * form only, and puts no bound on the answer.)
 */
import { DimoError, escapeText, isRecord } from '@dimo/core';
import { checkHubPath, hubPathProblem } from './file-names.js';
import { formatHubReference, isCommit, type HubReference } from './reference.js';
import type { RequestOptions } from './request.js';
import { requestJson, type JsonAnswer } from './json-request.js';

/** A file as the hub lists it. */
export interface HubFile {
  /** Name in the repository, `/` between folders. */
  readonly path: string;
  readonly bytes: number;
  /** Of the content: SHA-256, or for files in git itself their SHA-1 as a git blob. Absent if the hub gives none. */
  readonly hash?: { readonly kind: 'sha256' | 'git-sha1'; readonly hex: string };
}

/** Limits of an answer. */
const maximumFiles = 20_000;
const maximumPages = 200;

/** Address of the JSON interface for a repository. */
export function apiAddress({ settings }: RequestOptions, { owner, repository }: HubReference, rest?: string): URL {
  return new URL(`${settings.endpoint}/api/models/${owner}/${repository}${rest === undefined ? '' : `/${rest}`}`);
}

/** Address of a file's content. */
export function fileAddress(
  { settings }: RequestOptions,
  { owner, repository }: HubReference,
  commit: string,
  path: string,
): URL {
  const name = path.split('/').map(encodeURIComponent).join('/');
  return new URL(`${settings.endpoint}/${owner}/${repository}/resolve/${commit}/${name}`);
}

/** The commit that a branch or tag stands for now. @throws OptionError if there is none */
export async function resolveCommit(reference: HubReference, options: RequestOptions): Promise<string> {
  const address = apiAddress(options, reference, `revision/${encodeURIComponent(reference.revision)}`);
  const { value } = await requestJson(address, options);
  const commit = isRecord(value) ? value['sha'] : undefined;
  if (typeof commit !== 'string' || !isCommit(commit))
    throw wrongAnswer(reference, `names no commit for ${escapeText(reference.revision, 100)}`);
  return commit;
}

/** The files of a commit. */
export interface HubListing {
  readonly files: readonly HubFile[];
  /** Names that are not used, each with the reason: they are not file names on every system, or lead elsewhere. */
  readonly refused: ReadonlyMap<string, string>;
}

/** All files of a commit. @throws DimoError with code `network` if the list is wrong, or all its names are dangerous */
export async function listHubFiles(
  reference: HubReference,
  commit: string,
  options: RequestOptions,
): Promise<HubListing> {
  const files = new Map<string, HubFile>();
  const refused = new Map<string, string>();
  let address: URL | undefined = apiAddress(options, reference, `tree/${commit}?recursive=true`);
  for (let page = 0; address; page++) {
    if (page >= maximumPages) throw wrongAnswer(reference, 'lists files without end');
    const { value, next }: JsonAnswer = await requestJson(address, options);
    if (!Array.isArray(value)) throw wrongAnswer(reference, 'gave no list of files');
    for (const entry of value as readonly unknown[]) {
      const file = readEntry(entry, reference);
      const problem = file && hubPathProblem(file.path);
      if (file && problem !== undefined) refused.set(file.path, problem);
      else if (file) files.set(file.path, file);
      if (files.size + refused.size > maximumFiles)
        throw wrongAnswer(reference, `lists more than ${maximumFiles} files`);
    }
    address = next;
  }
  const [odd] = refused.keys();
  if (files.size === 0 && odd !== undefined) checkHubPath(odd, formatHubReference(reference));
  return { files: [...files.values()], refused };
}

function readEntry(entry: unknown, reference: HubReference): HubFile | undefined {
  if (!isRecord(entry) || typeof entry['path'] !== 'string')
    throw wrongAnswer(reference, 'lists a file without a name');
  if (entry['type'] !== 'file') return undefined;
  const path = entry['path'];
  const lfs = isRecord(entry['lfs']) ? entry['lfs'] : undefined;
  const bytes = lfs?.['size'] ?? entry['size'];
  if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0)
    throw wrongAnswer(reference, `gives no size for ${escapeText(path, 200)}`);
  const sha256 = digits(lfs?.['oid'], 64);
  const gitSha1 = lfs ? undefined : digits(entry['oid'], 40);
  return {
    path,
    bytes,
    ...(sha256 ? { hash: { kind: 'sha256', hex: sha256 } } : {}),
    ...(gitSha1 ? { hash: { kind: 'git-sha1', hex: gitSha1 } } : {}),
  };
}

function digits(value: unknown, length: number): string | undefined {
  if (typeof value !== 'string') return undefined;
  const hex = value.replace(/^sha256:/, '').toLowerCase();
  return hex.length === length && /^[0-9a-f]+$/.test(hex) ? hex : undefined;
}

/** The hub's answer makes no sense. */
export function wrongAnswer(reference: HubReference, what: string): DimoError {
  return new DimoError('network', `${formatHubReference(reference)}: the hub ${what}`, {
    hint: 'check HF_ENDPOINT; this is not what a hub answers',
  });
}
