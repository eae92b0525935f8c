/** `dimo push`: a model to a repository on a hub. */
import { formatHubReference, hubSettings, parseHubReference, pushToHub, type PushResult } from '@dimo/backend-node';
import { escapeText, OptionError } from '@dimo/core';
import { preparePublication, type Publication } from '../models/publication.js';
import { exitOk } from '../output/failure.js';
import { print, printError, printJson } from '../output/terminal.js';
import { loadRegistry } from '../project/plugins.js';
import { interruptible } from '../run/interruptible.js';
import { formatBytes } from '../run/progress.js';
import { withTransferProgress } from '../run/transfer-progress.js';

/** Arguments of `push`. */
export interface PushArguments {
  /** A run, or the folder of a model. */
  readonly folder: string;
  /** `hf:owner/repository[/folder][@branch]`. */
  readonly repository: string;
  readonly create: boolean;
  /** With `create`. */
  readonly isPrivate: boolean;
  readonly message: string | undefined;
  /** Only check and list. */
  readonly dryRun: boolean;
  readonly plugins: readonly string[];
  readonly quiet: boolean;
  readonly json: boolean;
}

/** Publishes a model. */
export async function pushModel(args: PushArguments): Promise<number> {
  const reference = parseHubReference(args.repository);
  if (args.isPrivate && !args.create)
    throw new OptionError('push: --private has no effect without --create', {
      hint: 'change the visibility of a repository that exists on its web page',
    });
  const settings = hubSettings();
  const registry = await loadRegistry(args.plugins, process.cwd(), ['teachers']);
  const publication = await preparePublication(args.folder, registry, settings.token);
  const { kind, folder, files } = publication;
  if (!args.quiet && !args.json) printPublication(args.repository, publication);
  if (args.dryRun) {
    if (args.json) printJson(facts(args, publication));
    return exitOk;
  }
  const result = await interruptible(async (signal) => {
    return await withTransferProgress({ label: 'push', quiet: args.quiet }, (onProgress) =>
      pushToHub(reference, files, {
        boundary: folder,
        summary: args.message ?? `Upload ${kind} with dimo`,
        ...(args.create ? { create: { isPrivate: args.isPrivate } } : {}),
        settings,
        signal,
        onProgress,
      }),
    );
  });
  if (args.json) printJson(facts(args, publication, result));
  else if (!args.quiet) print(outcome(result));
  return exitOk;
}

function printPublication(repository: string, { files, leftOut, notes }: Publication): void {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  print(`${repository}: ${files.length} files, ${formatBytes(total)}`);
  for (const { path, bytes } of files) print(`  ${formatBytes(bytes).padStart(8)}  ${escapeText(path)}`);
  if (leftOut.length > 0)
    print(`not part of the model, stays here: ${leftOut.map((name) => escapeText(name)).join(', ')}`);
  for (const note of notes) printError(note);
}

function outcome({ isUnchanged, commit, url, files }: PushResult): string {
  if (isUnchanged) return `${url} has all of it already, at commit ${commit}`;
  const count = (state: string): number => files.filter((file) => file.state === state).length;
  const parts = [
    [count('sent'), 'sent'],
    [count('stored'), 'in the store already'],
    [count('unchanged'), 'unchanged'],
  ].flatMap(([number, what]) => (number === 0 ? [] : [`${number} ${what}`]));
  return `${url}: ${parts.join(', ')}; commit ${commit}`;
}

function facts({ repository, dryRun }: PushArguments, publication: Publication, result?: PushResult): object {
  const { kind, folder, files, leftOut, notes } = publication;
  return {
    repository: formatHubReference(parseHubReference(repository)),
    dryRun,
    folder,
    kind,
    leftOut,
    notes,
    ...(result ?? { files: files.map(({ path, bytes }) => ({ path, bytes })) }),
  };
}
