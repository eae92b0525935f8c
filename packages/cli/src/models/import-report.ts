/** What `dimo import` prints about a model that it took. */
import type { DownloadedFile } from '@dimo/backend-node';
import { escapeText, type InspectedModel, type InspectedPart } from '@dimo/core';
import { join } from 'node:path';
import { importFileName } from '@dimo/pipeline';
import type { ModelLayout } from './model-layout.js';
import { formatBytes } from '../run/progress.js';
import { print, printError, printJson } from '../output/terminal.js';

/** A finished import. */
export interface ImportOutcome {
  readonly model: { readonly layout: ModelLayout; readonly place: string };
  readonly fetched: { readonly bytes: number; readonly downloaded: readonly DownloadedFile[] };
  readonly inspected: InspectedModel | undefined;
  /** What to name with `--model` or `--teacher`. */
  readonly folder: string;
  readonly isWritten: boolean;
  /** For a public teacher: there are settings of an official distillation. */
  readonly hasOfficialDistillation: boolean;
}

/** Prints it: what it is, what was left out and assumed, how to use it. */
export function reportImport(
  { json, quiet }: { readonly json: boolean; readonly quiet: boolean },
  { model, fetched, inspected, folder, isWritten, hasOfficialDistillation }: ImportOutcome,
): void {
  const { layout, place } = model;
  const { bytes, downloaded } = fetched;
  const parts = inspected?.parts ?? [];
  const transferred = downloaded.reduce((sum, { transferredBytes }) => sum + transferredBytes, 0);
  const unchecked = downloaded.filter(({ checkedBy }) => checkedBy === undefined).map(({ file }) => file.path);
  if (unchecked.length > 0)
    printError(`the hub gives no hash of ${unchecked.join(', ')}: only the length could be checked`);
  if (json) {
    const facts = { folder, kind: layout.kind, description: layout.description, source: place, bytes, transferred };
    const { assumed, kindReason } = layout;
    const found = { parts, assumed, ...(kindReason === undefined ? {} : { kindReason }) };
    printJson({ ...facts, ...found, written: isWritten ? [join(folder, importFileName)] : [] });
    return;
  }
  if (quiet) return;
  const size = `${layout.files.length} files, ${formatBytes(bytes)}${downloaded.length > 0 ? `, ${formatBytes(transferred)} fetched now` : ''}`;
  print(`${layout.description}: ${size}`);
  for (const part of parts) for (const line of partLines(part)) print(line);
  if (layout.kindReason !== undefined)
    print(
      `  taken for a ${layout.kind}: ${layout.kindReason}; otherwise: --as ${layout.kind === 'teacher' ? 'generator' : 'teacher'}`,
    );
  for (const { key, value, reason } of layout.assumed)
    print(`  assumed ${key} = ${JSON.stringify(value)} (${reason}); another value: --set ${key}=...`);
  print(
    isWritten ? `${join(folder, importFileName)} names them; the weights stay where they are` : 'usable where it is',
  );
  print(`try: dimo sample --${layout.kind === 'teacher' ? 'teacher' : 'model'} ${folder}`);
  if (hasOfficialDistillation)
    print(`as in the official run: dimo distill --teacher ${folder} --set distill.preset=official --plan`);
}

function partLines({ name, leftOut, unused }: InspectedPart): string[] {
  return [
    ...(leftOut.length > 0 ? [`  ${name}: "${leftOut.join('", "')}" was left out of the names of its tensors`] : []),
    ...(unused.length > 0 ? [`  ${name}: not used ${unused.length} tensors: ${grouped(unused)}`] : []),
  ];
}

/** `loss.* (57), model_ema.* (120), position_ids`. */
function grouped(names: readonly string[]): string {
  const counts = new Map<string, string[]>();
  for (const name of names) {
    const first = name.includes('.') ? `${name.slice(0, name.indexOf('.'))}.*` : name;
    counts.set(first, [...(counts.get(first) ?? []), name]);
  }
  const groups = [...counts].map(([group, members]) =>
    escapeText(members.length === 1 ? members[0]! : `${group} (${members.length})`, 120),
  );
  return groups.length > 8 ? `${groups.slice(0, 8).join(', ')} and ${groups.length - 8} kinds more` : groups.join(', ');
}
