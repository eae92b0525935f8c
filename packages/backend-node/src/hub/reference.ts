/** Names of repositories on a hub: `hf:owner/repository/folder@revision`. */
import { escapeText, OptionError } from '@dimo/core';
import { hubPathProblem } from './file-names.js';

/** A place in a model repository. */
export interface HubReference {
  readonly owner: string;
  readonly repository: string;
  /** Folder inside the repository, `/` between its parts; empty for the root. */
  readonly folder: string;
  /** Branch, tag or commit. @default 'main' */
  readonly revision: string;
}

const prefix = 'hf:';

/** Names as the hub allows them. `--` stands for `/` in the cache, so it may not occur. */
const namePattern = /^(?!.*(?:--|\.\.))[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$/;

const revisionPattern = /^(?!.*(?:\.\.|\/\/|@\{))[A-Za-z0-9_](?:[A-Za-z0-9._/+-]{0,254}[A-Za-z0-9_+-])?$/;

const commitPattern = /^[0-9a-f]{40}$/;

/** True if the text names a place on a hub rather than a folder of this machine. */
export function isHubReference(text: string): boolean {
  return text.startsWith(prefix);
}

/** True for the full name of a commit, which never changes its content. */
export function isCommit(revision: string): boolean {
  return commitPattern.test(revision);
}

/**
 * Reads `hf:owner/repository[/folder][@revision]`.
 *
 * @throws OptionError if the text is something else, or a name in it could lead out of the repository.
 */
export function parseHubReference(text: string): HubReference {
  const fail = (why: string): OptionError =>
    new OptionError(`"${escapeText(text, 200)}" ${why}`, {
      hint: 'write hf:owner/repository, hf:owner/repository/folder or hf:owner/repository@revision',
    });
  if (!isHubReference(text)) throw fail('does not begin with hf:');
  const [path = '', revision = 'main', ...more] = text.slice(prefix.length).replace(/^\/\//, '').split('@');
  if (more.length > 0) throw fail('holds more than one @');
  const [owner = '', repository = '', ...folders] = path.replace(/\/$/, '').split('/');
  if (!namePattern.test(owner) || !namePattern.test(repository))
    throw fail('is not owner/repository of letters, digits, ".", "_" and "-"');
  if (!revisionPattern.test(revision)) throw fail('has a revision that is not the name of a branch, tag or commit');
  const folder = folders.join('/');
  const problem = folder === '' ? undefined : hubPathProblem(folder);
  if (problem !== undefined) throw fail(`has a folder whose name ${problem}`);
  return { owner, repository, folder, revision };
}

/** The text that `parseHubReference` reads. */
export function formatHubReference({ owner, repository, folder, revision }: HubReference): string {
  return `${prefix}${owner}/${repository}${folder === '' ? '' : `/${folder}`}${revision === 'main' ? '' : `@${revision}`}`;
}
