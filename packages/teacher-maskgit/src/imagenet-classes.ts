/** Names of the classes of ImageNet. */
import names from './imagenet-classes.json' with { type: 'json' };

/** What `classNames` of a configuration says for them. */
export const imagenetClassNames = 'imagenet';

/**
 * The 1000 classes of ImageNet (ILSVRC-2012) by id, in the order in which models are trained on them: one name that no other
 * class has, then its synonyms, some of which several classes share ("crane").
 */
export function imagenetClasses(): readonly (readonly [name: string, ...synonyms: string[]])[] {
  return names.map((line) => line.split(', ') as [string, ...string[]]);
}
