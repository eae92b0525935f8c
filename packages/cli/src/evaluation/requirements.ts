/** What an evaluation needs, checked before anything is computed for it. */
import { checkTexts, OptionError, type Dataset, type PluginRegistry, type TeacherDefinition } from '@dimo/core';
import type { DimoConfig } from '../config/schema.js';
import { cutNote } from '../training/distillation-conditions.js';
import { evaluationClasses, readPagePrompts } from './conditions.js';
import { selectMetrics } from './evaluation.js';

/** Parts of the inception score; each needs a sample. */
const inceptionSplits = 10;

/** What is looked at. */
export interface EvaluationRequest {
  readonly config: DimoConfig;
  readonly registry: PluginRegistry;
  readonly dataset: Dataset | undefined;
  /** Of the first model. */
  readonly definition: TeacherDefinition | undefined;
}

/**
 * Checks the settings of an evaluation against its models and data.
 *
 * @returns notes for a person.
 * @throws OptionError for a number of samples that the metrics cannot be computed from, a metric that no plugin has, a
 *   prompt that the model does not understand.
 */
export async function checkEvaluation(request: EvaluationRequest): Promise<string[]> {
  const { config, dataset, definition } = request;
  selectMetrics(request);
  if (!definition) return [];
  if (definition.decoder && dataset) checkCount(config.eval, dataset, definition);
  const { prompts: path } = config.eval;
  if (path === undefined) return [];
  const prompts = await readPagePrompts(path);
  const lines = prompts.map(({ line, prompt }) => ({ line, text: prompt }));
  // Others are checked when the model's text encoder is on an engine, still before the first sample.
  if (definition.prepareConditions && !definition.conditions.check) return [];
  const cut = await checkTexts(definition.conditions, lines, path);
  return cut.length > 0 ? [cutNote(cut, lines.length, path)] : [];
}

function checkCount(
  { count, precisionNeighbors, densityNeighbors }: DimoConfig['eval'],
  dataset: Dataset,
  { conditions }: TeacherDefinition,
): void {
  const fail = (expected: string, why: string): OptionError =>
    new OptionError(`eval.count must be ${expected}, got ${count}: ${why}`, { hint: 'set it with --count' });
  const needs: readonly (readonly [minimum: number, why: string])[] = [
    [precisionNeighbors + 1, `precision and recall look at ${precisionNeighbors} neighbours (eval.precisionNeighbors)`],
    [densityNeighbors + 1, `density and coverage look at ${densityNeighbors} neighbours (eval.densityNeighbors)`],
    [inceptionSplits, `the inception score is a mean over ${inceptionSplits} parts`],
  ];
  const [minimum, why] = needs.reduce((a, b) => (b[0] > a[0] ? b : a));
  if (count < minimum) throw fail(`at least ${minimum}`, why);
  if (count > dataset.train.count)
    throw fail(
      `at most ${dataset.train.count}`,
      `so many training images has ${dataset.name}, and as many are compared`,
    );
  const classes = evaluationClasses(conditions, count, dataset);
  if (classes && new Set(classes).size === classes.length)
    throw fail('larger', 'no class has two samples, whose difference is measured');
}
