/** The model card of a distillation. */
import type { LoadedGenerator, PluginRegistry } from '@dimo/core';
import { configSchema, type DimoConfig } from '../config/schema.js';
import { modelOrigin } from '../models/model-card-file.js';
import { conditionKind, modelCard } from '../models/model-card.js';
import type { FoundTeacher } from '../models/models.js';

/** What the card is made of. */
export interface DistilledModel {
  readonly config: DimoConfig;
  readonly found: FoundTeacher;
  readonly description: LoadedGenerator['description'];
  readonly registry: PluginRegistry;
}

/** The card, before anything was measured. */
export async function distilledCard({ config, found, description, registry }: DistilledModel): Promise<string> {
  const { teacher, name } = found;
  return modelCard({
    description,
    conditionedBy: conditionKind(teacher),
    imageShape: teacher.decoder?.imageShape,
    settings: changedSettings(config.distill, configSchema.parse({}).distill),
    ...(await modelOrigin(name, registry)),
  });
}

/** Keys that say how a run is watched or where its prompts lie, and those that the description has. */
const passedOver = new Set(['sampleEvery', 'prompts', 'batchSize', 'numSteps', 'maxSkipped', 'algorithm', 'generator']);

/** The values that differ from their defaults, by their path: `generator.learningRate`. */
function changedSettings(value: object, byDefault: object, prefix = ''): Record<string, unknown> {
  const defaults = byDefault as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    Object.entries(value as Readonly<Record<string, unknown>>).flatMap(([key, given]): [string, unknown][] => {
      const usual = defaults[key];
      if ((prefix === '' && passedOver.has(key)) || given === undefined) return [];
      if (JSON.stringify(given) === JSON.stringify(usual)) return [];
      const areSections = [given, usual].every(
        (side) => typeof side === 'object' && side !== null && !Array.isArray(side),
      );
      return areSections
        ? Object.entries(changedSettings(given as object, usual as object, `${prefix}${key}.`))
        : [[`${prefix}${key}`, given]];
    }),
  );
}
