/**
 * What a hub is asked to change: a repository to be made, where files are to go, a commit. (`@huggingface/hub` has these
 * calls too, but tries nothing again, takes tokens of one form only, repeats signed addresses in its messages and brings
 * 10 MB along.)
 */
import { escapeText, isRecord, OptionError } from '@dimo/core';
import { apiAddress, wrongAnswer } from './api.js';
import { bytesBody, jsonBody, requestJson } from './json-request.js';
import { formatHubReference, isCommit, type HubReference } from './reference.js';
import type { RequestOptions } from './request.js';

const json = { 'content-type': 'application/json' };

/** Larger files are not put into a commit, whatever the hub says of them. */
export const largestRegularFile = 10 * 2 ** 20;

/**
 * Makes a repository; one that is there already stays as it is.
 *
 * @throws OptionError if it is there, public, and a private one was asked for.
 */
export async function createRepository(
  reference: HubReference,
  { isPrivate }: { readonly isPrivate: boolean },
  options: RequestOptions,
): Promise<void> {
  const { owner, repository } = reference;
  const send = jsonBody({ type: 'model', name: repository, organization: owner, private: isPrivate });
  const address = new URL(`${options.settings.endpoint}/api/repos/create`);
  try {
    await requestJson(address, { ...options, headers: json, send });
    return;
  } catch (error) {
    // 409: it exists. The name of the error's status is in its message alone, so the repository itself is asked.
    if (!(error instanceof OptionError) || !/: status 409\b/.test(error.message)) throw error;
  }
  if (!isPrivate) return;
  const { value } = await requestJson(apiAddress(options, reference), options);
  if (!isRecord(value) || value['private'] !== true)
    throw new OptionError(`${formatHubReference(reference)} exists already and is not private`, {
      hint: 'make it private on its web page, choose another name, or leave out --private',
    });
}

/** A file as the hub is told of it before it is sent. */
export interface AnnouncedFile {
  readonly path: string;
  readonly bytes: number;
  /** The first bytes, at most 512. */
  readonly sample: Uint8Array;
}

/**
 * Asks which of the files go to large file storage.
 *
 * @returns their names.
 * @throws OptionError if the repository's own rules leave a file out.
 */
export async function askLargeFiles(
  reference: HubReference,
  files: readonly AnnouncedFile[],
  options: RequestOptions,
): Promise<Set<string>> {
  const send = jsonBody({
    files: files.map(({ path, bytes, sample }) => ({
      path,
      size: bytes,
      sample: Buffer.from(sample).toString('base64'),
    })),
  });
  const address = apiAddress(options, reference, `preupload/${encodeURIComponent(reference.revision)}`);
  const { value } = await requestJson(address, { ...options, headers: json, send });
  const answers: readonly unknown[] = isRecord(value) && Array.isArray(value['files']) ? value['files'] : [];
  const byPath = new Map(answers.filter(isRecord).map((answer) => [answer['path'], answer]));
  const large = new Set<string>();
  for (const { path, bytes } of files) {
    const answer = byPath.get(path);
    const mode = answer?.['uploadMode'];
    if (mode !== 'lfs' && mode !== 'regular')
      throw wrongAnswer(reference, `does not say how ${escapeText(path, 200)} is to be sent`);
    if (answer?.['shouldIgnore'] === true)
      throw new OptionError(`${formatHubReference(reference)}: its .gitignore leaves out ${escapeText(path, 200)}`, {
        hint: 'change the .gitignore of the repository, or push to another one',
      });
    if (mode === 'lfs' || bytes > largestRegularFile) large.add(path);
  }
  return large;
}

/** A file of a commit: small ones with their content, large ones by hash. */
export type CommittedFile =
  | { readonly path: string; readonly content: Uint8Array }
  | { readonly path: string; readonly sha256: string; readonly bytes: number };

/** What a commit is made of. */
export interface CommitContent {
  readonly summary: string;
  /** The commit that it follows: if another one came meanwhile, nothing is changed. */
  readonly parent: string;
  readonly files: readonly CommittedFile[];
}

/** Makes one commit of all files; once, because a second attempt must first look whether the first arrived. */
export async function sendCommit(
  reference: HubReference,
  { summary, parent, files }: CommitContent,
  options: RequestOptions,
): Promise<string> {
  const lines = [
    { key: 'header', value: { summary, description: '', parentCommit: parent } },
    ...files.map((file) =>
      'content' in file
        ? {
            key: 'file',
            value: {
              path: file.path,
              content: Buffer.from(file.content).toString('base64'),
              encoding: 'base64',
            },
          }
        : {
            key: 'lfsFile',
            value: { path: file.path, algo: 'sha256', oid: file.sha256, size: file.bytes },
          },
    ),
  ];
  const address = apiAddress(options, reference, `commit/${encodeURIComponent(reference.revision)}`);
  const { value } = await requestJson(address, {
    ...options,
    headers: { 'content-type': 'application/x-ndjson' },
    send: bytesBody(new TextEncoder().encode(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))),
  });
  const commit = isRecord(value) ? value['commitOid'] : undefined;
  if (typeof commit !== 'string' || !isCommit(commit)) throw wrongAnswer(reference, 'does not name the commit it made');
  return commit;
}
