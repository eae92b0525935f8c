/** Names of the classes of ImageNet. */
// Browsers have no names of a thousand classes to load before they draw: classes are given by id there.
// eslint-disable-next-line @nx/enforce-module-boundaries -- another file in browsers
import { imagenetNames } from '#imagenet-names';

/** What `classNames` of a configuration says for them. */
export const imagenetClassNames = 'imagenet';

/**
 * The 1000 classes of ImageNet (ILSVRC-2012) by id, in the order in which models are trained on them: one name that no other
 * class has, then its synonyms, some of which several classes share ("crane"). Undefined in builds for browsers.
 */
export function imagenetClasses(): readonly (readonly [name: string, ...synonyms: string[]])[] | undefined {
  return imagenetNames?.map((line) => line.split(', ') as [string, ...string[]]);
}
