/** The model card in a generator's folder: what it can know of the teacher, and writing it without losing anybody's words. */
import {
  folderWeightSource,
  isHubReference,
  parseHubReference,
  pathInside,
  readFileChecked,
  writeFileAtomically,
  type HubReference,
} from '@dimo/backend-node';
import { decodeText, escapeText, isRecord, type PluginRegistry, type WeightSource } from '@dimo/core';
import { existsSync } from 'node:fs';
import { parse } from 'yaml';
import { resolvePart } from '../run/parts.js';
import { openSource, readImport } from '@dimo/pipeline';
import { cardWithFigures, modelCardName, replacedCard, type CardFigures, type ModelCardFacts } from './model-card.js';
import { presetLocation } from './models.js';

const maximumCardBytes = 2 ** 22;

/** Licence and place of a model as far as its own files say them; never an error. */
export async function modelOrigin(
  name: string,
  registry: PluginRegistry,
): Promise<Pick<ModelCardFacts, 'licence' | 'baseModel'>> {
  try {
    const preset = presetLocation(name, registry);
    const imported = preset || isHubReference(name) ? undefined : await readImport(name);
    const place = imported?.source ?? name;
    const source = isHubReference(place)
      ? await openSource(place)
      : folderWeightSource(preset?.folder ?? (await resolvePart(place, ['generator', 'teacher'])));
    const onHub: HubReference | undefined = isHubReference(place) ? parseHubReference(place) : undefined;
    return {
      licence: await licenceIn(source),
      baseModel: onHub && `${onHub.owner}/${onHub.repository}`,
    };
  } catch {
    return { licence: undefined, baseModel: undefined };
  }
}

/** The licence that the head of a card names. */
async function licenceIn(source: WeightSource): Promise<string | undefined> {
  if (!(await source.list()).includes(modelCardName)) return undefined;
  const text = decodeText(await source.read(modelCardName, maximumCardBytes), modelCardName);
  const yaml = /^---\r?\n([\s\S]*?)\r?\n---\r?\n/.exec(text)?.[1];
  const value: unknown = yaml === undefined ? undefined : parse(yaml, { maxAliasCount: 0 });
  const licence = isRecord(value) ? value['license'] : undefined;
  // The identifiers of hubs; `unknown` says nothing.
  return typeof licence === 'string' && /^[a-z0-9][a-z0-9.-]{0,60}$/.test(licence) && licence !== 'unknown'
    ? licence
    : undefined;
}

/**
 * Writes the card of a folder, unless somebody else has written or changed the one that is there.
 *
 * @returns what to tell the user, if it was not written. No trouble with a card fails what made the model.
 */
export function writeModelCard(folder: string, card: string): Promise<string | undefined> {
  return changeCard(folder, (existing) => replacedCard(existing, card));
}

/** Puts figures into the card of a folder; as `writeModelCard`. */
export async function writeCardFigures(folder: string, figures: CardFigures): Promise<string | undefined> {
  return changeCard(folder, (existing) => (existing === undefined ? 'none' : cardWithFigures(existing, figures)));
}

async function changeCard(
  folder: string,
  change: (existing: string | undefined) => string | undefined,
): Promise<string | undefined> {
  try {
    const path = await pathInside(folder, modelCardName);
    const existing = existsSync(path)
      ? decodeText(await readFileChecked(path, maximumCardBytes, folder), path)
      : undefined;
    const next = change(existing);
    if (next === 'none') return undefined;
    if (next === undefined)
      return `note: ${escapeText(path)} was not written by dimo, or edited since: it is left as it is`;
    await writeFileAtomically(path, next);
    return undefined;
  } catch (error) {
    return `note: the model card was not written: ${escapeText((error as Error).message)}`;
  }
}
